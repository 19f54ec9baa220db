"""What a parse child might do if its parser were taken over: readers for `Parsers(reader=…)`, told by their input what to do."""

import ctypes
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time

from app.errors import Fault, Invalid
from app.table.apart import wire
from app.table.arrow import pa
from app.table.rows import Rows


def _say(lines):
    yield Rows(pa.RecordBatch.from_arrays([pa.array(lines)], names=["a"]), pa.array(range(1, len(lines) + 1), pa.int64()))


def _attempt(what):
    try:
        return f"did: {what()}"
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"
    except ImportError as error:
        return type(error).__name__


def tries_the_world(source, **_):
    """Try to get out; say how each try ended."""
    source.read(1)
    tries = {
        "file": lambda: os.open("/etc/hostname", os.O_RDONLY),
        "new file": lambda: os.open("/tmp/left", os.O_CREAT | os.O_WRONLY),
        "inet": lambda: socket.socket(socket.AF_INET),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "pipe": os.pipe,
        "duplicate": lambda: os.dup(0),
        "after closing": _after_closing,
        "import": lambda: __import__("sqlite3"),
    }
    said = [f"{name}: {_attempt(what)}" for name, what in tries.items() if name != "after closing"]
    limits = ("FSIZE", "CORE", "NOFILE", "CPU", "DATA")
    said += [f"{name}: {resource.getrlimit(getattr(resource, 'RLIMIT_' + name))}" for name in limits]
    said += [f"environment: {len(os.environ)}", f"variable: {ctypes.CDLL(None).getenv(b'TACIT_ROOT_KEY')}"]
    said += [f"descriptor {number}: {_attempt(lambda number=number: os.fstat(number).st_mode)}" for number in range(1, 5)]
    said += [f"module: {name}" for name in sorted(sys.modules)]
    yield from _say(said)


def _after_closing():
    """Give up the only descriptor, in the hope that another may take its place; the exit code is how it ended."""
    os.close(0)
    try:
        os.open("/etc/hostname", os.O_RDONLY)
    except OSError:
        os.kill(os.getpid(), signal.SIGSEGV)
    os._exit(0)


def dies(source, **_):
    """End, or fail to, in the way that the input says."""
    how = source.read(64)
    match how:
        case b"segfault":
            ctypes.string_at(0)
        case b"abort":
            os.abort()
        case b"exit":
            os._exit(0)
        case b"raise":
            raise KeyError("canary0041791234567")
        case b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"loop":
            while True:
                pass
        case b"sleep":
            time.sleep(600)
        case b"memory":
            held = []
            while True:
                held.append(b"x" * (1 << 20))
        case b"shared-memory":  # the kernel's limit on data does not count it
            shared = [mmap.mmap(-1, 1 << 30)]
            for at in range(0, 1 << 30, mmap.PAGESIZE):
                shared[0][at] = 1
            time.sleep(600)
        case b"reopen":
            _after_closing()
    yield from _say(["alive"])


def _frame(kind, payload):
    return struct.pack("<BI", kind, len(payload)) + payload


def _rows(numbers, *columns):
    """Return a payload of rows by hand; each column is its buffers."""
    count = len(numbers)
    buffers = [struct.pack(f"<{count}q", *numbers), *(one for column in columns for one in column)]
    lengths = [0xFFFFFFFF if one is None else len(one) for one in buffers]
    head = struct.pack("<I", count) + struct.pack(f"<{len(lengths)}I", *lengths)
    return b"".join(piece + bytes(-len(piece) % 64) for piece in (head, *buffers) if piece is not None)


def _text(*ends, data=b"abc", validity=None):
    return (validity, struct.pack(f"<{len(ends)}i", *ends), data)


CODES = (None, struct.pack("<2h", 0, 1))
SOUND = _rows([1, 2], _text(0, 1, 3), CODES)
LIES = {  # for a schema of one text column that is not nullable and one of two categories
    "sound": _frame(wire.ROWS, SOUND),
    "no-such-kind": _frame(77, b""),
    "a-length-beyond": struct.pack("<BI", wire.ROWS, 0xFFFFFFF0),
    "cut": _frame(wire.ROWS, SOUND)[:-10],
    "nothing": _frame(wire.ROWS, b""),
    "no-rows": _frame(wire.ROWS, bytes(64)),
    "too-many-rows": _frame(wire.ROWS, struct.pack("<I", 2**32 - 1) + SOUND[4:]),
    "longer": _frame(wire.ROWS, SOUND + bytes(64)),
    "offsets-outside": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 1 << 30), CODES)),
    "offsets-falling": _frame(wire.ROWS, _rows([1, 2], _text(0, 3, 1), CODES)),
    "offsets-negative": _frame(wire.ROWS, _rows([1, 2], _text(-5, 1, 3), CODES)),
    "offsets-missing": _frame(wire.ROWS, _rows([1, 2], _text(0, 1), CODES)),
    "not-utf-8": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 3, data=b"a\xff\xfe"), CODES)),
    "nul": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 3, data=b"a\0c"), CODES)),
    "null": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 3, validity=b"\x01"), CODES)),
    "cell-too-long": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 2 << 20, data=b"x" * (2 << 20)), CODES)),
    "no-such-category": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 3), (None, struct.pack("<2h", 0, 2)))),
    "a-negative-category": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 3), (None, struct.pack("<2h", -1, 1)))),
    "values-missing": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 3), (None, b"\0\0"))),
    "a-buffer-absent": _frame(wire.ROWS, _rows([1, 2], _text(0, 1, 3), (None, None))),
    "numbers-falling": _frame(wire.ROWS, _rows([2, 1], _text(0, 1, 3), CODES)),
    "numbers-from-zero": _frame(wire.ROWS, _rows([0, 1], _text(0, 1, 3), CODES)),
    "numbers-beyond": _frame(wire.ROWS, _rows([1, 10**9], _text(0, 1, 3), CODES)),
    "numbers-again": 2 * _frame(wire.ROWS, SOUND),
    "a-place-of-a-stream": _frame(wire.NEED, struct.pack("<QI", 0, 10)),
    "no-json": _frame(wire.REFUSED, b"canary0041791234567"),
    "deep-json": _frame(wire.REFUSED, b"[" * 100_000),
    "another-error": _frame(wire.REFUSED, b'{"code":"sealed","sentence":"canary0041791234567","faults":[]}'),
    "a-value-as-rule": _frame(wire.REFUSED, b'{"code":"invalid","sentence":"x","faults":[{"rule":"Canary 0041791234567"}]}'),
    "a-value-as-column": _frame(wire.REFUSED, b'{"code":"invalid","sentence":"","faults":[{"rule":"x","column":"canary"}]}'),
    "a-value-as-pointer": _frame(wire.REFUSED, b'{"code":"invalid","sentence":"","faults":[{"rule":"x","pointer":"/canary"}]}'),
    "a-value-as-row": _frame(wire.REFUSED, b'{"code":"invalid","sentence":"","faults":[{"rule":"x","row":41791234567}]}'),
    "a-value-as-sentence": _frame(wire.REFUSED, b'{"code":"invalid","sentence":"canary0041791234567","faults":[]}'),
    "rejects-unasked": _frame(wire.FAULTS, b'[{"rule":"null","row":1}]'),
}


def lies(source, **_):
    """Say, past the codec, what the input names; then that all were well, and end so."""
    peer = socket.socket(fileno=0)
    peer.sendall(LIES[source.read(64).decode()] + _frame(wire.END, b""))
    os._exit(0)
    yield


def refuses(source, **_):
    """Refuse with a sentence that is not the readers'."""
    source.read(1)
    raise Invalid("canary0041791234567", faults=[Fault("unreadable")])
    yield
