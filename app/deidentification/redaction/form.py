"""Reading `redact_text` from a policy: understood, or refused with its places.

- `find` names known kinds, each once, at least one. `replace` is `type` or `pseudonym`. `country` is one that has telephones.
- Names of people are not looked for in this version: `names` is refused by its own rule, not taken for a slip of the pen.
"""

from app.deidentification.members import Members
from app.deidentification.redaction.kinds import Kind
from app.deidentification.redaction.technique import RedactText, Replacement
from app.table.schema import Column, ColumnType


def read_redact_text(members: Members, column: Column) -> RedactText | None:
    """Return the technique; what is wrong with it is noted in `members`."""
    members.only("find", "replace", "country", "names")
    if "names" in members.body:
        members.fault("names-not-available", "names")
    if column.type is not ColumnType.TEXT:
        members.fault("redact-needs-text", "technique")
    return RedactText(
        find=members.read("find", _kinds, tuple(Kind)),
        replace=members.read("replace", _replacement, Replacement.TYPE),
        country=members.read("country", _country),
    )


def _kinds(value: object) -> tuple[Kind, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("list-of-kinds")
    if not all(isinstance(one, str) and one in set(Kind) for one in value):
        raise ValueError("unknown-kind")
    if len(set(value)) != len(value):
        raise ValueError("kind-twice")
    return tuple(kind for kind in Kind if kind in value)


def _replacement(value: object) -> Replacement:
    if not isinstance(value, str) or value not in set(Replacement):
        raise ValueError("type-or-pseudonym")
    return Replacement(value)


def _country(value: object) -> str:
    import phonenumbers  # heavy metadata, and most policies redact nothing

    if not isinstance(value, str) or value not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("unknown-country")
    return value
