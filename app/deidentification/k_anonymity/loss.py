"""Information loss: what a table lost on its way to k, by measures that are in use.

For n rows of which n' are shown in J classes of f_j rows, over d quasi-identifiers:

- NCP of a class in a column (Xu et al., "Utility-based anonymization", KDD 2006): for numbers (high - low) / (greatest - smallest
  of the table); for categories 0 where the set has one value, else values of the set / values in the table; for texts that differ
  the values of the table that begin alike / values in the table. A null is no loss. Of the table: the mean over its rows and
  columns, 1 in each for a row left out.
- Generalised information loss (Iyengar, KDD 2002): the same, but for categories (values of the set - 1) / (values in all - 1).
- Discernibility (Bayardo and Agrawal, ICDE 2005): sum of f_j squared, and n for each row left out.
- Average class size n' / J, and the same over k (C_avg of LeFevre et al. 2006: 1 is the best that k allows).

Invariants
- Every figure can be computed by whoever has the table before and after (tests: by pandas).
- 0 means nothing lost, 1 everything; an empty export has lost everything.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.deidentification.k_anonymity.generalized import Generalized, Shown
from app.deidentification.k_anonymity.mondrian import LEFT_OUT, Keys
from app.deidentification.risk.report import decimal

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loss:
    """The figures of one export; `by_column` is the NCP of each quasi-identifier."""

    k: int
    rows: int
    suppressed: int
    classes: int
    smallest: int
    ncp: float
    generalised: float
    discernibility: int
    by_column: tuple[tuple[str, float], ...]

    def as_json(self) -> dict[str, Any]:
        """Return the loss as the API shows it."""
        shown = self.rows - self.suppressed
        average = shown / self.classes if self.classes else None
        return {
            "k": self.k,
            "rows": self.rows,
            "suppressed_rows": self.suppressed,
            "classes": self.classes,
            "smallest_class": self.smallest,
            "average_class_size": None if average is None else decimal(average),
            "normalised_average_class_size": None if average is None else decimal(average / self.k),
            "ncp": decimal(self.ncp),
            "generalised_information_loss": decimal(self.generalised),
            "discernibility": str(self.discernibility),
            "ncp_by_column": {name: decimal(value) for name, value in self.by_column},
        }


def loss(keys: Keys, made: Generalized, *, k: int) -> Loss:
    """Compare the keys of all rows with what the classes show of them."""
    rows, suppressed = len(made.classes), int((made.classes == LEFT_OUT).sum())
    columns = [_column(one, keys, place, made.sizes) for place, one in enumerate(made.shown)]
    means = [_mean(sums, suppressed, rows) for sums in columns]
    return Loss(
        k=k,
        rows=rows,
        suppressed=suppressed,
        classes=len(made.sizes),
        smallest=int(made.sizes.min()) if len(made.sizes) else 0,
        ncp=sum(ncp for ncp, _ in means) / len(means),
        generalised=sum(generalised for _, generalised in means) / len(means),
        discernibility=sum(int(size) ** 2 for size in made.sizes) + suppressed * rows,
        by_column=tuple((one.column.name, ncp) for one, (ncp, _) in zip(made.shown, means, strict=True)),
    )


def _column(shown: Shown, keys: Keys, place: int, sizes: NDArray[np.int64]) -> tuple[float, float]:
    """Return the two losses of a column, summed over the rows that are shown."""
    known = keys.values[:, place][~keys.nulls[:, place]]
    if not len(known) or not len(sizes):
        return 0.0, 0.0
    if shown.covered is None:
        ncp = generalised = (shown.high.astype(np.float64) - shown.low) / max(float(known.max()) - float(known.min()), 1.0)
    else:
        values, mixed = len(np.unique(known)), shown.distinct > 1
        ncp = np.where(mixed, shown.covered / values, 0.0)
        generalised = np.where(mixed, (shown.covered - 1) / max(values - 1, 1), 0.0)
    open_rows = sizes * ~shown.null
    return float((ncp * open_rows).sum()), float((generalised * open_rows).sum())


def _mean(sums: tuple[float, float], suppressed: int, rows: int) -> tuple[float, float]:
    if not rows:
        return 1.0, 1.0
    return (sums[0] + suppressed) / rows, (sums[1] + suppressed) / rows
