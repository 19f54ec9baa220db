"""Soundness R24: the system's keys have versions; what an earlier one made is good until it is ended (C5, C9)."""

import json

import httpx2
import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.errors import Invalid, Unauthenticated
from app.operations import checkpoints, janitor, keychain, principals, purposes, webhooks
from app.store import webhooks as webhook_rows
from tacit import verify
from tacit.certificate import KeySet
from tests.attacks.laid_bare import count_question
from tests.attacks.test_audit import _verdict
from tests.attacks.test_rotation import open_fresh
from tests.world import ROOT_KEY, ROWS


def _command(world, *args):
    told = {"FOLDER": world.settings.folder, "DATABASE_URL": world.settings.database(), "ROOT_KEY": ROOT_KEY}
    ran = CliRunner().invoke(cli, ["rotate", *args], env={f"TACIT_{name}": str(value) for name, value in told.items()})
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def _key_set(world):
    return KeySet.from_json(httpx2.get(f"{world.url}/v1/signing-keys").json(), source="fetched just now")


@pytest.mark.attack("C5")
def test_r24_documents_verify_for_ever_and_new_ones_are_signed_with_the_new_key(small_world):
    _, dataset = small_world.filled()
    old = next(iter(small_world.owner.list_uploads(dataset)))["receipt"]
    assert _command(small_world, "--purpose", "signing", "--dry-run") == {"purpose": "signing", "before": 1, "now": 1}
    assert len(httpx2.get(f"{small_world.url}/v1/signing-keys").json()["keys"]) == 1
    assert _command(small_world, "--purpose", "signing") == {"purpose": "signing", "before": 1, "now": 2}
    assert len(httpx2.get(f"{small_world.url}/v1/signing-keys").json()["keys"]) == 2, "a running service shows it at once"
    small_world.serve()
    new = small_world.client("partner").upload(dataset, ROWS, media_type="text/csv")["receipt"]
    assert old["key_id"] != new["key_id"]
    for receipt in (old, new):
        assert verify(json.dumps(receipt), _key_set(small_world)).type == "receipt"


@pytest.mark.attack("C9")
def test_r24_old_tokens_work_until_their_pepper_is_ended_and_new_ones_work_everywhere(world):
    made_before = world.tokens["analyst"]
    _command(world, "--purpose", "pepper")
    with open_fresh(world) as other:
        admin = principals.authenticate(other, world.tokens["operator"])
        made = principals.create_token(other, admin, world.ids["owner"], scopes=[], expires_at=None, claim=None)["token"]
        assert principals.authenticate(other, made_before).role == "analyst"
        peppers = list(keychain.every_system_key(other, "pepper"))
    assert len(set(peppers)) == 2
    assert principals.authenticate(world.desk, made).role == "owner", "a process that started before takes it"
    said = _command(world, "--purpose", "pepper", "--destroy-retired", "--dry-run")
    assert (said["versions"], said["tokens_that_end"]) == (1, 6)
    assert principals.authenticate(world.desk, made_before)
    _command(world, "--purpose", "pepper", "--destroy-retired")
    janitor.sweep(world.desk, alone=False)
    with pytest.raises(Unauthenticated):
        principals.authenticate(world.desk, made_before)
    assert principals.authenticate(world.desk, made).role == "owner"


def test_r24_what_was_paid_and_what_was_shared_opens_over_a_new_version(small_world):
    _, dataset = small_world.filled()
    before = small_world.analyst.ask(dataset, count_question(1))
    hook = small_world.partner.create_webhook("https://partner.example/tacit", events=["upload.ready"])
    for purpose in ("answers", "webhooks"):
        _command(small_world, "--purpose", purpose)
    assert small_world.analyst.ask(dataset, count_question(1)).rows() == before.rows()
    with open_fresh(small_world) as other:
        assert len(list(keychain.every_system_key(other, "answers"))) == 2
        small_world.serve()
        asked = small_world.client("analyst").ask(dataset, count_question(2))
        with small_world.desk.database.read() as tx:
            row = webhook_rows.find(tx, small_world.ids["partner"], hook["id"])
        assert webhooks._opened(small_world.desk, row, row.secret).reveal() == webhooks._opened(other, row, row.secret).reveal()
    assert small_world.analyst.ask(dataset, count_question(2)).rows() == asked.rows(), "a process that started before opens it"


@pytest.mark.parametrize("purpose", ["authority", "audit", "idempotency", "pseudonyms", "bounding", "no-purpose"])
def test_r3_r24_what_is_fixed_is_refused_by_name(small_world, purpose):
    with pytest.raises(Invalid, match="signing, pepper, answers, webhooks"):
        purposes.rotate_purpose(small_world.desk, purpose, dry_run=False)
    with pytest.raises(Invalid, match="done for pepper"):
        purposes.end_earlier(small_world.desk, "signing", dry_run=False)


@pytest.mark.attack("C10")
def test_r24_checkpoints_of_an_earlier_signing_key_count(small_world):
    """Those of a running process and those of one that signs with the newer key stand in one log."""
    population = small_world.population()
    assert checkpoints.make(small_world.desk, at_once=True) == 1
    _command(small_world, "--purpose", "signing")
    small_world.dataset(population)
    with open_fresh(small_world) as other:
        assert other.signer.key_id != small_world.desk.signer.key_id
        assert checkpoints.make(other, at_once=True) == 1
    said = _verdict(small_world)
    assert (said["why"], said["first_bad"], said["checkpoints"]) == (None, None, 4), "two, inside and outside"
