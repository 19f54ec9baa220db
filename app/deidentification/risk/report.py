"""The risk report: how easily rows are told apart by their quasi-identifiers, as frozen figures.

For classes of f_1 … f_J rows, n rows in all (Sweeney, "k-anonymity", 2002; El Emam, "Guide to the De-Identification of Personal
Health Information", 2013; Dankar and El Emam, "A method for evaluating marketer re-identification risk", 2010):

- k = min f_j; sample uniques are the rows of classes of one row.
- prosecutor (knows that the person is in the table): a row's risk is 1/f_j, the highest 1/k, the average J/n.
- journalist (does not know it): 1/F_j with F_j the people of the class in the population that the table was drawn from. They are
  taken as F_j = f_j / s for a sampling fraction s: a stated one, or n over the stated size. Highest s/k, average s x J/n.
- marketer (wants to match as many rows as possible): the expected share of right matches, J/n against the table itself,
  s x J/n against the population.
- at risk above a threshold x: rows with 1/f_j > x, compared exactly.

Invariants
- Shares and risks are exact fractions here; the document writes them as decimals of nine places.
- Journalist risk is absent, and said to be, unless the population is stated.
- An empty table has k = 0 and no risks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.deidentification.risk.diversity import Diversity

BANDS = (1, 2, 3, 5, 10, 20, 50, 100)
THRESHOLDS = (Fraction(1, 20), Fraction(1, 10), Fraction(1, 5), Fraction(1, 2))
_NO_POPULATION = "State population_size or sampling_fraction: without one nobody can tell who else a row could be."


@dataclass(frozen=True, slots=True)
class Band:
    """Classes of at least `least` and at most `most` rows (None: no upper end)."""

    least: int
    most: int | None
    classes: int
    rows: int


@dataclass(frozen=True, slots=True)
class AtRisk:
    """How many rows have a risk above the threshold."""

    threshold: Fraction
    rows: int


@dataclass(frozen=True, slots=True)
class Attack:
    """The risk of one kind of attacker."""

    highest: Fraction
    average: Fraction
    at_risk: tuple[AtRisk, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one table."""

    rows: int
    classes: int
    smallest: int
    uniques: int
    bands: tuple[Band, ...]
    prosecutor: Attack | None
    journalist: Attack | None
    fraction: Fraction | None
    smallest_people: int | None
    sensitive: tuple[Diversity, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the report as the API shows it."""
        average = None if self.prosecutor is None else self.prosecutor.average
        return {
            "rows": self.rows,
            "classes": self.classes,
            "k": self.smallest,
            "k_people": self.smallest_people,
            "average_class_size": None if average is None else decimal(1 / average),
            "class_sizes": [_band(one) for one in self.bands],
            "sample_uniques": {"rows": self.uniques, "share": decimal(_share(self.uniques, self.rows))},
            "prosecutor": _attack(self.prosecutor, self.rows),
            "journalist": self._journalist(),
            "marketer": {
                "against_the_table": None if average is None else decimal(average),
                "against_the_population": None if self.journalist is None else decimal(self.journalist.average),
            },
            "sensitive": [_diversity(one) for one in self.sensitive],
        }

    def _journalist(self) -> dict[str, Any]:
        if self.fraction is None:
            return {"absent": _NO_POPULATION}
        shown = _attack(self.journalist, self.rows)
        return {"sampling_fraction": decimal(self.fraction)} | (shown or {})


def report(
    sizes: NDArray[np.int64],
    *,
    bands: Sequence[int] = BANDS,
    thresholds: Sequence[Fraction] = THRESHOLDS,
    fraction: Fraction | None = None,
    smallest_people: int | None = None,
    sensitive: Sequence[Diversity] = (),
) -> Report:
    """Return the figures of classes of these sizes; `bands` are the least sizes, rising from 1."""
    rows, classes = int(sizes.sum()), len(sizes)
    return Report(
        rows=rows,
        classes=classes,
        smallest=int(sizes.min()) if classes else 0,
        uniques=int((sizes == 1).sum()),
        bands=_banded(sizes, bands),
        prosecutor=_risk(sizes, Fraction(1), thresholds) if classes else None,
        journalist=_risk(sizes, fraction, thresholds) if classes and fraction is not None else None,
        fraction=fraction,
        smallest_people=smallest_people,
        sensitive=tuple(sensitive),
    )


def decimal(value: Fraction | float) -> str:
    """Write a share or a risk with nine places at most."""
    return f"{float(value):.9f}".rstrip("0").rstrip(".")


def _risk(sizes: NDArray[np.int64], fraction: Fraction, thresholds: Sequence[Fraction]) -> Attack:
    """Return the risks when a class of f rows stands for f / fraction people."""
    # fraction / f > x where f < fraction / x, which for whole f is f < ceil(fraction / x)
    above = [AtRisk(x, int(sizes[sizes < math.ceil(fraction / x)].sum())) for x in thresholds]
    return Attack(fraction / int(sizes.min()), fraction * Fraction(len(sizes), int(sizes.sum())), tuple(above))


def _banded(sizes: NDArray[np.int64], bands: Sequence[int]) -> tuple[Band, ...]:
    places = np.searchsorted(np.asarray(bands), sizes, side="right") - 1
    classes = np.bincount(places, minlength=len(bands))
    rows = np.bincount(places, weights=sizes, minlength=len(bands)).astype(np.int64)
    ends = [*(edge - 1 for edge in bands[1:]), None]
    return tuple(
        Band(least, most, int(of_classes), int(of_rows))
        for least, most, of_classes, of_rows in zip(bands, ends, classes, rows, strict=True)
    )


def _share(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)


def _band(band: Band) -> dict[str, Any]:
    return {"least": band.least, "most": band.most, "classes": band.classes, "rows": band.rows}


def _attack(attack: Attack | None, rows: int) -> dict[str, Any] | None:
    if attack is None:
        return None
    at_risk = [
        {"threshold": decimal(one.threshold), "rows": one.rows, "share": decimal(_share(one.rows, rows))}
        for one in attack.at_risk
    ]
    return {"highest": decimal(attack.highest), "average": decimal(attack.average), "at_risk": at_risk}


def _diversity(one: Diversity) -> dict[str, Any]:
    return {
        "column": one.column,
        "values": one.values,
        "distinct_l": one.distinct_l,
        "entropy_l": decimal(one.entropy_l),
        "t": decimal(one.t),
        "distance": one.distance,
    }
