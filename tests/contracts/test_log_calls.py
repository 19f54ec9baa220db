"""What is written to a log is a constant and fields of the allow-list (promise 6, threat C11): no call in app/ passes more.

app/log.py drops what is not allowed when it is written; here nothing is handed to it in the first place. A call is one on a name
that `logging.getLogger` was given to, or on its result. Its message is a constant that `app.log` lets through, or the parameter
of a function whose callers all give one; it has no arguments; `extra` has keys of `FIELDS`.
"""

import ast
from pathlib import Path

import pytest

from app.log import FIELDS, Lines

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "app").rglob("*.py"))
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
# Messages with a part that is computed: what it may be.
COMPUTED = {"app/jobs/runner.py: f'job {state}'": ("job done", "job failed", "job cancelled")}


def _is_event(text):
    import logging

    record = logging.LogRecord("app.x", logging.INFO, "", 0, text, None, None)
    return f'"event": "{text}"' in Lines().format(record)


def _loggers(tree):
    """Names that a logger was given to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and "getLogger" in ast.unparse(node.value):
            yield from (ast.unparse(target) for target in node.targets)


def _log_calls(tree):
    named = set(_loggers(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            on = ast.unparse(node.func.value)
            if on in named or on.startswith("logging"):
                yield node


def _function_around(tree, node):
    around = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and node in ast.walk(one)]
    return max(around, key=lambda one: one.lineno)


def _messages(tree, where, node):
    """Every text that a message may be; None where that is not known."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _messages(tree, where, one)
            yield from _messages(tree, where, other)
        case ast.JoinedStr():
            yield from COMPUTED.get(f"{where}: {ast.unparse(node)}", (None,))
        case _:
            yield None


def _given(tree, where, call, message):
    """The texts that the callers of the function around a log call give for its message."""
    function = _function_around(tree, call)
    names = [argument.arg for argument in function.args.args if argument.arg != "self"]
    if not isinstance(message, ast.Name) or message.id not in names:
        return [None]
    place, given = names.index(message.id), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == function.name and node is not call:
            given += _messages(tree, where, node.args[place])
    return given or [None]


def _keys(tree, call, value):
    """The keys that `extra` may have; None where that is not known."""
    match value:
        case ast.Dict(keys=keys):
            return [key.value if isinstance(key, ast.Constant) else None for key in keys]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return [*_keys(tree, call, left), *_keys(tree, call, right)]
        case ast.Name(id=name):
            assigned = [
                node.value
                for node in ast.walk(_function_around(tree, call))
                if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets)
            ]
            return [key for one in assigned for key in _keys(tree, call, one)] or [None]
    return [None]


def faults(text, where="app/x.py"):
    """What is wrong with the log calls of a module."""
    tree = ast.parse(text)
    for call in _log_calls(tree):
        message, *arguments = call.args[1:] if call.func.attr == "log" else call.args
        texts = list(_messages(tree, where, message))
        texts = _given(tree, where, call, message) if texts == [None] else texts
        options = {option.arg: option.value for option in call.keywords}
        keys = _keys(tree, call, options["extra"]) if "extra" in options else []
        if arguments or not all(one is not None and _is_event(one) for one in texts):
            yield f"{where}:{call.lineno} message"
        if not set(keys) <= set(FIELDS) or not set(options) <= {"extra", "exc_info"}:
            yield f"{where}:{call.lineno} fields"


@pytest.mark.attack("C11")
def test_c11_no_log_call_passes_anything_but_a_constant_and_allowed_fields():
    found = [fault for path in SOURCES for fault in faults(path.read_text("utf-8"), str(path.relative_to(ROOT)))]
    assert found == []


def test_the_calls_are_found():
    assert sum(len(list(_log_calls(ast.parse(path.read_text("utf-8"))))) for path in SOURCES) > 15
    named = {str(path.relative_to(ROOT)) for path in SOURCES if "getLogger" in path.read_text("utf-8")}
    with_calls = {str(path.relative_to(ROOT)) for path in SOURCES if list(_log_calls(ast.parse(path.read_text("utf-8"))))}
    silent = {"app/jobs/engine.py", "app/api/multipart.py"}  # these only quieten a library's
    assert named - with_calls == silent


def test_nothing_prints_but_the_operators_commands():
    printing = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "sys.stdout.write", "sys.stderr.write"}
    }
    assert printing == {"app/__main__.py"}


@pytest.mark.parametrize(
    "line",
    [
        "_LOG.info(f'row {row}')",
        "_LOG.info('row %s', row)",
        "_LOG.info('done', row)",
        "_LOG.info(text)",
        "_LOG.info('row ' + row)",
        "_LOG.info('Row')",
        "_LOG.info('done', extra={'row': row})",
        "_LOG.info('done', extra={**fields})",
        "_LOG.info('done', extra=fields)",
        "_LOG.info('done', extra={'job': 1} | {'row': 2})",
        "_LOG.log(10, row)",
        "_LOG.info('done', stack_info=True)",
        "logging.getLogger('app.y').info(f'{row}')",
        "logging.info(row)",
        "_say(row)",
    ],
)
def test_the_lint_finds_what_it_is_for(line):
    module = (
        "import logging\n_LOG = logging.getLogger('app.x')\n\ndef _say(event):\n    _LOG.info(event)\n\ndef act(row):\n    {}\n"
    )
    if not line.startswith("_say"):
        line += "\n    _say('done')"
    assert list(faults(module.format(line)))


@pytest.mark.parametrize(
    "line",
    ["_say('done')", "_say('done' if row else 'not done')", "_LOG.info('done', extra={'job': 1} | {'code': 2})\n    _say('a')"],
)
def test_the_lint_lets_constants_and_fields_pass(line):
    module = (
        "import logging\n_LOG = logging.getLogger('app.x')\n\ndef _say(event):\n    _LOG.info(event)\n\ndef act(row):\n    {}\n"
    )
    assert list(faults(module.format(line))) == []
