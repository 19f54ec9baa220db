"""What happens to each column before it may be stored: stated for every column, or the dataset is refused (promise 1).

Invariants
- A policy is a closed union of frozen techniques, checked against the schema; every fault is reported at once.
- `stored` says what is left: type, bounds and declared values are those of the technique's output, and only `keep` and
  `generalize` columns may stand in `where` and `group_by` (soundness R14).
- A technique of a later version is refused by name, never ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from typing import Any, ClassVar

from app.errors import Fault, Invalid
from app.table.exact import decimal_text, parse_decimal
from app.table.schema import INT64, Column, ColumnType, Schema, StoredColumn

PSEUDONYM = "fixed_size_binary[16]"
LATER = ("tokenize", "shift_dates", "randomize", "redact_text", "paillier")
_NUMBERS = (ColumnType.INTEGER, ColumnType.DECIMAL)
_TIMES = (ColumnType.DATE, ColumnType.DATETIME)
_YEARS = range(1, 10_000)


@dataclass(frozen=True, slots=True)
class Keep:
    """Store the column as it is."""

    name: ClassVar[str] = "keep"


@dataclass(frozen=True, slots=True)
class Suppress:
    """Do not store the column."""

    name: ClassVar[str] = "suppress"


@dataclass(frozen=True, slots=True)
class Pseudonymize:
    """Replace identifiers by keyed pseudonyms (soundness R28)."""

    name: ClassVar[str] = "pseudonymize"


@dataclass(frozen=True, slots=True)
class Mask:
    """Show the first or last characters of a text behind a mask whose length tells nothing."""

    name: ClassVar[str] = "mask"
    keep_first: int = 0
    keep_last: int = 0


@dataclass(frozen=True, slots=True)
class Generalize:
    """Coarsen: numbers to bins of `width`, times to `year` or `month`, text to a `prefix`."""

    name: ClassVar[str] = "generalize"
    width: Fraction | None = None
    to: str | None = None
    prefix: int | None = None
    lower: Fraction | None = None  # of the output: years
    upper: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Encrypt:
    """Encrypt cells under a named key (soundness R30)."""

    name: ClassVar[str] = "encrypt"
    key: str = ""


@dataclass(frozen=True, slots=True)
class Seal:
    """Seal cells to a recipient; the service can't open them (soundness R31)."""

    name: ClassVar[str] = "seal"
    recipient: str = ""


Technique = Keep | Suppress | Pseudonymize | Mask | Generalize | Encrypt | Seal


@dataclass(frozen=True, slots=True)
class Policy:
    """The technique of every column of a schema."""

    techniques: Mapping[str, Technique]

    @classmethod
    def from_json(cls, body: object, schema: Schema, *, pointer: str = "/policy") -> "Policy":
        """Read a policy for the schema; raise `Invalid` with every fault."""
        if not isinstance(body, dict):
            raise Invalid("A policy names a technique for each column.", faults=[Fault("not-an-object", pointer=pointer)])
        faults = [Fault("unknown-column", pointer=f"{pointer}/{_escape(name)}") for name in body if name not in schema]
        techniques: dict[str, Technique] = {}
        for column in schema.columns:
            place = f"{pointer}/{_escape(column.name)}"
            if column.name not in body:
                faults.append(Fault("technique-missing", pointer=place))
                continue
            technique = _read(body[column.name], column, place, faults)
            if technique is not None:
                techniques[column.name] = technique
        if faults:
            raise Invalid("The policy has faults; each is listed with its place.", faults=faults)
        return cls(techniques)

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Return the policy as a client would write it."""
        return {name: _written(technique) for name, technique in self.techniques.items()}

    def stored(self, schema: Schema) -> tuple[StoredColumn, ...]:
        """Return what is stored of the schema, in its order."""
        kept = [column for column in schema.columns if not isinstance(self.techniques[column.name], Suppress)]
        return tuple(_stored(column, self.techniques[column.name], place) for place, column in enumerate(kept))

    def key_names(self) -> dict[str, str]:
        """Return the named key of each encrypted column."""
        return {name: one.key for name, one in self.techniques.items() if isinstance(one, Encrypt)}

    def recipient_names(self) -> dict[str, str]:
        """Return the recipient of each sealed column."""
        return {name: one.recipient for name, one in self.techniques.items() if isinstance(one, Seal)}


def _read(body: object, column: Column, pointer: str, faults: list[Fault]) -> Technique | None:
    if not isinstance(body, dict) or not isinstance(body.get("technique"), str):
        faults.append(Fault("technique-missing", pointer=pointer))
        return None
    name = body["technique"]
    if name not in _READERS:
        faults.append(Fault("technique-not-available" if name in LATER else "unknown-technique", pointer=f"{pointer}/technique"))
        return None
    allowed, reader = _READERS[name]
    before = len(faults)
    faults += [Fault("unknown-member", pointer=f"{pointer}/{_escape(one)}") for one in body if one not in {"technique", *allowed}]
    technique = reader(body, column, pointer, faults)
    return technique if len(faults) == before else None


def _read_pseudonymize(_: dict[str, Any], column: Column, pointer: str, faults: list[Fault]) -> Technique:
    if column.type is not ColumnType.TEXT or column.identifier is None:
        faults.append(Fault("needs-text-with-identifier", pointer=pointer))
    return Pseudonymize()


def _read_mask(body: dict[str, Any], column: Column, pointer: str, faults: list[Fault]) -> Technique:
    first, last = body.get("keep_first", 0), body.get("keep_last", 0)
    if column.type is not ColumnType.TEXT:
        faults.append(Fault("needs-text", pointer=pointer))
    for name, count in (("keep_first", first), ("keep_last", last)):
        if type(count) is not int or not 0 <= count <= 32:  # noqa: PLR2004  more than that masks nothing
            faults.append(Fault("integer-0-to-32", pointer=f"{pointer}/{name}"))
            return Mask()
    return Mask(first, last)


def _read_generalize(body: dict[str, Any], column: Column, pointer: str, faults: list[Fault]) -> Technique:
    ways = [way for way in ("width", "to", "prefix") if body.get(way) is not None]
    if len(ways) != 1:
        faults.append(Fault("one-of-width-to-prefix", pointer=pointer))
        return Generalize()
    read = {"width": _read_width, "to": _read_to, "prefix": _read_prefix}[ways[0]]
    if ways[0] != "to" and (body.get("lower") is not None or body.get("upper") is not None):
        faults.append(Fault("bounds-belong-to-years", pointer=pointer))
    return read(body, column, pointer, faults)


def _read_width(body: dict[str, Any], column: Column, pointer: str, faults: list[Fault]) -> Generalize:
    width = _number(body["width"])
    grid = column.grid
    if column.type not in _NUMBERS or grid is None:
        faults.append(Fault("needs-a-number", pointer=f"{pointer}/width"))
    elif width is None or width <= 0 or (width / grid).denominator != 1 or int(width / grid) not in INT64:
        faults.append(Fault("multiple-of-step", pointer=f"{pointer}/width"))
    return Generalize(width=width)


def _read_to(body: dict[str, Any], column: Column, pointer: str, faults: list[Fault]) -> Generalize:
    if column.type not in _TIMES:
        faults.append(Fault("needs-a-date", pointer=f"{pointer}/to"))
    if body["to"] not in {"year", "month"}:
        faults.append(Fault("year-or-month", pointer=f"{pointer}/to"))
    bounds = {name: _number(body[name]) for name in ("lower", "upper") if body.get(name) is not None}
    for name, bound in bounds.items():
        if body["to"] != "year" or bound is None or bound.denominator != 1 or int(bound) not in _YEARS:
            faults.append(Fault("a-year", pointer=f"{pointer}/{name}"))
            return Generalize(to="year")
    lower, upper = bounds.get("lower"), bounds.get("upper")
    if lower is not None and upper is not None and lower >= upper:
        faults.append(Fault("lower-below-upper", pointer=f"{pointer}/lower"))
    return Generalize(to=body["to"] if body["to"] in {"year", "month"} else None, lower=lower, upper=upper)


def _read_prefix(body: dict[str, Any], column: Column, pointer: str, faults: list[Fault]) -> Generalize:
    if column.type is not ColumnType.TEXT:
        faults.append(Fault("needs-text", pointer=f"{pointer}/prefix"))
    if type(body["prefix"]) is not int or not 1 <= body["prefix"] <= 64:  # noqa: PLR2004  a longer prefix generalises nothing
        faults.append(Fault("integer-1-to-64", pointer=f"{pointer}/prefix"))
        return Generalize()
    return Generalize(prefix=body["prefix"])


def _read_named(body: dict[str, Any], column: Column, pointer: str, faults: list[Fault], *, member: str) -> str:
    if column.type not in {ColumnType.TEXT, ColumnType.BINARY}:
        faults.append(Fault("needs-text-or-binary", pointer=pointer))
    if not isinstance(body.get(member), str):
        faults.append(Fault("missing", pointer=f"{pointer}/{member}"))
        return ""
    return str(body[member])


_Reader = Callable[[dict[str, Any], Column, str, list[Fault]], Technique]
_READERS: dict[str, tuple[tuple[str, ...], _Reader]] = {
    "keep": ((), lambda *_: Keep()),
    "suppress": ((), lambda *_: Suppress()),
    "pseudonymize": ((), _read_pseudonymize),
    "mask": (("keep_first", "keep_last"), _read_mask),
    "generalize": (("width", "to", "prefix", "lower", "upper"), _read_generalize),
    "encrypt": (("key",), lambda body, column, at, faults: Encrypt(_read_named(body, column, at, faults, member="key"))),
    "seal": (("recipient",), lambda body, column, at, faults: Seal(_read_named(body, column, at, faults, member="recipient"))),
}


def _stored(column: Column, technique: Technique, ordinal: int) -> StoredColumn:
    base = StoredColumn(
        name=column.name,
        type=column.type,
        technique=technique.name,
        arrow_type=column.arrow_type,
        ordinal=ordinal,
        nullable=column.nullable,
        identifier=column.identifier,
        role=column.role,
    )
    match technique:
        case Keep():
            return _groupable(
                replace(
                    base, step=column.step, lower=column.lower, upper=column.upper, categories=column.categories, queryable=True
                )
            )
        case Generalize():
            return _groupable(replace(_generalized(base, column, technique), queryable=True))
        case Pseudonymize():
            return replace(base, arrow_type=PSEUDONYM)
        case Encrypt() | Seal():
            return replace(base, arrow_type="binary")
        case _:
            return base


def _generalized(base: StoredColumn, column: Column, technique: Generalize) -> StoredColumn:
    if technique.to == "year":
        return replace(base, type=ColumnType.INTEGER, arrow_type="int64", lower=technique.lower, upper=technique.upper)
    if technique.to == "month":
        return replace(base, type=ColumnType.DATE, arrow_type="date32[day]")
    if technique.width is None:
        return base
    lower, upper = (
        None if bound is None else floor(bound / technique.width) * technique.width for bound in (column.lower, column.upper)
    )
    return replace(base, step=technique.width, lower=lower, upper=upper)


def _groupable(column: StoredColumn) -> StoredColumn:
    bounded = column.lower is not None and column.upper is not None
    finite = column.type in {ColumnType.CATEGORY, ColumnType.BOOLEAN} or (bounded and column.type in (*_NUMBERS, *_TIMES))
    return replace(column, groupable=finite)


def _written(technique: Technique) -> dict[str, Any]:
    body: dict[str, Any] = {"technique": technique.name}
    for member in technique.__dataclass_fields__:
        value = getattr(technique, member)
        if value is not None and value != 0:
            body[member] = decimal_text(value) if isinstance(value, Fraction) else value
    return body


def _number(value: object) -> Fraction | None:
    if type(value) is int:
        return Fraction(value)
    return parse_decimal(value) if isinstance(value, str) else None


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
