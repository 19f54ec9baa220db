"""The zygote: one small process that has read the libraries and forks a parse child for each upload.

    python -I -c "…; zygote.main()" root reader memory        descriptor 0: control, a Unix socket of whole messages

    service → zygote   one byte, with two descriptors: the child's socket, and the socket on which to tell how it ends
    zygote → service   on the latter: pid (u32) with its pidfd; at the end its wait status (u32)

- It is started with `exec` and an environment of constants: nothing of the service's memory is in it or in its children.
- It has one thread and imports only the readers; it never reads input, nor anything that a child says.
- It ends when the service does (its control socket closes), and its children with it.
"""

import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Final, NoReturn

from app.table.apart import confine

WORD: Final = struct.Struct("<I")
_LAZY: Final = ("numpy.ma", "pyarrow.compute", "pyarrow.csv", "pyarrow.parquet")  # what a reader loads at its first use


def main() -> NoReturn:
    """Serve until the service closes its end; the arguments are the reader (`module:name`) and a child's memory."""
    name, memory = sys.argv[2:]
    confine.leave_the_network()
    from app.table.apart import child

    module, _, function = name.partition(":")
    read = getattr(importlib.import_module(module), function)
    for lazy in _LAZY:
        importlib.import_module(lazy)
    sys.meta_path.clear()  # nothing more is imported: Arrow would look for pandas
    os.environ.clear()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the service ends us
    gc.collect()
    gc.freeze()  # children share these pages for as long as nobody writes to them
    control = socket.socket(fileno=0)
    ending: dict[int, tuple[int, socket.socket]] = {}
    me = os.getpid()
    while True:
        ready, _, _ = select.select([control.fileno(), *ending], [], [])
        for ended in ending.keys() & ready:
            _tell_the_end(ended, *ending.pop(ended))
        if control.fileno() not in ready:
            continue
        word, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not word:
            os._exit(0)
        try:
            pid = os.fork()
        except OSError:  # no more processes: both sockets close, and the service says 503
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        if pid == 0:
            child.serve(descriptors[0], zygote=me, memory_bytes=int(memory), read=read)
        os.close(descriptors[0])
        end = socket.socket(fileno=descriptors[1])
        watched = os.pidfd_open(pid)
        ending[watched] = (pid, end)
        with suppress(OSError):  # the service may have lost interest
            socket.send_fds(end, [WORD.pack(pid)], [watched])


def _tell_the_end(watched: int, pid: int, end: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    os.close(watched)
    with suppress(OSError):
        end.sendall(WORD.pack(status))
    end.close()
