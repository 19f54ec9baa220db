"""Threat C1: a thousand canaries go in by every way there is; a thief of all that is stored finds none of them."""

import base64
import gzip
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from app.operations import checkpoints
from tacit import sealing
from tests.attacks.canaries import Search, forms_of, integers, texts
from tests.attacks.laid_bare import every_cell, execute
from tests.attacks.test_routes import HTTP, _tally, paillier_key, tus_headers
from tests.attacks.test_stored_data import _copied

SCHEMA = [
    {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
    {"name": "mail", "type": "text", "identifier": "email"},
    {"name": "name", "type": "text"},
    {"name": "phone", "type": "text"},
    {"name": "notes", "type": "text"},
    {"name": "ssn", "type": "text"},
    {"name": "town", "type": "text"},
    {"name": "account", "type": "integer", "lower": 0, "upper": 10**18},
    {"name": "hours", "type": "integer", "lower": 0, "upper": 99},
]
POLICY = {
    "patient_id": {"technique": "pseudonymize"},
    "mail": {"technique": "pseudonymize"},
    "name": {"technique": "suppress"},
    "phone": {"technique": "mask", "keep_last": 2},
    "notes": {"technique": "encrypt", "key": "clinic-notes"},
    "ssn": {"technique": "seal", "recipient": "registry"},
    "town": {"technique": "keep"},
    "account": {"technique": "keep"},
    "hours": {"technique": "keep"},
}
NAMES = [column["name"] for column in SCHEMA]


class Supply:
    """Canaries, each given out once."""

    def __init__(self, seed):
        self.texts, self.integers = texts(1000, seed=seed), integers(200, seed=seed)
        self._next = iter(self.texts), iter(self.integers)

    def text(self):
        return next(self._next[0])

    def row(self):
        told = {name: self.text() for name in NAMES if name not in {"mail", "account", "hours"}}
        return told | {"mail": f"{self.text()}@example.org", "account": next(self._next[1]), "hours": 7}

    def rows(self, count):
        return [self.row() for _ in range(count)]

    def rest(self):
        return list(self._next[0])


def _csv(rows):
    return ("\n".join([",".join(NAMES), *(",".join(str(row[name]) for name in NAMES) for row in rows)]) + "\n").encode()


def _lines(rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


def _parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def _told(world, supply):
    """Send canaries by every way that something is stored from; what is left over is encrypted for a microservice."""
    world.owner.create_key("clinic-notes", kind="encryption")
    public = sealing.generate(sealing.Kem.X25519).public_key.to_json()
    world.owner.create_key("registry", kind="recipient", public_key=public)
    population = world.population(epsilon="1000")
    dataset = world.dataset(population, schema=SCHEMA, policy=POLICY)
    world.owner.put_grant(dataset, world.ids["service"], ["export", "open:clinic-notes"])
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="100")
    world.partner.create_webhook("https://localhost:9/hook", ["upload.ready", "upload.failed"])
    kept = supply.rows(8)
    send = world.partner.upload
    send(dataset, _csv(kept), media_type="text/csv", idempotency_key=supply.text())
    send(dataset, _lines(supply.rows(8)), media_type="application/x-ndjson")
    send(dataset, json.dumps(supply.rows(8)).encode(), media_type="application/json")
    send(dataset, _parquet(supply.rows(8)), media_type="application/vnd.apache.parquet")
    send(dataset, gzip.compress(_csv(supply.rows(8))), media_type="text/csv", encoding="gzip")
    token = {"Authorization": f"Bearer {world.tokens['partner']}"}
    address = f"{world.url}/v1/datasets/{dataset}/uploads"
    form = {"file": (supply.text() + ".csv", _csv(supply.rows(8)), "text/csv")}
    assert HTTP.post(address, files=form, headers=token).status_code == 201
    job = HTTP.post(
        address, content=_csv(supply.rows(8)), headers=token | {"Content-Type": "text/csv", "Prefer": "respond-async"}
    ).json()
    assert world.partner.wait_job(job["id"])["state"] == "done"
    send(dataset, _csv(supply.rows(8)), media_type="text/csv", resumable=True)
    _unfinished(world, dataset, token, supply)
    _refused(world, dataset, supply)
    _asked(world, dataset, population, supply)
    exported = list(world.service.iterate_rows(dataset, purpose="check", open=["notes"]))
    assert [exported[0][name] for name in ("notes", "town")] == [kept[0][name] for name in ("notes", "town")], "it is all there"
    items = [{"text": one, "associated_data": other} for one, other in zip(*[iter(supply.rest())] * 2, strict=False)]
    world.owner.put_key_grant("clinic-notes", world.ids["service"], ["encrypt", "decrypt"])
    sealed = world.service.encrypt("clinic-notes", items)["items"]
    opened = [
        {"ciphertext": one["ciphertext"], "associated_data": of["associated_data"]} for one, of in zip(sealed, items, strict=True)
    ]
    assert world.service.decrypt("clinic-notes", opened)["items"][0]["text"] == items[0]["text"]
    return dataset


def _unfinished(world, dataset, token, supply):
    """A file that waits for its rest, with what its sender says of it; and one that cannot be read."""
    named = base64.b64encode(f"{supply.text()}.csv".encode()).decode()
    for body, length in ((_csv(supply.rows(8)), 10**6), (b"%PDF" + _csv(supply.rows(2)), None)):
        headers = token | tus_headers(dataset, length or len(body))
        headers["Upload-Metadata"] = f"dataset {base64.b64encode(dataset.encode()).decode()},filename {named}"
        made = HTTP.post(f"{world.url}/v1/files", headers=headers)
        assert made.status_code == 201
        sent = token | {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert HTTP.patch(world.url + made.headers["location"], content=body, headers=sent).status_code == 204


def _refused(world, dataset, supply):
    """Rows that are left out, and uploads that are refused whole."""
    bad = [row | {"hours": supply.text()} for row in supply.rows(4)]
    made = world.partner.upload(dataset, _csv([*bad, *supply.rows(1)]), media_type="text/csv", on_error="skip")
    assert made["rejected_rows"] == 4
    token = {"Authorization": f"Bearer {world.tokens['partner']}", "Idempotency-Key": supply.text()}
    for body, kind in (
        (_csv(bad), "text/csv"),
        (_lines(bad), "application/x-ndjson"),
        (_parquet(bad), "application/vnd.apache.parquet"),
    ):
        told = HTTP.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=body, headers=token | {"Content-Type": kind})
        assert told.status_code == 422


def _asked(world, dataset, population, supply):
    """Answers under canaried keys, a contribution, a pseudonymised identifier."""
    asked = {"select": [{"count": {}, "as": "n"}], "where": {"column": "hours", "op": ">=", "value": 3}}
    world.analyst.ask(dataset, asked, epsilon="0.5", idempotency_key=supply.text())
    panel = world.population(name="panel", unit="contributor")
    key = paillier_key()
    tally = world.analyst.create_tally(_tally(panel, [world.ids["partner"]], key), idempotency_key=supply.text())["id"]
    world.partner.contribute(tally, {"x": 3}, fingerprint=key.key_id)
    apart = world.population(name="apart")
    world.owner.put_population_grant(apart, world.ids["service"], ["pseudonymize"])
    identifiers = [{"text": supply.text()} for _ in range(20)]
    assert len(world.service.pseudonymize(apart, kind="patient-id", items=identifiers)["items"]) == 20
    world.operator.create_token(world.ids["partner"], idempotency_key=supply.text())


def _loot(world):
    """All that a thief could carry away, by name: cells, files of the folder, all tables as in a dump, the server's own files."""
    loot = {"cells": every_cell(world.desk)}
    for path in world.settings.folder.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            loot[str(path.relative_to(world.settings.folder))] = path.read_bytes()
    if not world.desk.database.embedded:
        execute(world.desk, "CHECKPOINT")
        loot["dump"] = _copied(world)
        with world.desk.database.read() as tx:
            data = Path(str(tx.scalar(sa.text("SHOW data_directory"))))
            number = tx.scalar(sa.text("SELECT oid FROM pg_database WHERE datname = current_database()"))
            log = str(tx.scalar(sa.text("SELECT pg_walfile_name(pg_current_wal_lsn())")))
        for path in [*(data / "base" / str(number)).iterdir(), data / "pg_wal" / log]:
            loot[f"{path.parent.name}/{path.name}"] = path.read_bytes()
    return loot


@pytest.mark.attack("C1")
def test_c1_a_thousand_canaries_by_every_way_and_none_in_what_a_thief_gets(world):
    supply = Supply(seed=int.from_bytes(os.urandom(4), "big"))
    _told(world, supply)
    checkpoints.make(world.desk, at_once=True)
    search = Search(forms_of([*supply.texts, *supply.integers]))
    loot = _loot(world)
    assert {name: found for name, content in loot.items() if (found := search.hits(content))} == {}
    names = "\n".join(loot)
    assert all(one in names for one in ("cells", "checkpoints.jsonl")), names
    for one in ("tacit", "-wal", "jobs.sqlite") if world.desk.database.embedded else ("dump", "/"):
        assert one in names, names
    everything = b"".join(loot.values())
    assert b"clinic-notes" in everything
    _planted(world, supply, search)


def _planted(world, supply, search):
    """The search is one that finds: each form of a canary, put into the database as it is, is found in cells and files."""
    canary, number = supply.texts[0], supply.integers[0]
    forms = [form for one in (canary, number) for form in forms_of([one])]
    for form in forms:
        with world.desk.database.write() as tx:
            tx.execute(sa.text("UPDATE ledger SET answer = :f"), {"f": b"some " + form + b" more"})
        cells = every_cell(world.desk)
        assert search.hits(cells) & {canary, str(number)}, form
    execute(world.desk, "UPDATE organisations SET name = :n", n=canary)
    found = {name for name, content in _loot(world).items() if canary in search.hits(content)}
    database = (
        {name for name in found if "tacit" in name} if world.desk.database.embedded else {name for name in found if "/" in name}
    )
    assert database, found
    assert "cells" in found
    assert world.desk.database.embedded or "dump" in found


def test_the_search_finds_each_form_at_each_place_and_nothing_else():
    one, number = texts(1, seed=1)[0], integers(1, seed=1)[0]
    search = Search(forms_of([*texts(1000, seed=2), one, number]))
    noise = os.urandom(1 << 16)
    assert search.hits(noise) == set()
    for form, whose in forms_of([one, number]).items():
        for place in (0, 1, 7, 1000, len(noise)):
            assert search.hits(noise[:place] + form + noise[place:]) == {whose}, form
    for text in (
        f"a{one}b",
        one.encode("utf-16-le").hex(),
        base64.b64encode(b"xy" + one.encode()).decode(),
        base64.urlsafe_b64encode(one.encode()).decode(),
    ):
        assert search.hits(text.encode()) == {one}
