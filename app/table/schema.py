"""What a column is: name, type, identifier, role, step and bounds or categories; and what is left of it once stored.

- A `Column` and a `Schema` are valid from birth: the constructors refuse what `from_json` refuses.
- `Schema.from_json` reports every fault at once, each with a JSON pointer; unknown members are refused (promise 1).
- Numbers are exact: bounds and steps are `Fraction` in memory and decimal text in JSON (integers may be JSON integers).
- A decimal column is kept as int64 counts of its step, so its bounds are multiples of the step within int64 (soundness R9).
- Bounds come from the owner, never from data (soundness R21); a value outside them is no fault, questions clamp it. What an
  inferred schema did read from a sample is named in `from_data`, and stays so until the owner sends the column without it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal, get_args

from app.errors import Fault, Invalid
from app.table.exact import decimal_places, decimal_text, parse_decimal

MAX_COLUMNS = 1_000
MAX_CATEGORIES = 10_000
MAX_CATEGORY_LENGTH = 1_000
INT64 = range(-(2**63), 2**63)

Role = Literal["feature", "label"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]{0,62}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_MEMBERS = frozenset(
    {"name", "type", "nullable", "identifier", "country", "role", "step", "lower", "upper", "categories", "from_data"},
)
_FROM_DATA = frozenset({"type", "nullable", "country", "step", "lower", "upper", "categories"})  # members that tell of values
_DOMAIN = frozenset({"step", "lower", "upper", "categories"})  # those that questions take their noise and their groups from


class ColumnType(StrEnum):
    """The types that a schema may declare."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    CATEGORY = "category"
    BINARY = "binary"


_ARROW = {
    ColumnType.TEXT: "string",
    ColumnType.INTEGER: "int64",
    ColumnType.DECIMAL: "int64",
    ColumnType.BOOLEAN: "bool",
    ColumnType.DATE: "date32[day]",
    ColumnType.DATETIME: "timestamp[us, tz=UTC]",
    ColumnType.CATEGORY: "int16",
    ColumnType.BINARY: "binary",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column of a table.

    `identifier` is the owner's label of what it identifies ("email" and "phone" have normalisers of their own, every
    other label is an opaque id); `country` (ISO 3166 alpha-2) belongs to phones, `step` to decimals, bounds to numbers.
    """

    name: str
    type: ColumnType
    nullable: bool = True
    identifier: str | None = None
    country: str | None = None
    role: Role | None = None
    step: Fraction | None = None
    lower: Fraction | None = None
    upper: Fraction | None = None
    categories: tuple[str, ...] | None = None
    from_data: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a column that breaks a rule."""
        if faults := list(_column_faults(self)):
            raise Invalid("A column breaks the rules of schemas.", faults=faults)

    @property
    def arrow_type(self) -> str:
        """Return the name of the Arrow type that values have in memory; `arrow.data_type` makes the type of it."""
        return _ARROW[self.type]

    @property
    def grid(self) -> Fraction | None:
        """Return what one unit of the kept int64 is worth: the step of a decimal, 1 of an integer, else None."""
        return Fraction(1) if self.type is ColumnType.INTEGER else self.step

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them; `Column` of it is equal."""
        body: dict[str, Any] = {"name": self.name, "type": str(self.type), "nullable": self.nullable}
        body |= {key: getattr(self, key) for key in ("identifier", "country", "role") if getattr(self, key) is not None}
        exact = {key: getattr(self, key) for key in ("step", "lower", "upper")}
        body |= {key: decimal_text(value) for key, value in exact.items() if value is not None}
        body |= {} if self.categories is None else {"categories": list(self.categories)}
        return body | ({"from_data": list(self.from_data)} if self.from_data else {})


@dataclass(frozen=True, slots=True)
class Schema:
    """The declared columns, in the owner's order."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        """Refuse none, too many, or two columns of one name."""
        if faults := list(_table_faults([column.name for column in self.columns], "")):
            raise Invalid("The schema breaks the rules of schemas.", faults=faults)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' names in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column called `name`; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(column.name == name for column in self.columns)

    def bounds_from_data(self) -> list[str]:
        """Return the columns whose bounds, step or categories were read from a sample of the data (soundness R21)."""
        return [column.name for column in self.columns if not _DOMAIN.isdisjoint(column.from_data)]

    def confirms(self, earlier: "Schema") -> bool:
        """Tell whether this is the earlier schema, with at most fewer members said to come from data."""
        bare = [replace(column, from_data=()) for column in self.columns]
        return bare == [replace(column, from_data=()) for column in earlier.columns] and all(
            set(column.from_data) <= set(before.from_data) for column, before in zip(self.columns, earlier.columns, strict=True)
        )

    def as_json(self) -> list[dict[str, Any]]:
        """Return the schema as a client would write it; `from_json` of it is equal."""
        return [column.as_json() for column in self.columns]

    @classmethod
    def from_json(cls, body: object, *, pointer: str = "/schema") -> "Schema":
        """Read a JSON list of columns; raise `Invalid` with every fault below `pointer`."""
        if not isinstance(body, list):
            raise Invalid("A schema is a list of columns.", faults=[Fault("not-a-list", pointer=pointer)])
        if len(body) > MAX_COLUMNS:
            raise Invalid("The schema has too many columns.", faults=[Fault("too-many-columns", pointer=pointer)])
        read = [_read_column(item, f"{pointer}/{index}") for index, item in enumerate(body)]
        faults = [fault for _, found in read for fault in found]
        names = [item.get("name") if isinstance(item, dict) else None for item in body]
        faults += _table_faults(names, pointer)
        if faults:
            raise Invalid("The schema has faults; each is listed with its place.", faults=faults)
        return cls(tuple(column for column, _ in read if column is not None))


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """What is left of a column once its technique was applied: the only thing that a question sees.

    `ordinal` is its place in the stored table. A date's bounds are days since 1970, its step the months of its period, if any.
    """

    name: str
    type: ColumnType
    technique: str
    arrow_type: str
    ordinal: int
    nullable: bool = True
    step: Fraction | None = None
    lower: Fraction | None = None
    upper: Fraction | None = None
    categories: tuple[str, ...] | None = None
    queryable: bool = False
    groupable: bool = False
    identifier: str | None = None
    role: Role | None = None


def _read_column(item: object, pointer: str) -> tuple[Column | None, list[Fault]]:
    """Read one column; either it or its faults, with pointers below `pointer`."""
    if not isinstance(item, dict):
        return None, [Fault("not-an-object", pointer=pointer)]
    faults = [Fault("unknown-member", pointer=f"{pointer}/{_escape(name)}") for name in item if name not in _MEMBERS]
    faults += [Fault("missing", pointer=f"{pointer}/{name}") for name in ("name", "type") if item.get(name) is None]
    members: dict[str, Any] = {}
    for name in sorted(_MEMBERS & item.keys()):
        if item[name] is None:
            continue
        try:
            members[name] = _READERS[name](item[name])
        except ValueError as wrong:
            faults.append(Fault(str(wrong), pointer=f"{pointer}/{name}"))
    if not {"name", "type"} <= members.keys():
        return None, faults
    try:
        column = Column(**members)
    except Invalid as wrong:
        known = {fault.pointer for fault in faults}
        found = [Fault(fault.rule, pointer=pointer + (fault.pointer or "")) for fault in wrong.faults]
        return None, faults + [fault for fault in found if fault.pointer not in known]
    return column, faults


def _column_faults(column: Column) -> list[Fault]:
    """Return every broken rule of one column, with pointers below it."""
    rules = [
        ("/name", "name-pattern", _NAME.fullmatch(column.name) is None),
        ("/identifier", "identifier-pattern", column.identifier is not None and not _LABEL.fullmatch(column.identifier)),
        ("/identifier", "identifier-needs-text", column.identifier is not None and column.type is not ColumnType.TEXT),
        ("/country", "phone-needs-country", column.identifier == "phone" and column.country is None),
        ("/country", "country-only-for-phone", column.identifier != "phone" and column.country is not None),
        ("/country", "country-pattern", column.country is not None and not _COUNTRY.fullmatch(column.country)),
        ("/role", "unknown-role", column.role is not None and column.role not in get_args(Role)),
        ("/from_data", "from-data-member", not _told_of(column)),
    ]
    faults = [Fault(rule, pointer=pointer) for pointer, rule, broken in rules if broken]
    return faults + _number_faults(column) + _category_faults(column)


def _told_of(column: Column) -> bool:
    """Tell whether each member that is said to come from data is there, once."""
    said = column.from_data
    return len(set(said)) == len(said) and all(one in _FROM_DATA and getattr(column, one) is not None for one in said)


def _number_faults(column: Column) -> list[Fault]:
    step = column.step
    bounds = {"/lower": column.lower, "/upper": column.upper}
    faults = []
    if column.type is not ColumnType.DECIMAL and step is not None:
        faults.append(Fault("step-only-for-decimal", pointer="/step"))
    if column.type is ColumnType.DECIMAL and step is None:
        faults.append(Fault("decimal-needs-step", pointer="/step"))
    if step is not None and (step <= 0 or decimal_places(step) is None):
        return [*faults, Fault("step-positive-decimal", pointer="/step")]
    for pointer, bound in bounds.items():
        if bound is None:
            continue
        if column.grid is None or column.type not in {ColumnType.INTEGER, ColumnType.DECIMAL}:
            faults.append(Fault("bounds-only-for-numbers", pointer=pointer))
        elif (bound / column.grid).denominator != 1:
            faults.append(Fault("bound-off-grid", pointer=pointer))
        elif int(bound / column.grid) not in INT64:
            faults.append(Fault("bound-beyond-int64", pointer=pointer))
    if column.lower is not None and column.upper is not None and column.lower >= column.upper:
        faults.append(Fault("lower-below-upper", pointer="/upper"))
    return faults


def _category_faults(column: Column) -> list[Fault]:
    values = column.categories
    if (column.type is ColumnType.CATEGORY) != (values is not None):
        return [Fault("category-needs-categories" if values is None else "categories-only-for-category", pointer="/categories")]
    if values is None:
        return []
    if not values or len(values) > MAX_CATEGORIES:
        return [Fault("categories-count", pointer="/categories")]
    faults, seen = [], set()
    for index, value in enumerate(values):
        if not _storable(value):
            faults.append(Fault("category-text", pointer=f"/categories/{index}"))
        elif value in seen:
            faults.append(Fault("category-duplicate", pointer=f"/categories/{index}"))
        seen.add(value)
    return faults


def _table_faults(names: Sequence[object], pointer: str) -> list[Fault]:
    if not names or len(names) > MAX_COLUMNS:
        return [Fault("columns-count", pointer=pointer)]
    seen: set[str] = set()
    faults = []
    for index, name in enumerate(names):
        if isinstance(name, str) and name in seen:
            faults.append(Fault("name-duplicate", pointer=f"{pointer}/{index}/name"))
        seen.add(name if isinstance(name, str) else "")
    return faults


def _storable(text: str) -> bool:
    """Tell whether text can be kept anywhere: not too long, no NUL, no lone surrogate (threats I7, I8)."""
    return len(text) <= MAX_CATEGORY_LENGTH and "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _escape(name: object) -> str:
    """Return a member's name as a token of a JSON pointer, cut to a length that a reply can carry."""
    text = str(name)[:64].encode("utf-8", "replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def _matching(pattern: re.Pattern[str], rule: str) -> Callable[[object], str]:
    """Return a reader of text of one pattern; ValueError carries the broken rule, here and below."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(rule)
        return value

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not-a-boolean")  # noqa: TRY004
    return value


def _type(value: object) -> ColumnType:
    if not isinstance(value, str) or value not in set(ColumnType):
        raise ValueError("unknown-type")
    return ColumnType(value)


def _exact(value: object) -> Fraction:
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    number = parse_decimal(value) if isinstance(value, str) else None
    if number is None:
        raise ValueError("not-a-decimal-text")
    return number


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("not-a-list-of-text")
    return tuple(value)


_READERS: dict[str, Callable[[object], Any]] = {
    "name": _matching(_NAME, "name-pattern"),
    "type": _type,
    "nullable": _flag,
    "identifier": _matching(_LABEL, "identifier-pattern"),
    "country": _matching(_COUNTRY, "country-pattern"),
    "role": _matching(re.compile("|".join(get_args(Role))), "unknown-role"),
    "step": _exact,
    "lower": _exact,
    "upper": _exact,
    "categories": _texts,
    "from_data": _texts,
}
