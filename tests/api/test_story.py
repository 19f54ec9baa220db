"""The main job on real tables over HTTP: census rows grouped and covered as computed, patients de-identified."""

from pathlib import Path

import pytest
from scipy.stats import binom

DATA = Path(__file__).parents[2] / "../shared/data"
EDUCATION = ["10th", "11th", "12th", "1st-4th", "5th-6th", "7th-8th", "9th", "Assoc-acdm", "Assoc-voc", "Bachelors",
             "Doctorate", "HS-grad", "Masters", "Preschool", "Prof-school", "Some-college"]  # fmt: skip
WORK = [
    "?",
    "Federal-gov",
    "Local-gov",
    "Never-worked",
    "Private",
    "Self-emp-inc",
    "Self-emp-not-inc",
    "State-gov",
    "Without-pay",
]


def _table(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the repository")
    return path.read_bytes()


def test_adult_grouped_answers_cover_the_truth_as_often_as_computed(small_world):
    world = small_world
    lines = [line.split(",") for line in _table("adult.csv").decode().splitlines() if line]
    head, rows = lines[0], lines[1:]
    wanted = ["age", "workclass", "education", "sex", "hours-per-week"]
    places = [head.index(name) for name in wanted]
    kept = [[row[place] for place in places] for row in rows]
    body = "age,workclass,education,sex,hours\n" + "".join(",".join(row) + "\n" for row in kept)
    schema = [
        {"name": "age", "type": "integer", "lower": 0, "upper": 120},
        {"name": "workclass", "type": "category", "categories": WORK},
        {"name": "education", "type": "category", "categories": EDUCATION},
        {"name": "sex", "type": "category", "categories": ["Female", "Male"]},
        {"name": "hours", "type": "integer", "lower": 0, "upper": 99},
    ]
    policy = {column["name"]: {"technique": "keep"} for column in schema}
    population = world.population(unit="row", epsilon="1000")
    dataset = world.dataset(population, schema=schema, policy=policy, privacy_unit=None)
    assert world.partner.upload(dataset, body.encode(), media_type="text/csv")["rows"] == len(rows) == 32_561
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="1000")

    cells = covered = questions = 0
    for limit in range(20, 55):  # 35 different questions of 32 cells: 1,120 different numbers, each with its own noise
        where = {"column": "age", "op": ">=", "value": limit}
        told = world.analyst.ask(
            dataset, {"select": [{"count": {}, "as": "n"}], "where": where, "group_by": ["sex", "education"], "epsilon": "1"}
        )
        questions += 1
        truth = {}
        for age, _, education, sex, _ in kept:
            if int(age) >= limit:
                truth[sex, education] = truth.get((sex, education), 0) + 1
        for row in told.rows():
            if row["sex"] is not None and row["education"] is not None:
                cells += 1
                covered += row["n_low"] <= truth.get((row["sex"], row["education"]), 0) <= row["n_high"]
    assert questions == 35
    assert cells == 35 * 32 >= 1000
    computed = float(world.analyst.price(dataset, {"select": [{"count": {}}], "epsilon": "1"})["aggregates"][0]["coverage"])
    assert computed >= 0.95
    assert binom.ppf(0.0005, cells, computed) <= covered <= binom.ppf(0.9995, cells, computed)
    unknown = world.analyst.ask(dataset, {"select": [{"count": {}, "as": "n"}], "group_by": ["workclass"], "epsilon": "1"})
    [question_mark] = [row["n"] for row in unknown.rows() if row["workclass"] == "?"]
    assert abs(question_mark - sum(row[1] == "?" for row in kept)) < 40, "`?` is a category like others"


def test_patients_are_stored_as_the_policy_says(small_world):
    world = small_world
    raw = _table("patients.csv")
    lines = [line.split(",") for line in raw.decode().splitlines() if line]
    schema = [
        {"name": "ID", "type": "text", "identifier": "patient-id", "nullable": False},
        {"name": "Name", "type": "text"},
        {"name": "Gender", "type": "category", "categories": sorted({line[2] for line in lines[1:]})},
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
    dataset = world.dataset(world.population(), schema=schema, policy=policy, privacy_unit=unit)
    assert world.partner.upload(dataset, raw, media_type="text/csv")["rows"] == 30_000
    exported = list(world.owner.iterate_rows(dataset, purpose="check"))
    assert len(exported) == 30_000
    assert {tuple(row) for row in exported} == {("ID", "Gender", "Age", "Zip")}
    assert len({row["ID"] for row in exported}) == len({line[0] for line in lines[1:]})
    assert not {row["ID"] for row in exported} & {line[0] for line in lines[1:]}
    assert [int(row["Age"]) for row in exported] == [int(line[3]) // 10 * 10 for line in lines[1:]]
    assert all(
        row["Zip"].startswith(line[4][:3]) and line[4] != row["Zip"] for row, line in zip(exported, lines[1:], strict=True)
    )
