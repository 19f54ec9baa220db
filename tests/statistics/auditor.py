"""An empirical auditor: a lower bound on the ε that a mechanism really gives up (threats D6, D7).

For neighbours A and B and any event S chosen without looking at the judged draws, ε ≥ ln(P_A(S) / P_B(S)). The event is chosen on
the first half of the draws and judged on the second; each probability is replaced by its Clopper-Pearson bound at half of the
failure probability, so a sound mechanism exceeds its claim in at most one audit in a thousand.

- `threshold`: events {feature >= t} and {feature < t} in both directions.
- `members`: events {feature in S} of discrete features, S = what the first half saw likelier on one side (the low bits, D6).
- The auditor is strong: features may use both true answers, as `log_likelihood_ratio` does.
"""

from collections import Counter
from fractions import Fraction

import numpy as np
from scipy.stats import beta

CONFIDENCE = 0.999


def threshold(one, two, *, confidence=CONFIDENCE):
    """Return the lower bound that the best threshold of a numeric feature proves; never below zero."""
    one, two = np.asarray(one, dtype=float), np.asarray(two, dtype=float)
    half = len(one) // 2
    best, event = -np.inf, None
    for t in np.unique(np.quantile(np.concatenate([one[:half], two[:half]]), np.linspace(0, 1, 201))):
        for above in (True, False):
            for first, second in ((one, two), (two, one)):
                found = _bound(*_hits(first[:half], second[:half], t, above=above), half, confidence)
                if found > best:
                    best, event = found, (t, above, first is one)
    t, above, forward = event
    first, second = (one[half:], two[half:]) if forward else (two[half:], one[half:])
    return max(0.0, _bound(*_hits(first, second, t, above=above), len(first), confidence))


def members(one, two, *, confidence=CONFIDENCE):
    """Return the lower bound that the best set of values of a discrete feature proves; never below zero.

    Sets are prefixes of the values in the order of how much likelier one side makes them (Neyman and Pearson).
    """
    half = len(one) // 2
    best, event, sides = -np.inf, set(), (one, two)
    for first, second in ((one, two), (two, one)):
        seen, others = Counter(first[:half]), Counter(second[:half])
        prefix, hits, misses = set(), 0, 0
        for value in sorted(seen, key=lambda value: (others[value] / seen[value], -seen[value])):
            prefix.add(value)
            hits, misses = hits + seen[value], misses + others[value]
            if (found := _bound(hits, misses, half, confidence)) > best:
                best, event, sides = found, set(prefix), (first, second)
    counts = [sum(value in event for value in side[half:]) for side in sides]
    return max(0.0, _bound(*counts, len(one) - half, confidence))


def log_likelihood_ratio(draws, truth_one, truth_two, scales):
    """Return for each draw (a row of integers) how much better the first truth explains it: the best event's feature."""
    draws = np.asarray(draws, dtype=object)
    ratio = np.abs(draws - np.array(truth_two, dtype=object)) - np.abs(draws - np.array(truth_one, dtype=object))
    return (ratio.astype(float) / np.array(scales, dtype=float)).sum(axis=1)


def finest_bit(value):
    """Return how many binary digits follow the point of an exact value: the feature that unmasks float noise."""
    return Fraction(value).denominator.bit_length()


def twice(check):
    """Tell whether `check` holds, asking again once: what fails one honest time in a thousand fails one gate in a million."""
    return check() or check()


def _hits(first, second, t, *, above):
    return tuple(int(((side >= t) if above else (side < t)).sum()) for side in (first, second))


def _bound(hits, others, draws, confidence):
    """Return ln(lower bound of hits / upper bound of others), Clopper-Pearson."""
    miss = (1 - confidence) / 2
    low = beta.ppf(miss, hits, draws - hits + 1) if hits else 0.0
    high = beta.ppf(1 - miss, others + 1, draws - others) if others < draws else 1.0
    return float(np.log(low / high)) if low > 0 else -np.inf
