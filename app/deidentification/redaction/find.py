"""What is in a text, and where: every kind takes its turn, and nothing is claimed twice.

Promises
- The spans are in order and apart; each is of one kind, and kinds take their turns in the order of `kinds.Kind`.
- Finding again in what is left finds nothing: rounds go on until one finds nothing (a claim can free its neighbour).
- Where a kind's `hint` (a pattern of RE2) is not in a text, the kind is not in it: what need not be looked for is skipped.
- Digits, spaces and hyphens of typesetting (no-break spaces, U+2010 to U+2015) count as the plain ones.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.crypto.identifiers import normalize
from app.deidentification.redaction.addresses import EMAIL_HINT, IP_HINT, URL_HINT, emails, ips, normal_ip, normal_url, urls
from app.deidentification.redaction.dates import DATE_HINT, dates, normal_date
from app.deidentification.redaction.kinds import Kind
from app.deidentification.redaction.national_ids import NATIONAL_ID_HINT, compact, national_ids, normal_national_id
from app.deidentification.redaction.payments import CARD_HINT, IBAN_HINT, cards, ibans
from app.deidentification.redaction.phones import INTERNATIONAL_HINT, NATIONAL_HINT, normal_phone, phones
from app.deidentification.redaction.spans import Finder, masked, only_digits

_PLAIN: Final = {ord(space): " " for space in "\u00a0\u2007\u2009\u202f"} | dict.fromkeys(range(0x2010, 0x2016), "-")
TYPESET: Final = (
    r"[\x{a0}\x{2007}\x{2009}\x{202f}\x{2010}-\x{2015}]"  # hints do not know these: where one is, all kinds are looked for
)
_TELLING = re.compile(r"[0-9@]|://|::|www\.", re.IGNORECASE)
_HINTS: Final[dict[Kind, str]] = {
    Kind.URL: URL_HINT,
    Kind.EMAIL: EMAIL_HINT,
    Kind.IBAN: IBAN_HINT,
    Kind.CARD: CARD_HINT,
    Kind.NATIONAL_ID: NATIONAL_ID_HINT,
    Kind.IP: IP_HINT,
    Kind.DATE: DATE_HINT,
    Kind.PHONE: INTERNATIONAL_HINT,
}
_ROUNDS: Final = 2 * len(Kind)
_FINDERS: Final[dict[Kind, Finder]] = {
    Kind.URL: urls,
    Kind.EMAIL: emails,
    Kind.IBAN: ibans,
    Kind.CARD: cards,
    Kind.NATIONAL_ID: national_ids,
    Kind.IP: ips,
    Kind.DATE: dates,
    Kind.PHONE: phones,
}

_NORMAL: Final[dict[Kind, Callable[[str, str | None], str | None]]] = {
    Kind.URL: lambda text, _country: normal_url(text),
    Kind.EMAIL: lambda text, _country: normalize("email", text),
    Kind.IBAN: lambda text, _country: compact(text),
    Kind.CARD: lambda text, _country: only_digits(text),
    Kind.NATIONAL_ID: lambda text, _country: normal_national_id(text),
    Kind.IP: lambda text, _country: normal_ip(text),
    Kind.DATE: normal_date,
    Kind.PHONE: normal_phone,
}


@dataclass(frozen=True, slots=True)
class Found:
    """One entity: where it stands, and what it is."""

    start: int
    end: int
    kind: Kind


def find(text: str, kinds: tuple[Kind, ...], country: str | None) -> list[Found]:
    """Return what is found in a text, in order."""
    left = text.translate(_PLAIN)
    found: list[Found] = []
    for _ in range(_ROUNDS):
        before = len(found)
        for kind in kinds:
            spans = _FINDERS[kind](left, country)
            left = masked(left, spans)
            found += [Found(start, end, kind) for start, end in spans]
        if len(found) == before or not _TELLING.search(left):
            break
    return sorted(found, key=lambda one: one.start)


def hint(kind: Kind, country: str | None) -> str:
    """Return a pattern that is in every text in which the kind can be found."""
    national = kind is Kind.PHONE and country is not None
    return f"{_HINTS[kind]}|{NATIONAL_HINT}" if national else _HINTS[kind]


def normal_form(kind: Kind, text: str, country: str | None) -> str | None:
    """Return what makes two writings of an entity the same; None where there is no such form."""
    return _NORMAL[kind](text.translate(_PLAIN), country)
