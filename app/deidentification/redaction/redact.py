"""Redact: a whole column of text at once; only stretches that could hold an entity are looked at one by one, each once.

Promise: every value is its own text with each entity of `find.find` replaced, and nothing else changed.

How it is fast: one regular expression (RE2, linear in the text) marks the stretches of words that hold a digit, an `@`, `://`,
`www.` or `::`, with the short words and names of months between and before them; no entity reaches beyond its stretch. Each
distinct stretch is looked at once, and values without one are never touched.

Invariants
- A value in which nothing is found stays byte for byte the same; null stays null.
- Texts hold no NUL (threat I7), so NUL marks where stretches begin and end.
- A pseudonym is `prf.pseudonym_under` of the normal form, under its kind's key; what has no normal form shows its type alone.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from app.crypto.prf import pseudonym_under
from app.deidentification.redaction.dates import NAMES
from app.deidentification.redaction.find import find, hint, normal_form
from app.deidentification.redaction.kinds import Kind
from app.deidentification.redaction.technique import RedactText, Replacement
from app.table.arrow import pa, pc

_TELLING: Final = r"(?:[0-9@]|://|::|www\.)"
_TOKEN: Final = rf"[^\s\x00]*{_TELLING}[^\s\x00]*"
_MONTH: Final = "|".join(sorted(NAMES, key=len, reverse=True))
_BETWEEN: Final = rf"(?:{_TOKEN}|(?:{_MONTH})[.,]?|[a-z]{{1,4}}\b[.,]?|[-/()–]+)"
STRETCH: Final = rf"(?i)(?:\b(?:{_MONTH}|[a-z]{{1,2}}|de|of)[.,]? )?{_TOKEN}(?: {{1,2}}{_BETWEEN})*"


def redact(values: Any, technique: RedactText, *, keys: Mapping[str, bytes]) -> Any:
    """Return a string array; `keys` has the pseudonym key of each of the technique's domains."""
    touched = pc.fill_null(pc.match_substring_regex(values, f"(?i){_TELLING}"), False)
    if not pc.any(touched).as_py():
        return values
    texts = pc.filter(values, touched)
    pieces = pc.split_pattern(pc.replace_substring_regex(texts, STRETCH, "\0\\0\0"), "\0")
    return pc.replace_with_mask(values, touched, _rejoined(pieces, Redactor(technique, keys)))


def _rejoined(pieces: Any, redactor: "Redactor") -> Any:
    """Return texts from lists of pieces, of which every second is a stretch."""
    flat, offsets = pieces.values, pieces.offsets.to_numpy()
    places = np.arange(len(flat)) - np.repeat(offsets[:-1], np.diff(offsets))
    is_stretch = pa.array(places % 2 == 1)
    encoded = pc.filter(flat, is_stretch).dictionary_encode()
    told = redactor.stretches(encoded.dictionary)
    flat = pc.replace_with_mask(flat, is_stretch, told.take(encoded.indices))
    return pc.binary_join(pa.ListArray.from_arrays(pieces.offsets, flat), "")


class Redactor:
    """Redacts texts one by one; an entity that comes again is normalised and hashed once."""

    def __init__(self, technique: RedactText, keys: Mapping[str, bytes]) -> None:
        """Take the technique and the pseudonym key of each of its domains."""
        self._technique, self._keys = technique, keys
        self._shown: dict[tuple[Kind, str], str] = {}

    def stretches(self, distinct: Any) -> Any:
        """Return an array of texts with what is found in them replaced; each is looked at for what its hints tell."""
        technique = self._technique
        bits = np.zeros(len(distinct), dtype=np.int64)
        for place, kind in enumerate(technique.find):
            told = pc.match_substring_regex(distinct, hint(kind, technique.country))
            bits |= told.to_numpy(zero_copy_only=False).astype(np.int64) << place
        looked_at = pa.array(bits != 0)
        kinds = [
            tuple(kind for place, kind in enumerate(technique.find) if bit >> place & 1)
            for bit in range(1 << len(technique.find))
        ]
        texts = pc.filter(distinct, looked_at).to_pylist()
        shown = [self.text(text, kinds[bit]) for text, bit in zip(texts, bits[bits != 0].tolist(), strict=True)]
        return pc.replace_with_mask(distinct, looked_at, pa.array(shown, pa.string()))

    def text(self, text: str, kinds: tuple[Kind, ...] | None = None) -> str:
        """Return a text with what is found in it replaced; `kinds` are those that can be in it, all where it is not known."""
        parts, at = [], 0
        for one in find(text, self._technique.find if kinds is None else kinds, self._technique.country):
            parts += [text[at : one.start], self._entity(one.kind, text[one.start : one.end])]
            at = one.end
        return "".join([*parts, text[at:]]) if parts else text

    def _entity(self, kind: Kind, entity: str) -> str:
        if self._technique.replace is Replacement.TYPE:
            return f"[{kind}]"
        shown = self._shown.get((kind, entity))
        if shown is None:
            form = normal_form(kind, entity, self._technique.country)
            pseudonym = None if form is None else pseudonym_under(self._keys[kind.domain], form).hex()
            shown = self._shown[kind, entity] = f"[{kind}]" if pseudonym is None else f"[{kind}:{pseudonym}]"
        return shown

    def __repr__(self) -> str:
        return "Redactor()"
