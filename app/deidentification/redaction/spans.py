"""Spans of a text, and how the finders of all kinds walk over it.

Every finder has the same shape: `(text, country) → [(start, end), …]`, in order and apart from each other.

Invariants
- Patterns have bounded repetitions, so the time of a finder is linear in the text: no text makes one slow for long.
- What an earlier kind took stands as NULs, which are in no pattern and in no stored text.
"""

import re
from collections.abc import Callable

Span = tuple[int, int]
Finder = Callable[[str, str | None], list[Span]]

DIGITS = re.compile(r"[0-9]+")


def only_digits(text: str) -> str:
    """Return the digits of a text."""
    return "".join(DIGITS.findall(text))


def first_ends(pattern: re.Pattern[str], text: str, choose: Callable[[re.Match[str]], int | None]) -> list[Span]:
    """Return spans of groups of digits: at each match, `choose` tells how many characters of it count, None for none.

    Where none counts, the search goes on behind the match's first group of digits, for the next may begin what is looked for.
    """
    spans: list[Span] = []
    at = 0
    while (match := pattern.search(text, at)) is not None:
        length = choose(match)
        if length is None:
            group = DIGITS.search(text, match.start())
            at = match.end() if group is None else group.end()
        else:
            spans.append((match.start(), match.start() + length))
            at = match.start() + length
    return spans


def masked(text: str, spans: list[Span]) -> str:
    """Return the text with NULs in the place of spans, which are in order and apart."""
    if not spans:
        return text
    if len(spans) == 1:
        ((start, end),) = spans
        return f"{text[:start]}{chr(0) * (end - start)}{text[end:]}"
    pieces, at = [], 0
    for start, end in spans:
        pieces += [text[at:start], "\0" * (end - start)]
        at = end
    return "".join([*pieces, text[at:]])


def ends(text: str) -> list[tuple[int, str]]:
    """Return, for each group of digits, the last first, where it ends and all digits up to there."""
    found, digits = [], ""
    for group in DIGITS.finditer(text):
        digits += group[0]
        found.append((group.end(), digits))
    return found[::-1]
