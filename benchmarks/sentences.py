"""Made-up sentences with entities planted in them, from a seed: what `redact.text` reads.

Promises
- The same seed gives the same sentences, each with the spans and kinds of what was planted in it.
- A third holds no entity; a third holds numbers that are none (prices, rooms, times, orders), which a reader must leave alone.
- Entities are written in forms that ours and Presidio's recognisers both say they read. Nobody's: reserved domains and networks,
  numbers reserved for fiction, check digits computed over random digits.
"""

import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import NamedTuple

from app.deidentification.redaction.kinds import Kind
from app.deidentification.redaction.national_ids import is_dni, is_tax_id
from app.deidentification.redaction.payments import luhn, mod_97

_WORDS = [
    "the",
    "patient",
    "said",
    "that",
    "her",
    "sister",
    "would",
    "come",
    "on",
    "and",
    "bring",
    "what",
    "was",
    "left",
    "in",
    "town",
    "before",
    "they",
    "met",
    "again",
    "with",
    "a",
    "doctor",
    "who",
    "had",
    "asked",
    "for",
    "more",
    "time",
    "because",
    "nobody",
    "knew",
    "how",
    "long",
    "it",
    "might",
    "take",
    "to",
    "answer",
    "all",
    "of",
    "those",
    "letters",
    "about",
    "the",
    "house",
    "near",
    "a",
    "lake",
]
_NAMES = [
    "alder",
    "birch",
    "cedar",
    "dorn",
    "elm",
    "fir",
    "gorse",
    "hazel",
    "iris",
    "juniper",
    "kelp",
    "larch",
    "maple",
    "nettle",
    "oak",
    "pine",
    "quince",
    "reed",
    "sorrel",
    "thorn",
]
_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


class Sentence(NamedTuple):
    """A text, and start, end and kind of each entity in it."""

    text: str
    planted: tuple[tuple[int, int, Kind], ...]


def sentences(count: int, *, seed: int = 1) -> Iterator[Sentence]:
    """Give sentences."""
    rng = random.Random(seed)
    makers = list(_MAKERS.items())
    for number in range(count):
        parts: list[str | tuple[Kind, str]] = [*_words(rng), *_words(rng)]
        for _ in range((0, 1, 2)[number % 3]):
            kind, make = makers[rng.randrange(len(makers))]
            parts.insert(rng.randrange(1, len(parts)), (kind, make(rng)))
        if rng.random() < 1 / 3:
            parts.insert(rng.randrange(1, len(parts)), rng.choice(_DECOYS)(rng))
        yield _joined(parts)


def _joined(parts: list[str | tuple[Kind, str]]) -> Sentence:
    text, planted = "", []
    for part in parts:
        text += " " if text else ""
        if isinstance(part, str):
            text += part
        else:
            kind, value = part
            planted.append((len(text), len(text) + len(value), kind))
            text += value + ","
    return Sentence(text + ".", tuple(planted))


def _words(rng: random.Random) -> list[str]:
    return [rng.choice(_WORDS) for _ in range(rng.randrange(4, 9))]


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _email(rng: random.Random) -> str:
    return f"{rng.choice(_NAMES)}.{rng.choice(_NAMES)}{rng.randrange(10_000)}@{rng.choice(_NAMES)}.example.com"


def _url(rng: random.Random) -> str:
    return f"https://www.example.org/{rng.choice(_NAMES)}/{rng.randrange(100_000)}?page={rng.randrange(9)}"


def _iban(rng: random.Random) -> str:
    country, bban = rng.choice([("DE", _digits(rng, 18)), ("GB", "NWBK" + _digits(rng, 14)), ("NL", "ABNA" + _digits(rng, 10))])
    iban = next(found for check in range(2, 99) if mod_97(found := f"{country}{check:02}{bban}"))
    return iban if rng.random() < 1 / 2 else " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))


def _card(rng: random.Random) -> str:
    start = rng.choice(["4", "51", "55"])
    body = start + _digits(rng, 15 - len(start))
    card = next(body + check for check in "0123456789" if luhn(body + check))
    joint = rng.choice(["", " ", "-"])
    return joint.join(card[at : at + 4] for at in range(0, 16, 4))


def _national_id(rng: random.Random) -> str:
    which = rng.randrange(4)
    if which == 0:
        return f"{rng.randrange(700, 899)}-{rng.randrange(1, 99):02}-{rng.randrange(1000, 9999)}"
    if which == 1:
        return f"AB{_digits(rng, 6)}C"
    if which == 2:
        number = _digits(rng, 8)
        return next(number + letter for letter in _LETTERS if is_dni(number + letter))
    while True:
        first = rng.sample("123456789", 9)
        body = "".join(first) + rng.choice(first[:7])
        for check in "0123456789":
            if is_tax_id(body + check):
                return body + check


def _ip(rng: random.Random) -> str:
    if rng.random() < 1 / 2:
        return f"203.0.113.{rng.randrange(256)}"
    return f"2001:db8:{rng.randrange(1, 65_536):x}:{rng.randrange(1, 65_536):x}::{rng.randrange(1, 65_536):x}"


def _date(rng: random.Random) -> str:
    day = date(1930, 1, 1) + timedelta(days=rng.randrange(34_000))
    return rng.choice([day.isoformat(), f"{day:%m/%d/%Y}", f"{day:%d.%m.%Y}", f"{day:%d-%b-%Y}"])


def _phone(rng: random.Random) -> str:
    number = f"{rng.randrange(100, 200):04}"
    return rng.choice(["+1 201-555-{}", "(201) 555-{}", "201-555-{}", "+44 20 7946 {}", "+49 30 2312 5{}"]).format(number)


_MAKERS: dict[Kind, Callable[[random.Random], str]] = {
    Kind.URL: _url,
    Kind.EMAIL: _email,
    Kind.IBAN: _iban,
    Kind.CARD: _card,
    Kind.NATIONAL_ID: _national_id,
    Kind.IP: _ip,
    Kind.DATE: _date,
    Kind.PHONE: _phone,
}
_DECOYS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: f"{rng.randrange(1, 24):02}:{rng.randrange(60):02}",
    lambda rng: f"{rng.randrange(1, 10_000)}.{rng.randrange(100):02} EUR",
    lambda rng: f"room {rng.randrange(1, 500)}",
    lambda rng: f"order {rng.randrange(10_000, 1_000_000)}",
    lambda rng: f"{rng.randrange(1, 100)} %",
    lambda rng: f"part {_digits(rng, 4)}-{_digits(rng, 4)}-{_digits(rng, 4)}-{_digits(rng, 4)}",
    lambda rng: f"version {rng.randrange(9)}.{rng.randrange(9)}.{rng.randrange(9)}",
)
