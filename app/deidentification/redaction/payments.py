"""Payment cards and bank accounts: found by their form, counted only where their check digits agree.

- Cards: 13 to 19 digits of a network (ISO/IEC 7812), in one piece or in groups of three or more set off by space or hyphen; Luhn.
- IBANs: ISO 13616, of the registry's length for the country, in one piece or set off by single spaces; modulo 97.
"""

import re

from app.deidentification.redaction.spans import Span, ends, first_ends

CARD_HINT = r"[2-6](?:[ -]?[0-9]){12}"
IBAN_HINT = r"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11}"
_CARD = re.compile(r"(?<![0-9])(?<![0-9][.,])[2-6][0-9]{2,18}(?:[ -][0-9]{3,13}){0,5}(?![0-9])")
_LENGTHS = {"2": {16}, "3": {14, 15, 16, 19}, "4": {13, 16, 19}, "5": set(range(13, 20)), "6": set(range(13, 20))}
_SHORTEST_CARD = 13
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}")
_IBAN_LENGTHS = {
    country: length
    for length, countries in (
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FK FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "BI DJ FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HN HU LB NI PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    )
    for country in countries.split()
}


def cards(text: str, _country: str | None) -> list[Span]:
    """Return the spans of payment card numbers."""
    return first_ends(_CARD, text, _card_end)


def luhn(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    plain, doubled = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, plain)) + sum(_DOUBLED[int(digit)] for digit in doubled)) % 10 == 0


def ibans(text: str, _country: str | None) -> list[Span]:
    """Return the spans of international bank account numbers."""
    spans: list[Span] = []
    at = 0
    while (match := _IBAN.search(text, at)) is not None:
        length = _iban_length(match[0])
        end = match.start() + length
        if length and not text[end : end + 1].isalnum():
            spans.append((match.start(), end))
        else:
            end = match.start() + 2
        at = end
    return spans


def mod_97(iban: str) -> bool:
    """Tell whether the check digits of a compact, upper-case IBAN agree (ISO 13616, ISO 7064 MOD 97-10)."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def _card_end(match: re.Match[str]) -> int | None:
    if match.end() - match.start() < _SHORTEST_CARD:
        return None
    for end, digits in ends(match[0]):
        if len(digits) in _LENGTHS[digits[0]] and luhn(digits):
            return end
    return None


def _iban_length(text: str) -> int:
    """Return how many characters of a text that begins like an IBAN are one; 0 for none."""
    wanted = _IBAN_LENGTHS.get(text[:2].upper(), 0)
    if not wanted:
        return 0
    places = [place for place, character in enumerate(text) if character != " "][:wanted]
    if len(places) < wanted or not mod_97(text[: places[-1] + 1].replace(" ", "").upper()):
        return 0
    return places[-1] + 1
