"""Threat C6: each AES-GCM nonce is twelve fresh bytes of `os.urandom`, drawn in the function that uses it, for one message."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = [path for top in ("app", "tacit") for path in sorted((ROOT / top).rglob("*.py")) if "AESGCM" in path.read_text("utf-8")]
DRAWN = "nonce = os.urandom(_NONCE_BYTES)"


def faults(text):
    """Calls that encrypt under a nonce that was not just drawn, and functions that draw one for two calls."""
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        calls = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"encrypt", "encrypt_into"}
        ]
        drawn = [node for node in ast.walk(function) if isinstance(node, ast.Assign) and ast.unparse(node) == DRAWN]
        if any(ast.unparse(call.args[0]) != "nonce" for call in calls) or len(calls) > 1 or len(calls) != len(drawn):
            yield function.name
        if calls and any(isinstance(node, ast.For | ast.While | ast.comprehension) for node in ast.walk(function)):
            yield f"{function.name}: one nonce, many messages"


@pytest.mark.attack("C6")
def test_c6_every_nonce_is_drawn_where_it_is_used():
    assert len(ROOMS) > 2
    assert {str(path.relative_to(ROOT)): list(faults(path.read_text("utf-8"))) for path in ROOMS} == {
        str(path.relative_to(ROOT)): [] for path in ROOMS
    }
    for path in ROOMS:
        assert "_NONCE_BYTES: Final = 12" in path.read_text("utf-8") or ".encrypt" not in path.read_text("utf-8"), path


@pytest.mark.parametrize(
    "body",
    [
        "return c.encrypt(nonce, p, None)",
        "nonce = bytes(12)\n    return c.encrypt(nonce, p, None)",
        "nonce = os.urandom(_NONCE_BYTES)\n    return c.encrypt(nonce, p, None) + c.encrypt(nonce, q, None)",
        "nonce = os.urandom(_NONCE_BYTES)\n    return [c.encrypt(nonce, one, None) for one in p]",
        "return c.encrypt(os.urandom(12), p, None)",
    ],
)
def test_the_lint_finds_what_it_is_for(body):
    assert list(faults(f"def seal(nonce, c, p):\n    {body}\n"))


@pytest.mark.attack("C6")
def test_c6_a_broken_source_of_randomness_repeats_only_what_it_repeats(monkeypatch):
    """With `os.urandom` stuck, nonces repeat: nothing else decides them, so the system's randomness is what has to hold."""
    from app.crypto import aead

    key = bytes(32)
    monkeypatch.setattr(aead.os, "urandom", lambda length: b"\7" * length)
    one, other = aead.seal(key, b"a", b""), aead.seal(key, b"a", b"")
    assert one == other
    assert one[1:13] == b"\7" * 12
