"""The auditor against randomized columns: nobody finds more ε in a cell than stated, and a planted bug is found (threat D7)."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import auditor

from app.deidentification import randomize as randomize_module
from app.deidentification.randomize import randomize
from app.deidentification.techniques import Randomize
from app.noise import response
from app.noise.sampler import Calibration, source
from app.table.arrow import pa, pc
from app.table.schema import Column, ColumnType

DRAWS = 200_000 if os.environ.get("TACIT_FULL") else 40_000
COLUMNS = {
    "boolean": (Column("c", ColumnType.BOOLEAN, nullable=False), pa.bool_(), (False, True)),
    "category": (Column("c", ColumnType.CATEGORY, categories=("A", "B", "C")), pa.int16(), (0, None)),
    "integer": (
        Column("c", ColumnType.INTEGER, nullable=False, lower=Fraction(0), upper=Fraction(6)),
        pa.int64(),
        (0, 6),
    ),
}


def audited(kind: str, epsilon: Fraction) -> float:
    """Return the lower bound on ε that reports of two true values prove, the most distant ones of the column."""
    column, arrow, pair = COLUMNS[kind]
    sides = []
    for value in pair:
        reports = randomize(pa.array([value] * DRAWS, arrow), column, Randomize(epsilon=epsilon), noise=source("opendp"))
        sides.append(reports.cast(pa.int64()).fill_null(-1).to_pylist())
    return auditor.members(*sides)


@pytest.mark.attack("D7")
@pytest.mark.parametrize("epsilon", [Fraction(1, 2), Fraction(2)])
@pytest.mark.parametrize("kind", list(COLUMNS))
def test_d7_nobody_finds_more_epsilon_in_a_cell_than_was_stated(kind: str, epsilon: Fraction) -> None:
    found: list[float] = []

    def holds() -> bool:
        found.append(audited(kind, epsilon))
        return found[-1] <= float(epsilon)

    assert auditor.twice(holds), found
    assert max(found) > 0.6 * float(epsilon)  # the audit is not blind


@pytest.mark.attack("D7")
@pytest.mark.parametrize("kind", list(COLUMNS))
def test_d7_a_planted_scale_bug_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of half the scale, a true value twice as likely: each gives itself away."""
    honest = response.weights
    monkeypatch.setattr(response, "weights", lambda epsilon: (2 * honest(epsilon)[0], honest(epsilon)[1]))
    exact = source("opendp")

    class Halved:
        name, largest_scale, laplace = exact.name, exact.largest_scale, staticmethod(exact.laplace)

        def calibrate(self, *, sensitivity: int, epsilon: Fraction) -> Calibration:
            right = exact.calibrate(sensitivity=sensitivity, epsilon=epsilon)
            return Calibration(right.scale / 2, right.epsilon_spent, right.defect)

    monkeypatch.setattr(sys.modules[__name__], "source", lambda _: Halved())
    assert audited(kind, Fraction(1)) > 1


@pytest.mark.attack("D7")
def test_d7_a_null_that_was_passed_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = randomize_module._respond

    def leaking(values: pa.Array, column: Column, epsilon: Fraction) -> pa.Array:
        return pc.if_else(values.is_null(), pa.scalar(None, pa.int16()), plain(values, column, epsilon))

    monkeypatch.setattr(randomize_module, "_respond", leaking)
    assert audited("category", Fraction(1)) > 1
