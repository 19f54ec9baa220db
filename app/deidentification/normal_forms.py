"""Normal forms of a whole column of identifiers: vector kernels where they are proven equal, `identifiers.normalize` elsewhere.

Promise: value for value what `app.crypto.identifiers.normalize` returns (tests/properties), or null where it returns None.

Fast paths, each only where nothing else could apply:
- opaque: an ASCII value needs no more than trimming (the normaliser's own words).
- email: ASCII, at most 64 characters, one `@`, a domain of letter-digit-hyphen labels: only ASCII letters are folded.
- phone: `phones` says which E.164 texts are their own normal form.

Everything else goes value by value, once per distinct value.
"""

from typing import Any

from app.crypto.identifiers import WHITESPACE, normalize
from app.deidentification.phones import own_normal_form
from app.table.arrow import pa, pc

_PLAIN_EMAIL = r"^[a-z0-9!#$%&'*+\-/=?^_`{|}~.]+@[a-z0-9]+([.-][a-z0-9]+)*$"
_PLAIN_EMAIL_LENGTH = 64  # the local part's limit; labels (63) and the whole (253) follow from it


def normal_forms(values: Any, *, kind: str, country: str | None) -> Any:
    """Return a string array of normal forms, null where there is none; `country` is the column's, for phones."""
    trimmed = pc.utf8_trim(values, characters=WHITESPACE)
    if kind == "email":
        trimmed = pc.ascii_lower(trimmed)
        plain = _plain_emails(trimmed)
    elif kind == "phone":
        plain = own_normal_form(trimmed)
    else:
        plain = pc.and_(pc.string_is_ascii(trimmed), pc.not_equal(trimmed, ""))
    plain = pc.fill_null(plain, False)
    if pc.all(plain).as_py():
        return trimmed
    slow = pc.filter(values, pc.and_(pc.invert(plain), values.is_valid()))
    found = _one_by_one(slow, kind=kind, country=country)
    fast = pc.if_else(plain, trimmed, pa.scalar(None, pa.string()))
    return pc.replace_with_mask(fast, pc.and_(pc.invert(plain), values.is_valid()), found)


def _plain_emails(values: Any) -> Any:
    short = pc.less_equal(pc.binary_length(values), _PLAIN_EMAIL_LENGTH)
    return pc.and_(short, pc.match_substring_regex(values, _PLAIN_EMAIL))


def _one_by_one(values: Any, *, kind: str, country: str | None) -> Any:
    encoded = values.dictionary_encode()
    forms = [normalize(kind, value, country=country) for value in encoded.dictionary.to_pylist()]
    return pa.array(forms, pa.string()).take(encoded.indices)
