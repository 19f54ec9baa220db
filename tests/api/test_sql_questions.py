"""Questions in SQL and the wider aggregates over HTTP, and what the command prints of them."""

import json
import statistics

import pytest
from typer.testing import CliRunner

from tacit import Problem
from tacit.cli.bars import bars
from tacit.cli.main import app as cli
from tests.world import ROWS

HOURS = [int(line.split(b",")[2]) for line in ROWS.splitlines()[1:]]


def test_sql_and_json_are_one_question_and_one_cost(world):
    _, dataset = world.filled()
    first = world.analyst.ask(
        dataset, "SELECT sex, COUNT(*) AS n, AVG(hours) AS h FROM visits WHERE hours >= 10 GROUP BY sex", epsilon="1"
    )
    body = {
        "select": [{"mean": {"column": "hours"}, "as": "h"}, {"count": {}, "as": "n"}],
        "where": {"column": "hours", "op": ">", "value": 9},
        "group_by": ["sex"],
    }
    again = world.analyst.ask(dataset, body, epsilon="1")
    assert (first.repeated, again.repeated, again.cost) == (False, True, {"epsilon": "0"})
    assert [row["n"] for row in again.rows()] == [row["n"] for row in first.rows()]
    assert world.analyst.price(dataset, sql="SELECT COUNT(*) FROM visits", epsilon="1")["cost"] == {"epsilon": "1"}


def test_what_is_told_is_near_the_truth(world):
    _, dataset = world.filled(epsilon="100", allowance="100")
    told = world.analyst.ask(
        dataset,
        sql="SELECT COUNT(DISTINCT patient_id) AS who, STDDEV_POP(hours) AS s, MEDIAN(hours) AS m FROM visits",
        epsilon="10",
    )
    [row] = told.rows()
    assert abs(row["who"] - 200) < 20
    assert row["s_low"] <= row["s"] <= row["s_high"]
    assert abs(float(row["s"]) - statistics.pstdev(HOURS)) < 10
    assert abs(row["m"] - statistics.median(HOURS)) < 15
    assert row["m_low"] is None
    [cell] = [cell for cell in told.document["groups"][0]["values"] if "rank_error" in cell]
    assert int(cell["rank_error"]) > 0
    bins = world.analyst.ask(
        dataset, {"select": [{"histogram": {"column": "hours", "edges": [0, 20, 40, 60]}, "as": "h"}]}, epsilon="10"
    )
    [row] = bins.rows()
    assert list(row["h"]) == ["0 … 20", "20 … 40", "40 … 60"]
    assert all(abs(count - true) < 20 for count, true in zip(row["h"].values(), (80, 60, 60), strict=True))
    assert bins.frame().loc[0, "h_low"]["0 … 20"] <= row["h"]["0 … 20"]


def test_what_sql_can_not_say_is_a_problem_that_names_it(small_world):
    _, dataset = small_world.filled()
    with pytest.raises(Problem) as refused:
        small_world.analyst.ask(dataset, "SELECT COUNT(*) FROM visits ORDER BY 1", epsilon="1")
    assert (refused.value.status, refused.value.code) == (422, "unsupported-question")
    assert "ORDER BY" in refused.value.detail
    with pytest.raises(Problem) as refused:
        small_world.analyst.ask(dataset, {"sql": "SELECT 1", "select": [{"count": {}}]}, epsilon="1")
    assert refused.value.status == 422
    assert small_world.owner.budget(next(iter(small_world.owner.list_populations()))["id"])["spent"] == {"epsilon": "0"}


def test_the_command_asks_in_sql_and_draws_intervals(small_world):
    small_world.filled()
    asked = ["ask", "-d", "visits", "-e", "2", "--sql", "SELECT sex, COUNT(*) AS n FROM visits GROUP BY sex"]
    environment = {"TACIT_URL": small_world.url, "TACIT_TOKEN": small_world.tokens["analyst"], "COLUMNS": "120"}
    printed = CliRunner().invoke(cli, asked, env=environment)
    assert printed.exit_code == 0, printed.output
    assert printed.output.count("●") == 2
    histogram = json.dumps({"select": [{"histogram": {"column": "hours", "bins": 3}, "as": "h"}]})
    printed = CliRunner().invoke(cli, ["ask", "-d", "visits", "-e", "2", histogram], env=environment)
    assert printed.exit_code == 0, printed.output
    assert printed.output.count("●") == 3
    assert "0 … 33" in printed.output


def test_bars_share_a_scale():
    assert bars([(5, 0, 10), (None, 10, 20), (7, None, None)], width=5) == ["├●┤", "  ├─┤", ""]
    assert bars([(1, 1, 1)], width=3) == ["●"]
    assert bars([(1, None, None)]) == [""]
