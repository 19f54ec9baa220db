"""The chapters in which an analyst learns something, and pays for it."""

import json
import time
from collections.abc import Iterable
from typing import Any

from demo import tables
from demo.stage import Stage
from tacit import Answer, Problem

QUESTION: dict[str, Any] = {
    "select": [{"count": {}, "as": "people"}, {"mean": {"column": "visits"}, "as": "visits"}],
    "group_by": ["sex"],
    "epsilon": "0.5",
}
PATIENTS: dict[str, Any] = {
    "select": [{"mean": {"column": "progression"}, "as": "progression"}],
    "group_by": ["sex"],
    "epsilon": "1",
}
_FAR = 20  # half widths: an honest answer is never so far away


def price_and_ask(stage: Stage) -> None:
    """Ask what it would cost, then ask."""
    tell, analyst, people = stage.teller, stage.cast.analyst.client, stage.ids["people"]
    with tell.chapter("An analyst prices a question, and asks it"):
        tell.say(f"The question: {json.dumps(QUESTION)}")
        priced = analyst.price(people, QUESTION)
        left = _left(priced["remaining"])
        tell.holds(
            f"its price is ε = {priced['cost']['epsilon']} and asking for the price cost nothing (left: {left})", so=left == "2"
        )
        began = time.perf_counter()
        answer = analyst.ask(people, QUESTION)
        tell.say(f"The answer came after {time.perf_counter() - began:.2f} s (replies wait for a deadline that tells nothing).")
        stage.answers["people"] = answer
        truth = tables.truth(stage.people_csv, group="sex", mean="visits")
        _show(stage, answer, {key: dict(zip(("people", "visits"), pair, strict=True)) for key, pair in truth.items()})
        tell.holds("every value is near the truth", so=_near(answer, truth))
        tell.holds(
            f"it cost ε = {answer.cost['epsilon']}; {_left(answer.remaining)} of the analyst's 2 are left",
            so=_left(answer.remaining) == "1.5" and answer.cost["epsilon"] == "0.5",
        )


def ask_again(stage: Stage) -> None:
    """Ask the same thing, written differently."""
    tell, analyst = stage.teller, stage.cast.analyst.client
    with tell.chapter("The same question again costs nothing, and tells nothing new"):
        again = analyst.ask(stage.ids["people"], QUESTION)
        tell.holds(
            f"the same numbers, for ε = {again.cost['epsilon']}",
            so=again.rows() == stage.answers["people"].rows() and again.repeated and again.cost["epsilon"] == "0",
        )


def ask_about_patients(stage: Stage) -> None:
    """Ask about a small table: the interval says how little 442 people can tell privately."""
    tell, analyst = stage.teller, stage.cast.analyst.client
    with tell.chapter("A small table answers more vaguely, and says so"):
        answer = analyst.ask(stage.ids["diabetes"], PATIENTS)
        truth = {sex: {"progression": float(stage.patients.mean("progression", sex=sex))} for sex in ("A", "B")}
        _show(stage, answer, truth)
        tell.holds(f"{_left(answer.remaining)} is left", so=_left(answer.remaining) == "0.5")


def run_out(stage: Stage) -> None:
    """Go on asking until the allowance is gone."""
    tell, analyst = stage.teller, stage.cast.analyst.client
    with tell.chapter("The analyst runs out"):
        last = {"select": [{"count": {}, "as": "n"}], "where": {"column": "visits", "op": ">=", "value": "10"}, "epsilon": "0.5"}
        answer = analyst.ask(stage.ids["people"], last)
        tell.holds("one more question spends the rest", so=_left(answer.remaining) == "0")
        refused = _refused(stage, {**last, "where": {"column": "visits", "op": ">=", "value": "11"}})
        tell.holds("the next one is refused", so=refused is not None and refused.code == "budget-exhausted")
        assert refused is not None
        document = {"title": refused.title, "status": refused.status, "code": refused.code, "detail": refused.detail}
        tell.quote("application/problem+json", json.dumps(document, indent=1, ensure_ascii=False))
        free = analyst.ask(stage.ids["people"], QUESTION)
        tell.holds("what was paid for can still be read", so=free.rows() == stage.answers["people"].rows())


def _refused(stage: Stage, question: dict[str, Any]) -> Problem | None:
    try:
        stage.cast.analyst.client.ask(stage.ids["people"], question)
    except Problem as problem:
        return problem
    return None


def _near(answer: Answer, truth: dict[str, tuple[int, float]]) -> bool:
    return all(
        abs(float(row[name]) - value) <= _FAR * max(float(row[f"{name}_high"]) - float(row[f"{name}_low"]), 1e-9) / 2
        for row in answer.rows()
        for name, value in zip(("people", "visits"), truth[row["sex"]], strict=True)
    )


def _show(stage: Stage, answer: Answer, truth: dict[str, dict[str, float]]) -> None:
    names = [name for name in answer.columns if name not in answer.keys]
    columns = ["sex"]
    for name in names:
        columns += [name, "between … and", "(the truth)"]
    rows = [[row["sex"], *_cells(row, names, truth[row["sex"]])] for row in answer.rows()]
    stage.teller.show("The answer, each value beside its 95 % interval; the truth is shown to you alone", columns, rows)


def _cells(row: dict[str, Any], names: Iterable[str], truth: dict[str, float]) -> list[str]:
    cells = []
    for name in names:
        cells += [str(row[name]), f"{row[f'{name}_low']} … {row[f'{name}_high']}", f"{truth[name]:.7g}"]
    return cells


def _left(remaining: dict[str, dict[str, str]]) -> str:
    return remaining["allowance"]["epsilon"]
