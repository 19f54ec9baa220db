"""What is in a text, and where: every kind takes its turn, and nothing is claimed twice.

Promises
- The spans are in order and apart; each is of one kind, and kinds take their turns in the order of `kinds.Kind`.
- Finding again in what is left finds nothing: rounds go on until one finds nothing (a claim can free its neighbour).
- Where a kind's `hint` (a pattern of RE2) is not in a text, the kind is not in it: what need not be looked for is skipped.
- Digits, spaces and hyphens of typesetting (no-break spaces, U+2010 to U+2015) count as the plain ones.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from app.crypto.identifiers import normalize
from app.deidentification.redaction.addresses import EMAIL_HINT, IP_HINT, URL_HINT, emails, ips, normal_ip, normal_url, urls
from app.deidentification.redaction.dates import DATE_HINT, dates, normal_date
from app.deidentification.redaction.kinds import Kind
from app.deidentification.redaction.national_ids import NATIONAL_ID_HINT, compact, national_ids, normal_national_id
from app.deidentification.redaction.payments import CARD_HINT, IBAN_HINT, cards, ibans
from app.deidentification.redaction.phones import INTERNATIONAL_HINT, national_hint, normal_phone, phones
from app.deidentification.redaction.spans import Finder, masked, only_digits

_PLAIN: Final = {ord(space): " " for space in "\u00a0\u2007\u2009\u202f"} | dict.fromkeys(range(0x2010, 0x2016), "-")
_TYPESET: Final = r"[\x{a0}\x{2007}\x{2009}\x{202f}\x{2010}-\x{2015}]"  # hints do not know them: any kind may be there
_TELLING: Final = re.compile(r"[0-9@]|://|::|www\.", re.IGNORECASE)
_ROUNDS: Final = 2 * len(Kind)


class _Way(NamedTuple):
    """How a kind is found: a pattern without which it is not there, where it is, and its normal form."""

    hint: str
    finder: Finder
    normal: Callable[[str, str | None], str | None]


_WAYS: Final[dict[Kind, _Way]] = {
    Kind.URL: _Way(URL_HINT, urls, lambda text, _country: normal_url(text)),
    Kind.EMAIL: _Way(EMAIL_HINT, emails, lambda text, _country: normalize("email", text)),
    Kind.IBAN: _Way(IBAN_HINT, ibans, lambda text, _country: compact(text)),
    Kind.CARD: _Way(CARD_HINT, cards, lambda text, _country: only_digits(text)),
    Kind.NATIONAL_ID: _Way(NATIONAL_ID_HINT, national_ids, lambda text, _country: normal_national_id(text)),
    Kind.IP: _Way(IP_HINT, ips, lambda text, _country: normal_ip(text)),
    Kind.DATE: _Way(DATE_HINT, dates, normal_date),
    Kind.PHONE: _Way(INTERNATIONAL_HINT, phones, normal_phone),
}


class Found(NamedTuple):
    """One entity: where it stands, and what it is."""

    start: int
    end: int
    kind: Kind


def find(text: str, kinds: tuple[Kind, ...], country: str | None) -> list[Found]:
    """Return what is found in a text, in order."""
    left = text if text.isascii() else text.translate(_PLAIN)
    found: list[Found] = []
    for _ in range(_ROUNDS):
        before = len(found)
        for kind in kinds:
            if spans := _WAYS[kind].finder(left, country):
                found += [Found(start, end, kind) for start, end in spans]
                left = masked(left, spans)
                if not _TELLING.search(left):
                    return sorted(found)
        if len(found) == before:
            break
    return sorted(found)


def hint(kind: Kind, country: str | None) -> str:
    """Return a pattern (RE2) that is in every text in which the kind can be found."""
    national = kind is Kind.PHONE and country is not None
    return "|".join([_WAYS[kind].hint, _TYPESET, *([national_hint(country or "")] if national else [])])


def normal_form(kind: Kind, text: str, country: str | None) -> str | None:
    """Return what makes two writings of an entity the same; None where there is no such form."""
    return _WAYS[kind].normal(text.translate(_PLAIN), country)
