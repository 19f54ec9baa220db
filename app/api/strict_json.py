"""JSON read so that two readers can't read it differently: what is doubtful is refused (threats I8, I11, I18).

    400 malformed   not JSON, or nested deeper than 64
    422 invalid     rules `invalid-utf-8`, `duplicate-key`, `not-finite`, `integer-out-of-range`, `lone-surrogate`,
                    `nul-character`

- Integers fit 64 bits: what is exact and larger travels as text. Numbers are finite: `1e400` is refused with `NaN`.
- U+0000 is refused here because PostgreSQL refuses it in text and SQLite keeps it (threat I7).
- Errors name the rule only; the place of a doubled key is not known to the parser.
"""

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from app.errors import Fault, Invalid, Malformed

MAX_DEPTH = 64
_INT64 = 2**63
_INT64_DIGITS = 20  # with the sign
_BOM = b"\xef\xbb\xbf"
_T = TypeVar("_T")

# JSON has no tuples, so a strict tuple takes nothing; its items stay strict.
Listed = Annotated[tuple[_T, ...], Field(strict=False)]


class Body(BaseModel):
    """What every model of a request is: strict, closed, finite, frozen, and silent about its input."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


def loads(body: bytes) -> Any:
    """Return what `body` holds, or raise `Malformed` or `Invalid`."""
    try:
        text = body.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        raise _broken("invalid-utf-8") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON; parsing stopped at character {error.pos}.") from None
    except RecursionError:
        raise _deep() from None
    if text.count("[") + text.count("{") > MAX_DEPTH or "\\u" in text:
        _walk(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _broken("duplicate-key")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _INT64_DIGITS or not -_INT64 <= (value := int(digits)) < _INT64:
        raise _broken("integer-out-of-range")
    return value


def _number(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise _broken("not-finite")
    return value


def _constant(_name: str) -> float:
    raise _broken("not-finite")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant)


def _walk(value: Any) -> None:
    """Check depth and characters level by level; a level is a list, so there is no recursion."""
    level: Iterable[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for node in level:
            if isinstance(node, str):
                _check_text(node)
            elif isinstance(node, list):
                inner.extend(node)
            elif isinstance(node, dict):
                inner.extend(node)
                inner.extend(node.values())
        if not inner:
            return
        level = inner
    raise _deep()


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _broken("nul-character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _broken("lone-surrogate") from None


def _broken(rule: str) -> Invalid:
    return Invalid("The JSON is doubtful and therefore refused; correct it by the rule that errors names.", faults=[Fault(rule)])


def _deep() -> Malformed:
    return Malformed(f"The body is nested deeper than {MAX_DEPTH}.")
