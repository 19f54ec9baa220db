"""The loader alone: what two readers could read differently is refused (I7, I8, I11, I18)."""

import gc
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.strict_json import MAX_DEPTH, loads
from app.errors import Invalid, Malformed

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_reads_what_json_writes(value):
    """RFC 8259: a generator's text, escaped or not, parses to the value it was made of."""
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b'{"epsilon":0.1,"epsilon":9}', "duplicate-key"),
        (b'{"a":{"b":1,"\\u0062":2}}', "duplicate-key"),
        (b'{"a":NaN}', "not-finite"),
        (b'{"a":-Infinity}', "not-finite"),
        (b'{"a":1e400}', "not-finite"),
        (b"[" + b"9" * 5000 + b"]", "integer-out-of-range"),
        (b"[9223372036854775808]", "integer-out-of-range"),
        (b"[-9223372036854775809]", "integer-out-of-range"),
        (b'["\xff\xfe"]', "invalid-utf-8"),
        (b'{"a":"\\ud800"}', "lone-surrogate"),
        (b'{"\\udfff":1}', "lone-surrogate"),
        (b'["a\\u0000b"]', "nul-character"),
    ],
)
def test_i18_doubtful_json_is_invalid(body, rule):
    with pytest.raises(Invalid) as caught:
        loads(body)
    assert [fault.rule for fault in caught.value.faults] == [rule]
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "body", [b"{", b"[1,]", b"{'a':1}", b"01", b"1 2", b'"a\nb"', b"\xef\xbb\xbf", '{"a":1}'.encode("utf-16")]
)
def test_i18_what_is_not_json_is_malformed(body):
    with pytest.raises((Malformed, Invalid)):
        loads(body)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 100_000])
@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_i18_depth_is_bounded(depth, left, right):
    with pytest.raises(Malformed):
        loads(left * depth + b"1" + right * depth)
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_int64_and_surrogate_pairs_pass():
    assert loads(b'[9223372036854775807,-9223372036854775808,"\\ud83d\\ude00"]') == [2**63 - 1, -(2**63), "😀"]


def test_i18_a_wide_megabyte_costs_no_more_than_its_length():
    """Eight times as much takes about eight times as long; sixty-four times would be quadratic. Its speed decides nothing."""

    def cost(arrays):
        gc.disable()  # it would look through all that the tests hold
        try:
            began = time.process_time()
            loads(b"[" + b"[]," * arrays + b"[]]")
            return time.process_time() - began
        finally:
            gc.enable()

    least = min(cost(43_000) for _ in range(3))
    assert min(cost(8 * 43_000) for _ in range(3)) < 32 * least
