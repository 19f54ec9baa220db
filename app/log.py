"""What may be written to a log, as a list; everything else is dropped on the way (promise 6, threat C11).

One line is one JSON object. Lines of this service carry an event, which is a constant of the source, and the fields of
`FIELDS`. Lines of a library carry only where they came from: a library's message may quote what it was working on.

Invariants
- No text of an exception, no argument of a message, no traceback is ever written; of an exception, the name of its type.
- A field that is not in `FIELDS` does not exist; a value that is not a number or a plain word is written as `?`.
- A failure to log is silent: Python's own report of it would print the arguments.
"""

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from typing import IO

FIELDS = (
    "request_id",  # UUIDv7 of the request, also in the reply
    "trace",  # 32 hex of the caller's traceparent
    "method",
    "route",  # the template, never the path
    "status",
    "milliseconds",
    "principal",  # id of who asked
    "code",  # of a problem document
    "exception",  # name of its type
    "job",  # id
    "count",  # of things that tell nothing about people
)
_WORD = re.compile(r"[A-Za-z0-9_:/{}.\-]{1,200}")
_EVENT = re.compile(r"[a-z][a-z0-9 \-]{0,80}")
_OURS = ("app", "tacit")


class Lines(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the allowed part of `record`."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": moment, "level": record.levelname.lower(), "logger": _word(record.name)}
        if record.name.split(".", 1)[0] in _OURS:
            message = record.msg
            line["event"] = message if isinstance(message, str) and _EVENT.fullmatch(message) else "?"
            line |= {name: _plain(record.__dict__[name]) for name in FIELDS if record.__dict__.get(name) is not None}
        else:
            line["at"] = _word(f"{record.module}:{record.lineno}")
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line)


class _Handler(logging.StreamHandler[IO[str]]):
    """A stream handler that keeps quiet about its own failures."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Drop the line: the default prints the record's arguments."""


def configure(stream: IO[str], *, level: str = "INFO") -> None:
    """Send every log of the process through `Lines` to `stream`; call once, from `__main__`."""
    handler = _Handler(stream)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda kind, _error, _trace: _crashed(kind)
    threading.excepthook = lambda crash: _crashed(crash.exc_type)
    sys.unraisablehook = lambda crash: _crashed(crash.exc_type)


def _crashed(kind: type[BaseException] | None) -> None:
    if kind is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        logging.getLogger("app.process").error("uncaught exception", exc_info=(kind, kind(), None))


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    return _word(value) if isinstance(value, str) else "?"


def _word(text: str) -> str:
    return text if _WORD.fullmatch(text) else "?"
