"""Threats C2 and C4: a damaged dataset is closed while the others serve; verify and the scrub name the first bad place."""

import threading
import time

import pytest

from app.operations import quarantine, scrub, verification
from tacit import Problem
from tests.attacks.laid_bare import count_question, execute, impatient, rows
from tests.world import ROWS, World


def _two(world):
    population, dataset = world.filled(epsilon="100", allowance="100")
    other = world.dataset(population, name="other")
    world.partner.upload(other, ROWS, media_type="text/csv")
    impatient(world)
    return dataset, other


def _touch(world, dataset, column=2):
    """Flip one bit of one sealed column; return what puts it back."""
    where = 'upload_id IN (SELECT id FROM uploads WHERE dataset_id = :d) AND "column" = :c'
    ((upload, sealed),) = rows(world.desk, f"SELECT upload_id, sealed FROM column_chunks WHERE {where}", d=dataset, c=column)
    sealed = bytes(sealed)

    def put(value):
        execute(world.desk, f"UPDATE column_chunks SET sealed = :s WHERE {where}", s=value, d=dataset, c=column)

    put(sealed[:100] + bytes([sealed[100] ^ 1]) + sealed[101:])
    return lambda: put(sealed), f"upload {upload}, row group 0, column {column}"


def _code(act):
    with pytest.raises(Problem) as refused:
        act()
    assert refused.value.status == 503
    return refused.value.code


def _closed(world, dataset):
    assert _code(lambda: world.analyst.ask(dataset, count_question(0))) == "quarantined"
    assert _code(lambda: world.analyst.price(dataset, count_question(0))) == "quarantined"
    assert _code(lambda: list(world.owner.iterate_rows(dataset, purpose="look"))) == "quarantined"
    assert _code(lambda: world.partner.upload(dataset, ROWS, media_type="text/csv")) == "quarantined"
    population = world.owner.get_dataset(dataset)["population"]
    assert _code(lambda: world.owner.get_subject(population, "P-7", purpose="look")) == "quarantined"
    assert world.owner.get_dataset(dataset)["name"] == "visits"


@pytest.mark.attack("C4")
def test_c4_a_dataset_that_a_question_found_damaged_is_closed_until_it_verifies_again(world):
    dataset, other = _two(world)
    mend, place = _touch(world, dataset)
    total = {"select": [{"sum": {"column": "income"}}], "epsilon": "1"}
    assert _code(lambda: world.analyst.ask(dataset, total)) in {"query-failed", "quarantined"}  # tried again by the client
    _closed(world, dataset)
    assert world.analyst.ask(other, count_question(0)).cost == {"epsilon": "1"}
    (told,) = world.operator.get_system()["quarantine"]
    assert (told["dataset"], told["place"], told["found_by"]) == (dataset, place, "question")
    assert _code(lambda: world.operator.acknowledge("mended", dataset=dataset)) == "quarantined"
    execute(world.desk, "DELETE FROM quarantine")  # a writer who opens it finds the anchor in the way
    assert _code(lambda: world.analyst.ask(dataset, count_question(1))) == "quarantined"
    assert [one["dataset"] for one in world.operator.get_system()["quarantine"]] == [dataset]
    mend()
    _closed(world, dataset)
    assert world.operator.acknowledge("mended", dataset=dataset) == {"dataset": dataset, "lifted": True, "verified": True}
    assert world.analyst.ask(dataset, count_question(1)).cost == {"epsilon": "1"}
    assert world.operator.get_system()["quarantine"] == []
    assert [one["action"] for one in world.auditor.audit()].count("lift_quarantine") == 1


@pytest.mark.attack("C4")
def test_c4_a_row_that_a_writer_put_into_quarantine_only_closes_and_lifting_in_spite_is_audited(world):
    dataset, _ = _two(world)
    execute(world.desk, "INSERT INTO quarantine (dataset_id, place, found_by, found_at) VALUES (:d, 'x', 'x', 0)", d=dataset)
    assert _code(lambda: world.analyst.ask(dataset, count_question(0))) == "quarantined"
    assert world.operator.acknowledge("nothing is wrong", dataset=dataset)["verified"] is True
    world.analyst.ask(dataset, count_question(0))
    _touch(world, dataset)
    assert verification.verify(world.desk).findings
    told = world.operator.acknowledge("one column is lost", dataset=dataset, in_spite=True)
    assert told == {"dataset": dataset, "lifted": True, "verified": False}
    assert [one["detail"]["in_spite"] for one in world.auditor.audit() if one["action"] == "lift_quarantine"] == [0, 1]
    with pytest.raises(Problem) as refused:
        world.operator.acknowledge("x", dataset="0" * 36)
    assert refused.value.code == "not-found"


@pytest.mark.attack("C2")
def test_c2_verify_names_the_first_bad_place_of_each_dataset_and_everything_else_that_is_wrong(world):
    dataset, other = _two(world)
    world.analyst.ask(dataset, count_question(0))
    whole = verification.verify(world.desk)
    assert whole.findings == []
    assert whole.checked["datasets"] == 2
    assert whole.checked["answers"] == 1
    assert min(whole.checked[name] for name in ("rows of rights", "row groups", "bytes", "audit logs", "anchored positions")) > 0
    _, place = _touch(world, dataset, column=1)
    _touch(world, dataset, column=3)
    execute(world.desk, "UPDATE uploads SET manifest_mac = :m WHERE dataset_id = :d", m=b"x" * 32, d=other)
    execute(world.desk, "UPDATE ledger SET epsilon = 1000 WHERE kind = 'answer'")
    execute(world.desk, "UPDATE audit SET object_id = 'x' WHERE ordinal = 3")
    execute(world.desk, "UPDATE allowances SET epsilon = epsilon + 1")
    said = []
    found = {(one.what, one.dataset): one.place for one in verification.verify(world.desk, say=said.append).findings}
    assert found[("dataset", dataset)] == place
    assert found[("dataset", other)].startswith("manifest of upload")
    assert found[("row of rights", None)].startswith("allowances ")
    assert found[("audit log", None)].endswith("entry 3")
    assert {what for what, _ in found} == {"dataset", "row of rights", "ledger", "answer", "audit log"}
    assert any("dataset 2 of 2" in line for line in said)
    assert {one["found_by"] for one in world.operator.get_system()["quarantine"]} == {"verify"}


@pytest.mark.attack("C2")
def test_c2_the_scrub_of_a_living_service_finds_damage_that_nobody_asked_for(backend, new_database, tmp_path):
    world = World(new_database(backend), tmp_path)
    try:
        dataset, other = _two(world)
        _touch(world, dataset)
        world.settings = world.settings.model_copy(update={"scrub_bytes_per_second": 10**9})
        world.serve()
        until = time.monotonic() + 30
        while not (told := world.operator.get_system()["quarantine"]) and time.monotonic() < until:
            time.sleep(0.05)
        assert [(one["dataset"], one["found_by"]) for one in told] == [(dataset, "scrub")]
        assert world.analyst.ask(other, count_question(0)).cost == {"epsilon": "1"}
    finally:
        world.close()


def test_the_scrub_keeps_to_its_rate_and_stops_when_it_is_told(small_world):
    small_world.filled()
    waited, stop = [], threading.Event()

    class Waits(threading.Event):
        def wait(self, timeout=None):
            waited.append(timeout)
            return False

    assert scrub.scrub(small_world.desk, bytes_per_second=1000, stop=Waits()) == 0
    opened = verification.verify(small_world.desk).checked["bytes"]
    assert sum(waited) == pytest.approx(opened / 1000)
    stop.set()
    assert scrub.scrub(small_world.desk, bytes_per_second=1, stop=stop) == 0


def test_rows_that_another_upload_took_the_place_of_are_no_damage(small_world):
    world = small_world
    dataset, _ = _two(world)
    ((before,),) = rows(world.desk, "SELECT manifest_mac FROM uploads WHERE dataset_id = :d", d=dataset)
    world.partner.upload(dataset, ROWS, media_type="text/csv", mode="replace")
    assert not quarantine.put(world.desk, dataset, place="gone", found_by="question", named=bytes(before).hex())
    assert world.operator.get_system()["quarantine"] == []


def test_read_only_stops_every_change_and_nothing_that_only_looks(world):
    dataset, _ = _two(world)
    assert world.operator.set_read_only(True) == {"read_only": True}
    for act in (
        lambda: world.analyst.ask(dataset, count_question(0)),
        lambda: world.partner.upload(dataset, ROWS, media_type="text/csv"),
        lambda: list(world.owner.iterate_rows(dataset, purpose="look")),
        lambda: world.owner.put_grant(dataset, world.ids["partner"], ["upload"]),
        lambda: world.operator.create_principal("new", "partner"),
    ):
        assert _code(act) == "read-only"
    assert world.analyst.price(dataset, count_question(0))["cost"]
    assert world.owner.get_dataset(dataset)["name"] == "visits"
    assert world.operator.get_system()["read_only"] is True
    assert world.operator.set_read_only(False) == {"read_only": False}
    assert world.analyst.ask(dataset, count_question(0)).cost == {"epsilon": "1"}
    assert [one["action"] for one in world.auditor.audit()].count("read_only") == 2
