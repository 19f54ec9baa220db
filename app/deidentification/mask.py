"""Mask: the first and last characters of a text, the rest hidden, its length too.

    keep_last = 2:   +441632960983 → ****83     keep_first = 1, keep_last = 1:   Bea → B****a     Al → ****

Invariants
- At most `keep_first` + `keep_last` characters of the value are shown, counted in Unicode code points.
- A value of no more characters than that is hidden whole; empty text looks the same. Null stays null.
- The hidden part is always four mask characters: lengths of names or numbers don't show.
"""

from typing import Any

from app.deidentification.techniques import HIDDEN_LENGTH, Mask
from app.table.arrow import pa, pc


def mask(values: Any, technique: Mask) -> Any:
    """Return a string array of masked values."""
    hidden = technique.character * HIDDEN_LENGTH
    first = pc.utf8_slice_codeunits(values, 0, technique.keep_first)
    last = pc.utf8_slice_codeunits(values, -technique.keep_last) if technique.keep_last else pa.scalar("")
    shown = pc.binary_join_element_wise(first, pa.scalar(hidden), last, "")
    long_enough = pc.greater(pc.utf8_length(values), technique.keep_first + technique.keep_last)
    return pc.if_else(long_enough, shown, pa.scalar(hidden))
