"""K-ary randomised response: local differential privacy for one of k values, with exact integers and no float.

    The true value is reported with weight t, each other one with weight o:  P(true) = t / (t + (k − 1)·o)
    t / o ≤ e^ε, so any two true values make any report likelier by e^ε at most: the report is ε-locally differentially private.

o = 2³², t = ⌊2³² · S(ε)⌋ where S is a partial sum of the series of exp, all of whose terms are positive: t / o is below e^ε.

Invariants
- A report is one uniform integer below t + (k − 1)·o, drawn from 64 bits of the operating system's entropy by rejection: exact.
- Nothing can be handed in that would make it predictable, as at the other door (`sampler`).
- `unbiased` corrects counts of reports exactly; the answer may be below zero, since each report is mostly noise.

Source: Kairouz, Oh and Viswanath, "Extremal mechanisms for local differential privacy", 2014; Warner 1965 for k = 2.
"""

import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

LARGEST_EPSILON: Final = 20
MOST_VALUES: Final = 2**16
_OTHER: Final = 2**32
_TERMS: Final = 96  # of the series at ε = 20 the rest is below 2⁻⁶⁴
_WORD_BYTES: Final = 8


def weights(epsilon: Fraction) -> tuple[int, int]:
    """Return t and o: how much likelier the true value is than each other one, as whole numbers."""
    if not 0 < epsilon <= LARGEST_EPSILON:
        raise ValueError("epsilon is above 0 and at most 20")
    term = total = Fraction(1)
    for index in range(1, _TERMS):
        term = term * epsilon / index
        total += term
    return int(_OTHER * total), _OTHER


def respond(truth: NDArray[np.int64], *, values: int, epsilon: Fraction) -> NDArray[np.int64]:
    """Return a report for each true value 0 ≤ v < `values`, drawn independently."""
    if not 2 <= values <= MOST_VALUES:  # noqa: PLR2004 — a choice
        raise ValueError("there are 2 to 65,536 values")
    true, other = weights(epsilon)
    drawn = _below(true + (values - 1) * other, len(truth))
    place = np.maximum(drawn, true) - true
    others = place // other  # among the values that are not the true one
    return np.where(drawn < true, truth, others + (others >= truth))


def unbiased(counts: Sequence[int], *, epsilon: Fraction) -> tuple[Fraction, ...]:
    """Return what counts of reports say of the counts of true values, on average exactly right; `counts` names every value."""
    true, other = weights(epsilon)
    whole = true + (len(counts) - 1) * other
    return tuple(Fraction(count * whole - sum(counts) * other, true - other) for count in counts)


def _below(bound: int, count: int) -> NDArray[np.int64]:
    """Return `count` integers, uniform below `bound` < 2⁶³."""
    limit = np.uint64(2**64 - 1 - 2**64 % bound)  # the last word of the last whole run of `bound` words
    words = _words(count)
    while (again := words > limit).any():
        words[again] = _words(int(again.sum()))
    return (words % np.uint64(bound)).astype(np.int64)


def _words(count: int) -> NDArray[np.uint64]:
    return np.frombuffer(os.urandom(_WORD_BYTES * count), dtype=np.uint64).copy()
