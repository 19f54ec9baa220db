"""Rows that are left out over HTTP: reported by place and rule, counted in what is signed, and never with a value."""

import csv
import io
import json

import httpx2
import pytest

from tacit import Problem, verify
from tacit.certificate import KeySet
from tests.attacks.laid_bare import rows as stored
from tests.world import ROWS

CANARY = "canary0041791234567"
HEAD = b"patient_id,name,hours,income,sex\n"
BAD = [
    (f"{CANARY},n,{CANARY},1.00,F", ("hours", "not-an-integer")),  # the reader's, a conversion
    (f"{CANARY},n,1,1.001,F", ("income", "finer-than-step")),
    (f",{CANARY},1,1.00,F", ("patient_id", "null")),  # a person's id is never null (soundness R3)
    (f'" ",{CANARY},1,1.00,F', ("patient_id", "identifier-missing")),  # the policy's
    (f"{CANARY},n", (None, "ragged")),
    (f"P-1,n,1,1.00,{CANARY}", ("sex", "not-a-category")),
    (f"P-1,{CANARY}\0,1,1.00,F", ("name", "nul")),
    (f"P-1,{CANARY}\udcff,1,1.00,F", ("name", "not-utf-8")),
]
GOOD = "P-{},n,5,1.00,F"


def mixed(every=3):
    """Return a file with bad rows among good ones, and where they are."""
    lines, places = [], []
    for index, (line, (column, rule)) in enumerate(BAD):
        lines += [GOOD.format(f"{index}-{one}") for one in range(every)] + [line]
        places.append({"row": len(lines), **({"column": column} if column else {}), "rule": rule})
    return HEAD + "\n".join(lines).encode("utf-8", "surrogateescape"), places, len(lines) - len(BAD)


def report(world, role, dataset, upload, **options):
    headers = {"Authorization": f"Bearer {world.tokens[role]}", **options.pop("headers", {})}
    return httpx2.get(f"{world.url}/v1/datasets/{dataset}/uploads/{upload}/rejected", headers=headers, **options)


@pytest.mark.attack("I9")
@pytest.mark.attack("I11")
def test_i9_i10_i11_skip_keeps_the_good_rows_and_reports_the_others_by_place_and_rule(world):
    dataset = world.dataset(world.population())
    body, places, good = mixed()
    with pytest.raises(Problem) as refused:
        world.partner.upload(dataset, body, media_type="text/csv")
    assert refused.value.code == "rows-refused"
    assert CANARY not in str(refused.value.errors)
    made = world.partner.upload(dataset, body, media_type="text/csv", on_error="skip")
    assert (made["rows"], made["rejected_rows"], made["rejected"]) == (good, len(BAD), places)
    held = verify(made["receipt"], KeySet.from_json(world.partner.signing_keys(), source="service"))
    assert held.type == "receipt"
    receipt = made["receipt"]
    assert (receipt["rows"], receipt["rejected_rows"], receipt["mode"]) == (good, len(BAD), "append")
    assert receipt["columns"][0] == {"name": "patient_id", "technique": "pseudonymize", "stored": good}
    assert receipt["columns"][1] == {"name": "name", "technique": "suppress", "stored": 0}
    assert world.partner.get_rejected(dataset, made["id"]) == {
        "upload": made["id"],
        "rejected_rows": len(BAD),
        "rejected": places,
    }
    for options in ({"headers": {"Accept": "text/csv"}}, {"params": {"format": "csv"}}):
        told = report(world, "owner", dataset, made["id"], **options)
        assert told.headers["content-type"].startswith("text/csv")
        table = list(csv.DictReader(io.StringIO(told.text)))
        assert table == [{"row": str(p["row"]), "column": p.get("column", ""), "rule": p["rule"]} for p in places]
    assert len(list(world.owner.iterate_rows(dataset, purpose="check"))) == good
    for table in ("uploads", "audit", "heads"):
        assert CANARY not in json.dumps([list(map(str, row)) for row in stored(world.desk, f"SELECT * FROM {table}")])


def test_the_report_is_its_partner_s_and_the_owner_s(small_world):
    world = small_world
    dataset = world.dataset(world.population())
    made = world.partner.upload(dataset, mixed()[0], media_type="text/csv", on_error="skip")
    other, client = world.newcomer("other", "partner")
    world.owner.put_grant(dataset, other, ["upload"])
    with pytest.raises(Problem) as refused:
        client.get_rejected(dataset, made["id"])
    assert refused.value.status == 404
    assert report(world, "operator", dataset, made["id"]).status_code == 403
    whole = client.upload(dataset, ROWS, media_type="text/csv", on_error="skip")
    assert client.get_rejected(dataset, whole["id"])["rejected"] == []


@pytest.mark.attack("I14")
def test_i14_a_replay_of_a_skipping_upload_gets_the_same_receipt(world):
    dataset = world.dataset(world.population())
    body = mixed()[0]
    options = {"media_type": "text/csv", "on_error": "skip", "idempotency_key": "k"}
    first = world.partner.upload(dataset, body, **options)
    assert world.partner.upload(dataset, body, **options) == first
    with pytest.raises(Problem) as refused:
        world.partner.upload(dataset, body, media_type="text/csv", idempotency_key="k", on_error="refuse")
    assert refused.value.code == "idempotency-conflict", "the form is part of the request"
    assert len(list(world.partner.list_uploads(dataset))) == 1


def test_beyond_its_bound_the_whole_upload_is_refused_and_leaves_nothing(world):
    dataset = world.dataset(world.population())
    body, places, good = mixed()
    made = world.partner.upload(dataset, body, media_type="text/csv", on_error="skip", max_rejected=len(BAD))
    assert made["rows"] == good
    with pytest.raises(Problem) as refused:
        world.partner.upload(dataset, body, media_type="text/csv", on_error="skip", max_rejected=len(BAD) - 1)
    assert refused.value.code == "rows-refused"
    assert [one["row"] for one in refused.value.errors] == sorted(p["row"] for p in places)
    assert len(list(world.partner.list_uploads(dataset))) == 1
    with pytest.raises(Problem) as refused:
        world.partner.upload(dataset, body, media_type="text/csv", on_error="skip", max_rejected=10_001)
    assert refused.value.status == 422


def test_numbers_stay_those_of_the_file_across_row_groups_and_all_are_in_the_report(small_world):
    """More bad rows than a reply lists, in every row group, some of the reader's, some of the policy's."""
    world = small_world
    dataset = world.dataset(world.population(), max_rows=200_000)
    lines = [b"P-%d,n,5,1.00,F" % one for one in range(140_000)]
    kinds = (b"P,n,x,1.00,F", b"\xc2\xa0,n,5,1.00,F", b"P")
    bad = {index: kinds[index % 3] for index in range(0, 140_000, 700)}
    for index, line in bad.items():
        lines[index] = line
    made = world.partner.upload(dataset, HEAD + b"\n".join(lines), media_type="text/csv", on_error="skip")
    assert (made["rows"], made["rejected_rows"], len(made["rejected"])) == (140_000 - 200, 200, 100)
    whole = world.partner.get_rejected(dataset, made["id"])["rejected"]
    assert [one["row"] for one in whole] == [index + 1 for index in bad]
    assert made["rejected"] == whole[:100]


def test_a_file_of_bad_rows_alone_is_an_upload_of_none(world):
    population, dataset = world.filled()
    body = HEAD + b"P,n,x,1.00,F\n" + b" ,n,5,1.00,F\n" * 3
    made = world.partner.upload(dataset, body, media_type="text/csv", on_error="skip")
    assert (made["rows"], made["rejected_rows"]) == (0, 4)
    assert len(list(world.owner.iterate_rows(dataset, purpose="check"))) == 200
    asked = world.analyst.ask(dataset, {"select": [{"count": {}, "as": "n"}], "epsilon": "4"})
    assert abs(int(asked.document["groups"][0]["values"][0]["value"]) - 200) < 40
    assert population


def test_what_ends_the_file_refuses_the_whole_in_either_way(small_world):
    dataset = small_world.dataset(small_world.population())
    for body, code in (
        (HEAD + b'P-1,"n"x,5,1.00,F\nP-2,n,5,1.00,F\n', "rows-refused"),
        (HEAD + b'P-1,"n,5,1.00,F\nP-2,n,5,1.00,F\n', "rows-refused"),
        (b"patient_id,name\nP-1,n\n", "invalid"),
        (b"", "invalid"),
    ):
        with pytest.raises(Problem) as refused:
            small_world.partner.upload(dataset, body, media_type="text/csv", on_error="skip")
        assert refused.value.code == code
    assert list(small_world.partner.list_uploads(dataset)) == []


def test_max_rows_counts_the_rows_that_are_kept(small_world):
    dataset = small_world.dataset(small_world.population(), max_rows=3)
    good, bad = b"P,n,5,1.00,F\n", b"P,n,x,1.00,F\n"
    made = small_world.partner.upload(dataset, HEAD + bad * 5 + good * 3, media_type="text/csv", on_error="skip")
    assert made["rows"] == 3
    with pytest.raises(Problem) as refused:
        small_world.partner.upload(dataset, HEAD + bad + good, media_type="text/csv", on_error="skip")
    assert refused.value.code == "too-large"
