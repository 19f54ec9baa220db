"""Calendar dates: found by their form and by a calendar's bounds of days and months.

- ISO and other year-first forms: `2024-05-03`, `2024/5/3`, `2024.05.03`.
- Day or month first: `3.5.2024`, `05/03/2024`, `3-5-2024`; with two digits of the year, two of day and month: `03.05.24`
  (`3/5/24` too), unless it goes on with the same separator, as telephone numbers do.
- With a month's name in English, German, French, Spanish, Italian, Dutch or Portuguese: `3 May 2024`, `May 3rd, 2024`, `3. Mai`,
  `3 de mayo de 2024`, `May 2024`. A day or a year stands beside it; a month alone is no date.

A normal form is ISO 8601, shortened to what is known (`2024-05`, `--05-03`). Where day and month could be either, the country
says which comes first: the month in the United States, else the day. Years of two digits are 1969 to 2068.
"""

import re

from app.deidentification.redaction.spans import Span, masked

_MONTHS = (
    "january jan januar jän jänner janvier janv enero ene gennaio genn januari janeiro",
    "february feb februar feber février févr fev fevrier febrero febbraio febbr februari fevereiro",
    "march mar märz maerz mrz mars marzo maart mrt março marco",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio magg mei maio",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug août aout agosto ago augustus",
    "september sep sept septembre septiembre setiembre settembre sett setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre déc decembre diciembre dic dicembre dezembro",
)
NAMES = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
_NAME = "|".join(sorted(NAMES, key=len, reverse=True))

_DAY = r"(?P<day>0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th|er|\.|º|°|ª)?"
_YEAR = r"(?P<year>1[5-9][0-9]{2}|20[0-9]{2}|21[0-9]{2})"
_OF = r"(?:,? |-|\.|/|\. |,? of |,? de |,? del |)"
_APART = r"(?:,? |-|\.|/|,? of |,? de |,? del |)"  # not across the end of a sentence
_NAMED = tuple(
    re.compile(rf"(?<![\w\0]){form}(?!\w)", re.IGNORECASE)
    for form in (
        rf"{_DAY}{_OF}(?P<month>{_NAME})\b\.?(?:{_APART}(?:{_YEAR}|'?(?P<short>[0-9]{{2}})))?",
        rf"{_YEAR}{_APART}(?P<month>{_NAME})\b\.?{_APART}{_DAY}",
        rf"(?P<month>{_NAME})\b\.?{_APART}{_DAY}(?:(?:,? |,|-){_YEAR}|,? '(?P<short>[0-9]{{2}}))?",
        rf"(?P<month>{_NAME})\b\.?{_APART}{_YEAR}",
    )
)
_WORD = re.compile(r"[^\W\d_]{3,10}")
DATE_HINT = rf"[0-9][-/.] ?[0-9]{{1,2}}[-/.] ?[0-9]{{1,2}}|(?i:{_NAME})"
_ISO = re.compile(rf"(?<![0-9]){_YEAR}(?P<sep>[-/.])(?P<month>0?[1-9]|1[0-2])(?P=sep)(?P<day>0?[1-9]|[12][0-9]|3[01])(?![0-9])")
_LONG = re.compile(rf"(?<![0-9])(?P<one>[0-9]{{1,2}})(?P<sep>[-/.]|\. )(?P<two>[0-9]{{1,2}})(?P=sep){_YEAR}(?![0-9])")
_SHORT = re.compile(
    r"(?<![0-9])(?:(?P<one>[0-9]{2})(?P<sep>[-/.])(?P<two>[0-9]{2})(?P=sep)|(?P<one_>[0-9]{1,2})/(?P<two_>[0-9]{1,2})/)"
    r"(?P<short>[0-9]{2})(?![0-9])"
)
_MONTH_FIRST = frozenset({"US"})
_PIVOT = 69
_DAYS, _MONTHS_OF_A_YEAR = range(1, 32), range(1, 13)


def dates(text: str, country: str | None) -> list[Span]:
    """Return the spans of dates."""
    spans: list[Span] = []
    has_name = any(word.lower() in NAMES for word in _WORD.findall(text))
    for pattern in (*(_NAMED if has_name else ()), _ISO, _LONG, _SHORT):
        found = [m.span() for m in pattern.finditer(text) if _normal(m, country) is not None and not _goes_on(m, text)]
        text = masked(text, found)
        spans += found
    return sorted(spans)


def normal_date(text: str, country: str | None) -> str | None:
    """Return the normal form of a text that is one date."""
    for pattern in (*_NAMED, _ISO, _LONG, _SHORT):
        if (match := pattern.fullmatch(text)) is not None and (normal := _normal(match, country)) is not None:
            return normal
    return None


def _goes_on(match: re.Match[str], text: str) -> bool:
    """Tell whether a date of six digits is the middle of a longer row of pairs."""
    if match.re is not _SHORT:
        return False
    separator = match["sep"] or "/"
    before, after = text[max(0, match.start() - 2) : match.start()], text[match.end() : match.end() + 2]
    return (before[1:] == separator and before[:1].isdigit()) or (after[:1] == separator and after[1:].isdigit())


def _normal(match: re.Match[str], country: str | None) -> str | None:
    parts = match.groupdict()
    year = _year(parts)
    if name := parts.get("month"):
        month = int(name) if name.isdigit() else NAMES.get(name.lower())
        day = int(parts["day"] or 0) if parts.get("day") else None
    else:
        one, two = parts.get("one") or parts.get("one_"), parts.get("two") or parts.get("two_")
        day, month = _day_and_month(int(one or 0), int(two or 0), country)
    if month is None:
        return None
    return f"{'-' if year is None else year}-{month:02}" + ("" if day is None else f"-{day:02}")


def _year(parts: dict[str, str | None]) -> int | None:
    if full := parts.get("year"):
        return int(full)
    short = parts.get("short")
    if short is None:
        return None
    return int(short) + (1900 if int(short) >= _PIVOT else 2000)


def _day_and_month(one: int, two: int, country: str | None) -> tuple[int, int] | tuple[None, None]:
    """Return day and month of two numbers; the country decides where both could be either."""
    orders = [(one, two), (two, one)]
    if country in _MONTH_FIRST:
        orders.reverse()
    return next(((day, month) for day, month in orders if day in _DAYS and month in _MONTHS_OF_A_YEAR), (None, None))
