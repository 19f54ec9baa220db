"""The two tables of the story: people who don't exist, and real patients (scikit-learn's diabetes table) under made-up names.

The diabetes table (Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", 2004) has 442 patients and no identifiers; the
ones it gets here are made up, so that there is something to hide.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks import people

PEOPLE = 100_000
MOST_PEOPLE = 200_000
_GIVEN = ("Ada", "Björn", "Chiara", "Dorota", "Emeka", "Fatma", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Leila", "Mei")
_FAMILY = ("Abel", "Brandt", "Costa", "Dahl", "Eriksen", "Fuchs", "García", "Horvat", "Ivanov", "Jansen", "Kaya", "Lindqvist")
_MEASURED = {  # column: places after the point, lower, upper
    "age": (0, 0, 120),
    "bmi": (1, 10, 60),
    "bp": (2, 40, 200),
    "s1": (0, 50, 400),
    "s2": (1, 20, 300),
    "s3": (1, 10, 150),
    "s4": (2, 1, 12),
    "s5": (4, 2, 8),
    "s6": (0, 40, 200),
    "progression": (0, 0, 400),
}


@dataclass(frozen=True, slots=True)
class Patients:
    """The diabetes table with identifiers."""

    rows: tuple[dict[str, str], ...]

    @property
    def names(self) -> list[str]:
        """Return the made-up names, in order."""
        return [row["name"] for row in self.rows]

    @property
    def ids(self) -> list[str]:
        """Return the made-up patient ids, in order."""
        return [row["patient_id"] for row in self.rows]

    def as_csv(self) -> bytes:
        """Return the table as a partner sends it."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue().encode()

    def mean(self, column: str, *, sex: str) -> Fraction:
        """Return the true mean, which nobody who asks the service ever sees."""
        values = [Fraction(row[column]) for row in self.rows if row["sex"] == sex]
        return sum(values, Fraction(0)) / len(values)


def patients() -> Patients:
    """Return the real measurements of 442 patients under made-up names."""
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    names = [*found.feature_names, "progression"]
    rows = []
    for number, (measured, progression) in enumerate(zip(found.data, found.target, strict=True)):
        values = dict(zip(names, [*measured, progression], strict=True))
        rows.append(
            {
                "patient_id": f"DIAB-{number * 7919 % 100_003:06d}",
                "name": f"{_GIVEN[number % len(_GIVEN)]} {_FAMILY[number // 3 % len(_FAMILY)]} {number:03d}",
                "sex": {1: "A", 2: "B"}[int(values["sex"])],  # the source does not say which is which
                **{name: f"{values[name]:.{places}f}" for name, (places, _, _) in _MEASURED.items()},
            }
        )
    return Patients(tuple(rows))


def patients_dataset(*, population: str, recipient: str) -> dict[str, Any]:
    """Return the body that declares the patients' dataset: ids pseudonymised, names sealed to the recipient."""
    return {
        "name": "diabetes",
        "population": population,
        "max_rows": 1_000,
        "schema": [
            {"name": "patient_id", "type": "text", "identifier": "person-id", "nullable": False},
            {"name": "name", "type": "text"},
            {"name": "sex", "type": "category", "categories": ["A", "B"]},
            *(_declared(name, places, lower, upper) for name, (places, lower, upper) in _MEASURED.items()),
        ],
        "policy": {
            "patient_id": {"technique": "pseudonymize"},
            "name": {"technique": "seal", "recipient": recipient},
            "sex": {"technique": "keep"},
            **{name: {"technique": "keep"} for name in _MEASURED},
            "age": {"technique": "generalize", "width": "10"},
        },
        "privacy_unit": {"column": "patient_id", "max_partitions_contributed": 1, "max_contributions_per_partition": 1},
    }


def write_people(path: Path) -> None:
    """Write the made-up people as CSV."""
    with path.open("wb") as out:
        people.write(out, PEOPLE)


def identifiers(table: Path) -> list[bytes]:
    """Return every id, e-mail address and phone number of the people table."""
    with table.open(encoding="utf-8", newline="") as file:
        return [row[name].encode() for row in csv.DictReader(file) for name in ("id", "email", "phone")]


def truth(table: Path, *, group: str, mean: str) -> dict[str, tuple[int, float]]:
    """Return the true count and mean of each group: what an analyst is never shown."""
    sums: dict[str, tuple[int, float]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            count, total = sums.get(row[group], (0, 0.0))
            sums[row[group]] = count + 1, total + float(row[mean])
    return {key: (count, total / count) for key, (count, total) in sums.items()}


def first(texts: Iterable[str], count: int) -> str:
    """Return the first few as one text."""
    return ", ".join(list(texts)[:count])


def _declared(name: str, places: int, lower: int, upper: int) -> dict[str, Any]:
    if places == 0:
        return {"name": name, "type": "integer", "lower": lower, "upper": upper}
    step = f"0.{'1'.rjust(places, '0')}"
    return {"name": name, "type": "decimal", "step": step, "lower": str(lower), "upper": str(upper)}
