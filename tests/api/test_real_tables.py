"""Real tables through the whole service: a census extract asked a thousand times over, a hospital's register de-identified."""

import re
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import binom

DATA = Path(__file__).parents[3] / "shared/data"
EDUCATION = [
    "Bachelors", "Some-college", "11th", "HS-grad", "Prof-school", "Assoc-acdm", "Assoc-voc", "9th", "7th-8th", "12th", "Masters",
    "1st-4th", "10th", "Doctorate", "5th-6th", "Preschool",
]  # fmt: skip
KEPT = {
    "age": {"type": "integer", "lower": 17, "upper": 90},
    "education": {"type": "category", "categories": EDUCATION},
    "sex": {"type": "category", "categories": ["Female", "Male"]},
    "hours-per-week": {"type": "integer", "lower": 1, "upper": 99},
}


def _table(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the project")
    return path


def _adult(world):
    path = _table("adult.csv")
    frame = pd.read_csv(path)
    schema = [{"name": name, **KEPT.get(name, {"type": "text"})} for name in frame.columns]
    policy = {name: {"technique": "keep" if name in KEPT else "suppress"} for name in frame.columns}
    population = world.population(name="census", unit="row", epsilon="1000")
    dataset = world.dataset(population, name="adult", schema=schema, policy=policy, privacy_unit=None)
    assert world.partner.upload(dataset, path)["rows"] == len(frame)
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="1000")
    return frame, dataset


def test_a_thousand_noisy_cells_of_the_census_are_covered_as_computed(small_world):
    """R17: intervals have the coverage that the plan computes, within a 99.9 % binomial interval."""
    frame, dataset = _adult(small_world)
    inside = cells = 0
    coverage = None
    for age in range(17, 49):
        question = {
            "select": [{"count": {}, "as": "n"}],
            "where": {"column": "age", "op": ">=", "value": str(age)},
            "group_by": ["sex", "education"],
            "epsilon": "1",
        }
        coverage = coverage or float(small_world.analyst.price(dataset, question)["aggregates"][0]["coverage"])
        truth = frame[frame.age >= age].groupby(["sex", "education"]).size()
        for row in small_world.analyst.ask(dataset, question).rows():
            cells += 1
            inside += row["n_low"] <= truth.get((row["sex"], row["education"]), 0) <= row["n_high"]
    assert cells == 1024
    low, high = binom.interval(0.999, cells, coverage)
    assert low <= inside <= high
    assert coverage >= 0.95


def test_a_grouped_mean_of_the_census_lies_where_it_should(small_world):
    frame, dataset = _adult(small_world)
    question = {"select": [{"mean": {"column": "hours-per-week"}, "as": "hours"}], "group_by": ["sex"], "epsilon": "1"}
    for row in small_world.analyst.ask(dataset, question).rows():
        assert abs(float(row["hours"]) - frame[frame.sex == row["sex"]]["hours-per-week"].mean()) < 0.5
        assert row["hours_high"] - row["hours_low"] < 1


def test_a_register_of_patients_keeps_no_name_and_no_number(world):
    path = _table("patients.csv")
    frame = pd.read_csv(path, dtype=str)
    population = world.population()
    schema = [
        {"name": "ID", "type": "text", "identifier": "patient-id", "nullable": False},
        {"name": "Name", "type": "text"},
        {"name": "Gender", "type": "category", "categories": ["F", "M"]},
        {"name": "Age", "type": "integer", "lower": 0, "upper": 120},
        {"name": "Zip", "type": "text"},
    ]
    policy = {
        "ID": {"technique": "pseudonymize"},
        "Name": {"technique": "suppress"},
        "Gender": {"technique": "keep"},
        "Age": {"technique": "generalize", "width": 10},
        "Zip": {"technique": "generalize", "prefix": 3},
    }
    unit = {"column": "ID", "max_partitions_contributed": 1, "max_contributions_per_partition": 1}
    dataset = world.dataset(population, name="register", schema=schema, policy=policy, privacy_unit=unit)
    assert world.partner.upload(dataset, path)["rows"] == len(frame)
    left = world.owner.export_frame(dataset, purpose="look at what is left")
    assert list(left.columns) == ["ID", "Gender", "Age", "Zip"]
    assert left.ID.map(lambda text: bool(re.fullmatch(r"[0-9a-f]{32}", text))).all()
    assert not set(left.ID) & set(frame.ID)
    assert left.ID.nunique() == frame.ID.nunique()
    assert set(left.Age % 10) == {0}
    assert (left.Age.astype(int) == frame.Age.astype(int) // 10 * 10).all()
    assert (left.Zip == frame.Zip.str[:3]).all()
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="2")
    answer = world.analyst.ask(dataset, {"select": [{"count": {}, "as": "n"}], "group_by": ["Gender"], "epsilon": "2"})
    truth = frame.groupby("Gender").size()
    assert all(abs(row["n"] - truth[row["Gender"]]) < 30 for row in answer.rows())
    assert Fraction(answer.remaining["allowance"]["epsilon"]) == 0
