"""The formats of what is stored, chained and sent around the ciphers: written once, readable for ever (docs/formats.md)."""

import hashlib
import hmac
import json
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.clock import rfc3339
from app.crypto import aead, named, prf
from app.crypto.aead import DataKey
from app.crypto.webhook_secret import WebhookSecret
from app.deidentification import cells
from app.dp import bounding
from app.operations import anchors, answer, audit, authority, backups, manifest, payment, webhooks
from app.outside.anchors import Mark, _line
from app.store import tables
from app.table import chunk
from tacit import audit as public_audit
from tacit.certificate import canonical
from tacit.paillier import private
from tacit.paillier.public import PublicKey
from tests.unit.crypto.test_golden_vectors import cases

_hex = bytes.fromhex


def _desk(purpose: str, key: bytes) -> Any:
    """A desk that holds one of the system's keys and nothing else."""

    def purpose_key(asked: str, *, organisation: str, scope: str, version: int = 1) -> bytes:
        assert (asked, organisation, scope, version) == (purpose, "system", "", 1)
        return key

    def purpose_versions(asked: str, *, organisation: str, scope: str) -> tuple[int, ...]:
        assert (asked, organisation, scope) == (purpose, "system", "")
        return (1,)

    return SimpleNamespace(keyring=SimpleNamespace(purpose_key=purpose_key, purpose_versions=purpose_versions))


@pytest.mark.parametrize("case", cases("columns"))
def test_columns_open_as_ever(case: dict[str, Any]) -> None:
    context = chunk.ChunkContext(**case["context"])
    column = chunk.open_column(DataKey.of(_hex(case["data_key"])), _hex(case["sealed"]), context)
    values = [one.hex() if isinstance(one, bytes) else one for one in column.to_pylist()]
    assert values == case["values"]
    if sealed := case.get("cells"):
        place = {"organisation": sealed["organisation"], "name": sealed["name"]}
        opener = named.Opener({sealed["version"]: _hex(sealed["key"])}.get, **place)
        opened = [
            None if one is None else opener.open(*one, sealed["associated_data"].encode()).hex() for one in cells.split(column)
        ]
        assert opened == sealed["values"]


@pytest.mark.parametrize("case", cases("row_macs"))
def test_macs_over_rows_hold_as_ever(case: dict[str, Any]) -> None:
    key = _hex(case["key"])
    if case["form"] == "row":
        read = {"b": _hex, "d": datetime.fromisoformat}
        fields = [(name, read[kind](value) if kind in read else value) for name, kind, value in case["fields"]]
        fields = [
            (name, bool(value) if kind == "t" else value)
            for (name, value), (_, kind, _) in zip(fields, case["fields"], strict=True)
        ]
        row = type(case["table"], (), {"authority_fields": lambda _: fields, "mac": _hex(case["mac"])})()
        assert authority.believe(_desk("authority", key), row) is row
        written: list[Any] = [f"tacit/{case['table']}/1"]
        for name, kind, value in case["fields"]:
            plain = {"n": "", "t": int(bool(value)), "b": b"" if kind != "b" else _hex(value)}.get(kind, value)
            written += [name, kind, rfc3339(datetime.fromisoformat(value)) if kind == "d" else plain]
        assert hmac.digest(key, aead.context(*written), "sha256").hex() == case["mac"]
    elif case["form"] == "manifest":
        blob = case["blob"].encode()
        assert manifest.manifest_mac(_desk("authority", key), blob).hex() == case["mac"]
        read = manifest.Manifest.from_bytes(blob)
        assert [[one.rows, one.data_key_id, one.generation, *one.tags] for one in read.groups] == case["groups"]
        assert (read.to_bytes() == blob) == ("format" in json.loads(blob)), "format 1 is read for ever, and written no more"
        assert manifest.Manifest.from_bytes(read.to_bytes()) == read
    else:
        told = case["entry"]
        entry = tables.AuditEntry(
            organisation_id=told["organisation"],
            ordinal=told["ordinal"],
            at=datetime.fromisoformat(told["at"]),
            principal_id=told["principal"],
            action=told["action"],
            object_id=told["object"],
            detail=json.dumps(told["detail"], sort_keys=True),
        )
        assert audit._mac(_desk("audit", key), entry, _hex(case["before"])).hex() == case["mac"]


@pytest.mark.parametrize("case", cases("audit"))
def test_digests_of_audit_and_ledger_entries_are_as_ever(case: dict[str, Any]) -> None:
    entry = case["entry"]
    if case["form"] == "entry":
        assert public_audit.entry_digest(_hex(case["before"]), entry).hex() == case["digest"]
        written = b"tacit/audit-entry/1\0" + _hex(case["before"]) + canonical(entry)
    else:
        assert public_audit.ledger_digest({**entry, "state": "another"}).hex() == case["digest"]
        written = b"tacit/ledger-entry/1\0" + canonical({name: value for name, value in entry.items() if name != "state"})
    assert hashlib.sha256(written).hexdigest() == case["digest"]


@pytest.mark.parametrize("case", cases("paillier"))
def test_paillier_keys_and_ciphertexts_open_as_ever(case: dict[str, Any]) -> None:
    key = private.from_jwk(case["private"])
    assert (key.as_jwk(), key.public.as_jwk(), key.public.key_id) == (case["private"], case["public"], case["key_id"])
    public = PublicKey.from_jwk(case["public"], minimum_bits=2048)
    for one in case["opened"]:
        ciphertext = public.check_ciphertext(public.from_wire(one["ciphertext"]))
        assert str(key.decrypt(ciphertext)) == one["plaintext"]
        assert public.to_wire(ciphertext) == one["ciphertext"]


@pytest.mark.parametrize("case", cases("webhooks"))
def test_webhook_secrets_sign_and_open_as_ever(case: dict[str, Any]) -> None:
    row = tables.Webhook(id=case["webhook"], organisation_id=case["organisation"])
    secret = webhooks._opened(_desk("webhooks", _hex(case["purpose_key"])), row, _hex(case["stored"]))
    assert (secret.raw.hex(), secret.reveal()) == (case["raw"], case["text"])
    assert (
        WebhookSecret(_hex(case["raw"])).sign(case["id"], datetime.fromisoformat(case["at"]), case["body"].encode())
        == case["signature"]
    )


@pytest.mark.parametrize("case", cases("answers"))
def test_stored_answers_open_as_ever(case: dict[str, Any]) -> None:
    entry = tables.LedgerEntry(**case["entry"], answer=_hex(case["stored"]))
    assert answer._opened_answer(_desk("answers", _hex(case["purpose_key"])), entry) == case["answer"]
    asked, dataset = case["asked"], tables.Dataset(id=case["asked"]["dataset"])
    planned: Any = SimpleNamespace(digest=_hex(asked["plan_digest"]))
    assert payment._question_key(dataset, asked["version"], planned) == case["question_key"]


@pytest.mark.parametrize("case", cases("bounding"))
def test_the_rows_that_count_are_as_ever(case: dict[str, Any]) -> None:
    def halves(parts: list[str]) -> Any:
        return np.frombuffer(b"".join(map(_hex, parts)), dtype="<u8").reshape(-1, 2).astype(np.uint64)

    people, places, uids = zip(*case["rows"], strict=True)
    numbers = np.arange(len(people), dtype=np.int64)
    rows = bounding.Rows(halves(people), halves(uids), np.array(places, dtype=np.int16), (numbers,), (None,))
    limits = {name: case[name] for name in ("partitions", "contributions", "cells")}
    key, digest = _hex(case["key"]), _hex(case["digest"])
    kept = bounding.bound(rows, **limits, key=key, digest=digest)
    assert sorted(int(one) for one in kept.values[0]) == case["kept"] == _kept_by_hand(case, key, digest)


def _kept_by_hand(case: dict[str, Any], key: bytes, digest: bytes) -> list[int]:
    """Soundness R7 in so many words."""
    kg, kr = (hmac.digest(key, digest + letter, "sha256").hex().encode() for letter in (b"g", b"r"))

    def rank(of: bytes, message: bytes) -> bytes:
        return prf.hmac_sha256(of, message)[:8]

    kept: list[int] = []
    for person in {row[0] for row in case["rows"]}:
        own = [(place, cell, _hex(uid)) for place, (whose, cell, uid) in enumerate(case["rows"]) if whose == person]
        cell_bytes = {cell: cell.to_bytes(2, "big") for _, cell, _ in own}
        best = sorted(cell_bytes, key=lambda cell: rank(kg, _hex(person) + cell_bytes[cell]))[: case["partitions"]]
        for cell in best:
            there = [(place, uid) for place, at, uid in own if at == cell]
            there.sort(key=lambda one: rank(kr, _hex(person) + cell_bytes[cell] + one[1]))
            kept += [place for place, _ in there[: case["contributions"]]]
    return sorted(kept)


@pytest.mark.parametrize("case", cases("anchors"))
def test_marks_and_manifests_of_backups_have_the_macs_that_they_ever_had(case: dict[str, Any]) -> None:
    key = bytes.fromhex(case["key"])
    if case["form"] == "mark":
        mark = Mark(**json.loads(case["line"]))
        assert anchors.mark_tag(key, mark.component, mark.generation, mark.position, mark.digest).hex() == mark.mac
        assert _line(mark) == case["line"].encode() + b"\n"
    else:
        assert backups.manifest_tag(key, case["manifest"]).hex() == case["manifest"]["mac"]
