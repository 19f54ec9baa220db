"""The main job over HTTP on both databases: rows in, private answers out, for nothing the second time."""

import pytest

from tacit import Problem
from tacit.certificate import KeySet, VerificationFailed, verify

QUESTION = {"select": [{"count": {}, "as": "n"}, {"mean": {"column": "hours"}, "as": "m"}], "group_by": ["sex"], "epsilon": "1"}


def test_an_answer_is_paid_once_and_repeated_for_nothing(world):
    population, dataset = world.filled()
    first = world.analyst.ask(dataset, QUESTION)
    again = world.analyst.ask(dataset, {**QUESTION, "epsilon": "0.5", "select": QUESTION["select"][::-1]})
    assert not first.repeated
    assert again.repeated
    assert again.cost == {"epsilon": "0"}
    rows, mirrored = first.rows(), again.rows()
    assert [row["n"] for row in rows] == [row["n"] for row in mirrored]
    assert abs(rows[0]["n"] - 100) < 60
    budget = world.analyst.budget(population)
    assert budget["spent"] == {"epsilon": "1"}
    assert budget["remaining"] == {"population": {"epsilon": "9"}, "allowance": {"epsilon": "4"}}


def test_a_spent_allowance_refuses_with_a_problem_document(world):
    _, dataset = world.filled(allowance="1.5")
    world.analyst.ask(dataset, QUESTION)
    with pytest.raises(Problem) as refused:
        world.analyst.ask(dataset, {**QUESTION, "group_by": []})
    assert (refused.value.code, refused.value.status) == ("budget-exhausted", 409)


def test_certificates_and_receipts_verify_offline_and_changed_ones_do_not(world):
    population, dataset = world.filled()
    keys = KeySet.from_json(world.owner.signing_keys(), source="pinned")
    certificate = world.analyst.ask(dataset, QUESTION).certificate
    assert verify(certificate, keys).type == "release-certificate"
    assert certificate["population"] == population
    receipt = next(iter(world.partner.list_uploads(dataset)))["receipt"]
    assert verify(receipt, keys).type == "receipt"
    with pytest.raises(VerificationFailed):
        verify({**certificate, "unit": "row"}, keys)
    with pytest.raises(VerificationFailed):
        verify({**receipt, "rows": 1}, keys)


def test_exports_stand_in_the_ledger_and_bar_their_reader_from_asking(world):
    population, dataset = world.filled()
    world.owner.put_grant(dataset, world.ids["service"], ["export"])
    rows = list(world.service.iterate_rows(dataset, purpose="migration"))
    assert len(rows) == 200
    assert set(rows[0]) == {"patient_id", "hours", "income", "sex"}
    assert len(rows[0]["patient_id"]) == 32
    assert rows[3]["income"] == "3.25"
    kinds = [entry["kind"] for entry in world.owner.ledger(population)]
    assert kinds == ["unprotected-release"]
    frame = world.owner.export_frame(dataset, purpose="check")
    assert len(frame) == 200
    with pytest.raises(Problem) as refused:
        world.owner.put_grant(dataset, world.ids["service"], ["query", "export"])
    assert refused.value.code == "conflict"
