"""The made-up people table of `make bench`: ten columns, from a seed, streamed.

    python benchmarks/people.py --rows 1000000 --out people.csv        # 1 M rows: 117 MB

Promises
- The same seed gives the same rows; row i does not depend on how many rows are asked for.
- A person has one id, e-mail, phone, birthday, postcode and sex, however many rows; ids, e-mails and phones are its own.
- Memory is one row group (65,536 rows) whatever the length.
- `schema`, `policy` and `dataset` are the bodies of every figure: three columns pseudonymised, three generalised, the rest kept.

Nobody in it exists: names are syllables, hosts are reserved (RFC 2606), diagnoses are letters and numbers.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

if __name__ == "__main__":  # run as a file: the checkout is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.table.arrow import csv, pa, pc

ROW_GROUP = 65_536
COLUMNS = ("id", "email", "phone", "dob", "zip", "sex", "diagnosis", "income", "visits", "score")

_SYLLABLES = (
    "al",
    "be",
    "cor",
    "da",
    "el",
    "fin",
    "gra",
    "hol",
    "is",
    "ju",
    "ka",
    "lo",
    "mar",
    "nor",
    "ol",
    "pe",
    "ri",
    "sa",
    "tu",
)
_HOSTS = ("mail.example.com", "post.example.net", "inbox.example.org")
_AREAS = (201, 202, 203, 205, 206, 207, 208, 209, 212, 213, 214, 215, 216, 217, 218, 219, 301, 302, 303, 304, 312, 415, 503, 617)
_EXCHANGES = 700  # 200 to 899
_NUMBERS = len(_AREAS) * _EXCHANGES * 10_000
_STRIDE = 7_368_787  # coprime to _NUMBERS: consecutive people get distinct, scattered numbers


def diagnoses() -> list[str]:
    """Return the 300 declared diagnosis codes."""
    return [f"{letter}{number:02d}.{number * 7 % 10}" for letter in "ABCDEFGHJKLM" for number in range(25)]


def schema() -> list[dict[str, object]]:
    """Return the schema as it stands in the body of POST /v1/datasets."""
    return [
        {"name": "id", "type": "text", "identifier": "person-id", "nullable": False},
        {"name": "email", "type": "text", "identifier": "email"},
        {"name": "phone", "type": "text", "identifier": "phone", "country": "US"},
        {"name": "dob", "type": "date"},
        {"name": "zip", "type": "text"},
        {"name": "sex", "type": "category", "categories": ["F", "M", "X"]},
        {"name": "diagnosis", "type": "category", "categories": diagnoses()},
        {"name": "income", "type": "decimal", "step": "0.01", "lower": "0", "upper": "500000"},
        {"name": "visits", "type": "integer", "lower": 0, "upper": 99},
        {"name": "score", "type": "decimal", "step": "0.001", "lower": "0", "upper": "100"},
    ]


def policy() -> dict[str, dict[str, object]]:
    """Return the policy of the ingest figures: 3 pseudonymised, 3 generalised, 4 kept."""
    return {
        "id": {"technique": "pseudonymize"},
        "email": {"technique": "pseudonymize"},
        "phone": {"technique": "pseudonymize"},
        "dob": {"technique": "generalize", "to": "year", "lower": "1900", "upper": "2030"},
        "zip": {"technique": "generalize", "prefix": 3},
        "sex": {"technique": "keep"},
        "diagnosis": {"technique": "keep"},
        "income": {"technique": "generalize", "width": "1000"},
        "visits": {"technique": "keep"},
        "score": {"technique": "keep"},
    }


def dataset(*, name: str, population: str, max_rows: int, rows_per_person: int = 1) -> dict[str, object]:
    """Return the whole body of POST /v1/datasets for this table."""
    unit = {"column": "id", "max_partitions_contributed": 1, "max_contributions_per_partition": max(1, rows_per_person)}
    return {
        "name": name,
        "population": population,
        "max_rows": max_rows,
        "schema": schema(),
        "policy": policy(),
        "privacy_unit": unit,
    }


def batches(rows: int, *, seed: int = 1, rows_per_person: int = 1) -> Iterator[pa.RecordBatch]:
    """Yield the table as text columns, at most 65,536 rows at a time."""
    for group, start in enumerate(range(0, rows, ROW_GROUP)):
        whole = _row_group(group, seed=seed, rows_per_person=rows_per_person)
        yield whole.slice(0, min(ROW_GROUP, rows - start))


def write(out: BinaryIO, rows: int, *, seed: int = 1, rows_per_person: int = 1) -> None:
    """Write the table as CSV with a header line."""
    out.write((",".join(COLUMNS) + "\n").encode())
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    for batch in batches(rows, seed=seed, rows_per_person=rows_per_person):
        csv.write_csv(batch, out, options)


def _row_group(group: int, *, seed: int, rows_per_person: int) -> pa.RecordBatch:
    person = np.arange(group * ROW_GROUP, (group + 1) * ROW_GROUP, dtype=np.int64) // rows_per_person
    rng = np.random.default_rng([seed, group])  # what varies from row to row
    columns = {
        "id": _person_id(person),
        "email": _email(person),
        "phone": _phone(person, seed),
        "dob": pa.array(_scatter(person, seed, 2) % 29_220 - 14_610, pa.int32()).cast(pa.date32()).cast(pa.string()),
        "zip": _digits(_scatter(person, seed, 3) % 90_000 + 10_000),
        "sex": pa.array(["F", "M", "X"]).take(
            pa.array(np.searchsorted([490, 980], _scatter(person, seed, 4) % 1000, side="right"))
        ),
        "diagnosis": pa.array(diagnoses()).take(pa.array((300 * rng.random(ROW_GROUP) ** 2).astype(np.int64))),
        "income": _decimal(np.minimum(rng.lognormal(15.2, 0.6, ROW_GROUP), 50_000_000).astype(np.int64), places=2),
        "visits": _digits(np.minimum(rng.poisson(6.0, ROW_GROUP), 99)),
        "score": _decimal(np.clip(rng.normal(55_000, 15_000, ROW_GROUP), 0, 100_000).astype(np.int64), places=3),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in COLUMNS], names=list(COLUMNS))


def _scatter(person: np.ndarray, seed: int, salt: int) -> np.ndarray:
    """Return a fixed pseudo-random int64 ≥ 0 per person (splitmix64), so that a person's columns repeat with the person."""
    mix = person.astype(np.uint64) + np.uint64((seed * 1_000_003 + salt) * 0x9E3779B97F4A7C15 % 2**64)
    mix = (mix ^ (mix >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mix = (mix ^ (mix >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mix ^ (mix >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def _person_id(person: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar("person-"), pc.utf8_lpad(_digits(person), 13, "0"), "")


def _email(person: np.ndarray) -> pa.Array:
    syllables = pa.array(_SYLLABLES)
    parts = [syllables.take(pa.array(_scatter(person, 0, 10 + i) % len(_SYLLABLES))) for i in range(6)]
    local = pc.binary_join_element_wise(*parts[:3], ".", *parts[3:], _digits(person), "")
    return pc.binary_join_element_wise(local, pa.array(_HOSTS).take(pa.array(_scatter(person, 0, 15) % len(_HOSTS))), "@")


def _phone(person: np.ndarray, seed: int) -> pa.Array:
    number = (person * _STRIDE + seed * 104_729) % _NUMBERS
    area = np.array(_AREAS)[number // (_EXCHANGES * 10_000)]
    local = number % (_EXCHANGES * 10_000) + 2_000_000
    return pc.binary_join_element_wise(pa.scalar("+1"), _digits(area * 10_000_000 + local), "")


def _decimal(counts: np.ndarray, *, places: int) -> pa.Array:
    text = pc.utf8_lpad(_digits(counts), places + 1, "0")
    return pc.binary_join_element_wise(pc.utf8_slice_codeunits(text, 0, -places), pc.utf8_slice_codeunits(text, -places), ".")


def _digits(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def main() -> None:
    """Write a file and say how long it took."""
    parser = argparse.ArgumentParser(description="Write the made-up people table as CSV.")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows-per-person", type=int, default=1)
    asked = parser.parse_args()
    started = time.perf_counter()
    with asked.out.open("wb") as out:
        write(out, asked.rows, seed=asked.seed, rows_per_person=asked.rows_per_person)
    print(f"{asked.rows:,} rows, {asked.out.stat().st_size / 1e6:.1f} MB in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
