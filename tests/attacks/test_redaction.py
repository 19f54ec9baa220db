"""Threats C1, C11, I20 for free text: what was found in it is nowhere afterwards, and its pseudonyms need the key."""

import hashlib
import io
import json
import logging

import pytest

from app.deidentification.redaction.kinds import Kind
from tacit import Problem
from tests.attacks.laid_bare import disguises, every_cell

# Made up: reserved domains and networks, test numbers of cards, examples of the IBAN registry, numbers reserved for fiction.
PLANTED = {
    Kind.EMAIL: "quillon.vexley@example.com",
    Kind.PHONE: "+44 7700 900461",
    Kind.CARD: "4012 8888 8888 1881",
    Kind.IBAN: "GB29 NWBK 6016 1331 9268 19",
    Kind.NATIONAL_ID: "86 095 742 719",
    Kind.IP: "2001:db8:77:aa::91",
    Kind.URL: "https://quillon.example.org/vexley?id=77",
    Kind.DATE: "27 September 1961",
}
SCHEMA = [
    {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
    {"name": "mail", "type": "text", "identifier": "email"},
    {"name": "notes", "type": "text"},
]


def made(world, **members):
    policy = {
        "patient_id": {"technique": "pseudonymize"},
        "mail": {"technique": "pseudonymize"},
        "notes": {"technique": "redact_text", **members},
    }
    known = list(world.owner.list_populations())
    population = known[0]["id"] if known else world.population()
    return world.dataset(population, name=f"notes-{len(list(world.owner.list_datasets()))}", schema=SCHEMA, policy=policy)


def lines(*notes):
    return b"".join(
        json.dumps({"patient_id": f"P-{i}", "mail": PLANTED[Kind.EMAIL].upper(), "notes": note}).encode() + b"\n"
        for i, note in enumerate(notes)
    )


def writings(value):
    """Return the forms in which a value could still be there: as written, and without what sets its groups off."""
    bare = value.replace(" ", "")
    return [form for text in {value, bare, bare.lower(), bare.upper()} for form in disguises(text)]


@pytest.mark.attack("C1")
@pytest.mark.attack("C11")
@pytest.mark.parametrize("replace", ["type", "pseudonym"])
def test_c1_c11_nothing_planted_in_a_text_is_in_the_store_the_export_the_log_or_a_refusal(world, caplog, replace):
    caplog.set_level(logging.DEBUG)
    dataset = made(world, replace=replace, country="GB")
    notes = [f"She wrote ({value}), twice: {value}." for value in PLANTED.values()]
    notes += [" and ".join(PLANTED.values()), None, "nothing here", ""]
    told = [json.dumps(world.partner.upload(dataset, lines(*notes), media_type="application/x-ndjson"), default=str)]
    for broken in (
        lines(*notes).replace(b'"notes"', b'"note"'),
        lines(*notes)[:-20],
        lines("x", *notes).replace(b'"P-0"', b"null"),
    ):
        with pytest.raises(Problem) as refused:
            world.partner.upload(dataset, broken, media_type="application/x-ndjson")
        told.append(f"{refused.value} {refused.value.errors}")

    world.owner.put_grant(dataset, world.ids["service"], ["export"])
    exported = [row["notes"] for row in world.service.iterate_rows(dataset, purpose="check")]
    assert exported[-3:] == [None, "nothing here", ""]
    for kind, text in zip(PLANTED, exported, strict=False):
        assert text.startswith(f"She wrote ([{kind}"), text
        assert text.count(f"[{kind}") == 2, text

    places = {
        "store": every_cell(world.desk),
        "export": "\n".join(map(str, exported)).encode(),
        "replies": "\n".join(told).encode(),
        "log": "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("app")).encode(),
    }
    for path in world.settings.folder.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            places[path.name] = path.read_bytes()
    assert "notes" in places["store"].decode("utf-8", "replace"), "the search finds what is there"
    found = [
        (name, kind)
        for kind, value in PLANTED.items()
        for form in writings(value)
        for name, text in places.items()
        if form in text
    ]
    assert found == []


@pytest.mark.attack("I20")
def test_i20_pseudonyms_in_texts_are_the_population_s_and_no_bare_hash_finds_them(small_world):
    dataset = made(small_world, find=["email"], replace="pseudonym")
    small_world.partner.upload(dataset, lines(f"ask {PLANTED[Kind.EMAIL]}"), media_type="application/x-ndjson")
    small_world.owner.put_grant(dataset, small_world.ids["service"], ["export"])
    (row,) = small_world.service.iterate_rows(dataset, purpose="check")
    assert row["notes"] == f"ask [email:{row['mail']}]", "the same pseudonym as in a column of e-mail addresses"
    for name in ("sha256", "sha1", "md5", "sha512"):
        for text in (PLANTED[Kind.EMAIL], f"email{PLANTED[Kind.EMAIL]}", f"email:{PLANTED[Kind.EMAIL]}"):
            assert hashlib.new(name, text.encode()).hexdigest()[:32] not in row["notes"]


def test_a_redacted_column_is_told_in_the_receipt_and_not_asked_about(small_world):
    dataset = made(small_world, find=["phone", "email"], country="GB")
    shown = small_world.owner.get_dataset(dataset)["policy"]["notes"]
    assert shown == {"technique": "redact_text", "find": ["email", "phone"], "replace": "type", "country": "GB"}
    upload = small_world.partner.upload(dataset, lines("call 020 7946 0018", None), media_type="application/x-ndjson")
    assert {"name": "notes", "technique": "redact_text", "stored": 1, "nulls": 1} in upload["receipt"]["columns"]
    for question in (
        {"select": [{"count": {}, "as": "n"}], "group_by": ["notes"], "epsilon": "1"},
        {"select": [{"count": {}, "as": "n"}], "where": {"column": "notes", "op": "=", "value": "call [phone]"}, "epsilon": "1"},
    ):
        with pytest.raises(Problem) as refused:
            small_world.owner.ask(dataset, question)
        assert refused.value.status == 422


def test_every_export_shows_the_text_as_it_is_stored(small_world):
    dataset = made(small_world)
    small_world.partner.upload(dataset, lines("from 192.0.2.7 on 2024-05-03"), media_type="application/x-ndjson")
    small_world.owner.put_grant(dataset, small_world.ids["service"], ["export"])
    for form in ("csv", "jsonl", "parquet"):
        into = io.BytesIO()
        small_world.service.export_rows(dataset, into, purpose="check", format=form)
        assert (b"from [ip] on [date]" in into.getvalue()) or form == "parquet"
        assert b"192.0.2.7" not in into.getvalue()


def test_what_is_not_there_is_refused_when_the_dataset_is_made(small_world):
    for members, place, rule in (
        ({"find": ["email", "names"]}, "/policy/notes/find", "unknown-kind"),
        ({"names": True}, "/policy/notes/names", "names-not-available"),
        ({"replace": "hash"}, "/policy/notes/replace", "type-or-pseudonym"),
        ({"country": "ZZ"}, "/policy/notes/country", "unknown-country"),
    ):
        with pytest.raises(Problem) as refused:
            made(small_world, **members)
        assert refused.value.status == 422
        assert {"pointer": place, "rule": rule} in refused.value.errors
    assert list(small_world.owner.list_datasets()) == []
