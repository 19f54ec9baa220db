"""Threats C3, C9, C15 and soundness R24, R30, R32: keys by name, what each verb promises, and who may still use them."""

import base64
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from app.operations import batch, key_verbs, named_keys, standing
from app.operations.desk import Desk
from app.operations.key_verbs import RIGHTS
from tacit import Problem
from tacit.opening import open_value
from tacit.recipient import Kem, generate
from tacit.sealing import NotOpened, from_text
from tests.attacks.laid_bare import every_cell, execute, later, rows
from tests.world import POLICY, ROOT_KEY

ALL = sorted(RIGHTS["encryption"])
DAY = 86_400
ROW = b"patient_id,name,hours,income,sex\nP-1,Name,1,1.00,F\n"


def _key(world, name="notes", kind="encryption"):
    world.owner.create_key(name, kind=kind)
    world.owner.put_key_grant(name, world.ids["service"], sorted(RIGHTS[kind]))
    return name


def _one(reply):
    (item,) = reply["items"]
    return item


def _encrypted(world, text="a note", **more):
    return _one(world.service.encrypt("notes", [{"text": text, **more}]))


def _code(call, *args, **options):
    with pytest.raises(Problem) as told:
        call(*args, **options)
    return told.value.status, told.value.code


# Versions


def test_r24_a_rotated_key_opens_what_it_made_and_makes_under_the_newest(small_world):
    world = small_world
    _key(world)
    first = _encrypted(world)
    shown = world.owner.rotate_key("notes")
    assert (shown["newest_version"], [one["key_version"] for one in shown["versions"]]) == (2, [1, 2])
    second = _encrypted(world)
    assert [first["key_version"], second["key_version"]] == [1, 2]
    told = world.service.decrypt("notes", [{"ciphertext": one["ciphertext"]} for one in (first, second)])["items"]
    assert told == [{"text": "a note", "key_version": 1}, {"text": "a note", "key_version": 2}]


def test_rewrapping_shows_nothing_and_keeps_what_the_value_is_bound_to(small_world):
    world = small_world
    _key(world)
    made = _encrypted(world, associated_data="order-1", context="ann")
    world.owner.rotate_key("notes")
    bound = {"ciphertext": made["ciphertext"], "associated_data": "order-1", "context": "ann"}
    moved = _one(world.service.rewrap("notes", [bound]))
    assert moved.keys() == {"ciphertext", "key_version"}
    assert moved["key_version"] == 2
    opened = _one(world.service.decrypt("notes", [bound | {"ciphertext": moved["ciphertext"]}]))
    assert opened == {"text": "a note", "key_version": 2}
    for change in ({"associated_data": "order-2"}, {"context": "bob"}, {"context": ""}):
        assert _one(world.service.rewrap("notes", [bound | change]))["error"]["code"] == "bad-ciphertext"


def test_min_version_refuses_older_ciphertexts_to_decrypt_and_to_rewrap_until_it_is_lowered(small_world):
    world = small_world
    _key(world)
    old = {"ciphertext": _encrypted(world)["ciphertext"]}
    world.owner.rotate_key("notes")
    new = {"ciphertext": _encrypted(world)["ciphertext"]}
    read = world.owner.get_key("notes")
    assert _code(world.owner.update_key, "notes", min_version=2, if_match='"99"') == (412, "precondition-failed")
    changed = world.owner.update_key("notes", min_version=2, if_match=read.etag)
    assert changed["min_version"] == 2
    assert changed.etag != read.etag
    for verb in (world.service.decrypt, world.service.rewrap):
        refused, taken = verb("notes", [old, new])["items"]
        assert refused["error"]["code"] == "key-version-too-old"
        assert "error" not in taken
    assert _code(world.owner.update_key, "notes", min_version=3, if_match=changed.etag) == (422, "invalid")
    world.owner.update_key("notes", min_version=1, if_match=changed.etag)
    assert _one(world.service.decrypt("notes", [old]))["text"] == "a note"


def test_c3_a_version_that_a_ciphertext_makes_up_opens_nothing(small_world):
    world = small_world
    _key(world)
    sealed = _encrypted(world)["ciphertext"]
    raw = bytearray(base64.urlsafe_b64decode(sealed.removeprefix("tacit:v1:") + "=="))
    for version in (0, 2, 2**32 - 1):
        raw[1:5] = version.to_bytes(4, "big")
        forged = "tacit:v1:" + base64.urlsafe_b64encode(raw).decode().rstrip("=")
        assert "error" in _one(world.service.decrypt("notes", [{"ciphertext": forged}])), version


def test_a_key_that_another_process_rotated_is_used_in_its_newest_version_at_once(world):
    _key(world)
    old = _encrypted(world)
    named_keys.rotate_key(world.desk, world.caller("owner"), "notes", claim=None)  # this desk is not the server's
    assert _encrypted(world)["key_version"] == 2
    assert _one(world.service.decrypt("notes", [{"ciphertext": old["ciphertext"]}]))["text"] == "a note"
    dataset = world.dataset(world.population(), policy={**POLICY, "name": {"technique": "encrypt", "key": "notes"}})
    world.partner.upload(dataset, ROW, media_type="text/csv")
    named_keys.rotate_key(world.desk, world.caller("owner"), "notes", claim=None)
    world.partner.upload(dataset, ROW.replace(b"P-1", b"P-2"), media_type="text/csv")
    opened = world.owner.iterate_rows(dataset, purpose="check", open=["name"])
    assert [row["name"] for row in opened] == ["Name", "Name"], "the columns of both versions"


def test_a_rotation_that_fails_leaves_no_version_in_memory_to_encrypt_under(small_world, monkeypatch):
    desk, owner = small_world.desk, small_world.caller("owner")
    _key(small_world)
    scope = {"organisation": small_world.organisation, "scope": small_world.owner.get_key("notes")["id"]}
    with monkeypatch.context() as broken:
        broken.setattr("app.operations.named_keys.restamp", lambda *_: pytest.fail("the database went away"))
        with pytest.raises(pytest.fail.Exception):
            named_keys.rotate_key(desk, owner, "notes", claim=None)
    assert 2 not in desk.keyring.purpose_versions("named", **scope)
    assert small_world.owner.rotate_key("notes")["newest_version"] == 2  # by the server, whose version 2 is the one
    sealed = key_verbs.encrypt(desk, standing.read(desk, small_world.tokens["service"], "notes"), [batch.Item(None, text="x")])
    assert _one(small_world.service.decrypt("notes", [{"ciphertext": _one(sealed)["ciphertext"]}]))["text"] == "x"


# Deletion


def test_a_deleted_key_does_nothing_and_can_be_recovered_with_its_versions_and_grants(world):
    _key(world)
    sealed = {"ciphertext": _encrypted(world)["ciphertext"]}
    world.owner.rotate_key("notes")
    world.owner.delete_key("notes")
    shown = world.owner.get_key("notes")
    assert (shown["state"], "recoverable_until" in shown) == ("deleted", True)
    for verb, item in (("encrypt", {"text": "x"}), ("decrypt", sealed), ("rewrap", sealed), ("new_data_key", {})):
        assert _code(getattr(world.service, verb), "notes", [item]) == (409, "key-deleted"), verb
    assert _code(world.owner.rotate_key, "notes") == (409, "key-deleted")
    assert _code(world.owner.delete_key, "notes") == (409, "key-deleted")
    assert _code(world.owner.update_key, "notes", min_version=1, if_match=shown.etag) == (409, "key-deleted")
    assert _code(world.owner.create_key, "notes") == (409, "name-taken")
    assert world.owner.recover_key("notes")["state"] == "active"
    assert world.owner.recover_key("notes")["state"] == "active", "asked twice"
    assert _one(world.service.decrypt("notes", [sealed]))["text"] == "a note"


def test_after_its_time_a_deleted_key_is_destroyed_and_what_it_made_is_lost(world):
    _key(world)
    sealed = {"ciphertext": _encrypted(world)["ciphertext"]}
    kept = _key(world, "kept")
    scope = world.owner.get_key("notes")["id"]
    wrapped = [bytes(one) for (one,) in rows(world.desk, f"SELECT wrapped FROM purpose_keys WHERE scope = '{scope}'")]
    world.owner.delete_key("notes")
    soon, past = (later(world.desk, days * DAY) for days in (29, 31))
    assert named_keys.destroy_deleted(soon) == 0
    assert named_keys.destroy_deleted(past) == 1
    assert named_keys.destroy_deleted(past) == 0
    assert rows(world.desk, f"SELECT count(*) FROM purpose_keys WHERE scope = '{scope}'") == [(0,)]
    assert rows(world.desk, f"SELECT count(*) FROM grants WHERE object_id = '{scope}'") == [(0,)]
    assert _code(world.service.decrypt, "notes", [sealed]) == (404, "not-found")
    assert _code(world.owner.recover_key, "notes") == (404, "not-found")
    assert "destroy_key" in {entry["action"] for entry in world.auditor.audit()}
    if world.desk.database.embedded:
        held = b"".join(path.read_bytes() for path in world.settings.folder.glob("*.db*"))
        assert len(wrapped) == 1
        assert not any(one in held for one in wrapped), "the wrapped key left the files"
    _key(world)  # the name is free, and the new key is another
    assert _one(world.service.decrypt("notes", [sealed]))["error"]["code"] == "bad-ciphertext"
    assert world.owner.get_key(kept)["state"] == "active"


def test_a_key_that_is_past_its_time_is_not_recovered_before_it_is_destroyed(small_world):
    _key(small_world)
    small_world.owner.delete_key("notes")
    past = later(small_world.desk, 31 * DAY)
    with pytest.raises(named_keys.KeyDeleted):
        named_keys.recover_key(past, small_world.caller("owner"), "notes")


def test_a_key_that_a_policy_names_is_not_deleted_and_a_deleted_one_is_not_named(small_world):
    world = small_world
    _key(world)
    population = world.population()
    encrypted = {"policy": {**POLICY, "name": {"technique": "encrypt", "key": "notes"}}}
    dataset = world.dataset(population, **encrypted)
    assert _code(world.owner.delete_key, "notes") == (409, "conflict")
    world.owner.delete_dataset(dataset)
    world.owner.delete_key("notes")
    assert _code(world.dataset, population, name="again", **encrypted) == (422, "invalid")


# Rights


def test_each_verb_is_a_right_of_its_own(small_world):
    world = small_world
    for kind, verbs in RIGHTS.items():
        if kind == "recipient":
            continue
        name = _key(world, f"a-{kind}", kind)
        for verb in verbs:
            world.owner.put_key_grant(name, world.ids["service"], [verb])
            for other in verbs:
                body = [{"text": "x"}] if other in {"encrypt", "tokenize"} else [{"ciphertext": "x"}]
                body = [{}] if other == "new-data-key" else [{"token": "x"}] if other == "detokenize" else body
                if other == verb:
                    getattr(world.service, other.replace("-", "_"))(name, body)
                else:
                    assert _code(getattr(world.service, other.replace("-", "_")), name, body) == (403, "forbidden"), (verb, other)
        strange = (set().union(*RIGHTS.values()) - verbs).pop()
        assert _code(world.owner.put_key_grant, name, world.ids["service"], [strange]) == (422, "invalid")
    assert _code(world.owner.put_key_grant, "a-encryption", world.ids["analyst"], ["encrypt"]) == (422, "invalid")


_ELSEWHERE = """
import sys
from app.clock import SystemClock
from app.main import open_desk
from app.operations import named_keys, principals
from app.settings import Settings
from pathlib import Path
url, folder, root, owner, what, principal, token = sys.argv[1:]
desk = open_desk(Settings(folder=Path(folder), database_url=url, root_key=root, anchor="off"), clock=SystemClock())
caller = principals.authenticate(desk, owner)
if what == "token":
    principals.delete_token(desk, caller, principal, token)
elif what == "principal":
    principals.delete_principal(desk, caller, principal)
elif what == "grant":
    named_keys.delete_key_grant(desk, caller, "notes", principal)
else:
    named_keys.put_key_grant(desk, caller, "notes", principal, rights=["decrypt"])
desk.database.close()
"""


def _elsewhere(world, what, principal="", token=""):
    """Do it in another process."""
    url = world.settings.database_url.get_secret_value()
    words = [url, str(world.settings.folder), ROOT_KEY, world.tokens["owner"], what, principal, token]
    subprocess.run([sys.executable, "-c", _ELSEWHERE, *words], check=True, timeout=60)


@pytest.mark.attack("C9")
@pytest.mark.parametrize("here", [True, False], ids=["here", "in another process"])
def test_c9_what_was_revoked_is_refused_on_the_very_next_request(world, here):
    _key(world)
    item = [{"text": "x"}]

    def revoke(what, principal, token=""):
        if not here:
            _elsewhere(world, what, principal, token)
        elif what == "token":
            world.owner.delete_token(principal, token)
        elif what == "principal":
            world.owner.delete_principal(principal)
        elif what == "grant":
            world.owner.delete_key_grant("notes", principal)
        else:
            world.owner.put_key_grant("notes", principal, ["decrypt"])

    for what, told in (
        ("narrow", (403, "forbidden")),
        ("grant", (404, "not-found")),
        ("token", (401, "unauthenticated")),
        ("principal", (401, "unauthenticated")),
    ):
        if not here and what in {"narrow", "principal"}:
            continue  # a process takes its time to start
        name = f"a-{what}"
        principal, client = world.newcomer(name, "service")
        world.owner.put_key_grant("notes", principal, ALL)
        for _ in range(3):
            client.encrypt("notes", item)
        revoke(what, principal, world.tokens[name].split("_")[1])
        assert _code(client.encrypt, "notes", item) == told, what
        assert _code(client.encrypt, "notes", item) == told, what
    world.service.encrypt("notes", item)


@pytest.mark.attack("C9")
def test_c9_rights_are_read_again_for_a_body_that_took_its_time(world):
    import http.client

    _key(world)
    principal, _ = world.newcomer("slow", "service")
    world.owner.put_key_grant("notes", principal, ALL)
    connection = http.client.HTTPConnection(world.url.removeprefix("http://"), timeout=20)
    body = b'{"items": [{"text": "x"}]}'
    connection.putrequest("POST", "/v1/keys/notes:encrypt")
    for name, value in (
        ("Authorization", f"Bearer {world.tokens['slow']}"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
    ):
        connection.putheader(name, value)
    connection.endheaders()
    threading.Event().wait(0.3)  # the head was read and judged
    world.owner.delete_key_grant("notes", principal)
    connection.send(body)
    assert connection.getresponse().status == 404
    connection.close()


# The database


EDITS = {
    "a deleted key back": "state = 'active', destroy_at = NULL",
    "a deleted key back for longer": "destroy_at = destroy_at + 1000000000000",
    "a deleted key back in all but its time": "state = 'active'",
    "the oldest version lowered": "min_version = 1",
    "the newest version lowered": "newest_version = 1, min_version = 1",
    "a newer version claimed": "newest_version = 3",
    "as it was before there were versions": "state = 'active', newest_version = 1, min_version = 1, destroy_at = NULL",
    "another kind": "kind = 'tokenization'",
}


@pytest.mark.attack("C15")
def test_c15_a_key_that_was_rewritten_in_the_database_is_refused(world):
    _key(world)
    old = {"ciphertext": _encrypted(world)["ciphertext"]}
    world.owner.rotate_key("notes")
    world.owner.update_key("notes", min_version=2, if_match=world.owner.get_key("notes").etag)
    for deleted in (False, True):
        if deleted:
            world.owner.delete_key("notes")
        for what, edit in EDITS.items():
            if ("deleted" in what) != deleted:
                continue
            [before] = rows(world.desk, "SELECT state, newest_version, min_version, destroy_at, kind FROM named_keys")
            execute(world.desk, f"UPDATE named_keys SET {edit}")
            for call, args in (
                (world.service.decrypt, ("notes", [old])),
                (world.service.encrypt, ("notes", [{"text": "x"}])),
                (world.owner.get_key, ("notes",)),
                (world.owner.recover_key, ("notes",)),
            ):
                assert _code(call, *args) == (503, "integrity"), (what, call.__name__)
            names = ("state", "newest_version", "min_version", "destroy_at", "kind")
            whole = ", ".join(f"{name} = :{name}" for name in names)
            execute(world.desk, f"UPDATE named_keys SET {whole}", **dict(zip(names, before, strict=True)))
    assert world.owner.recover_key("notes")["min_version"] == 2
    assert _one(world.service.decrypt("notes", [old]))["error"]["code"] == "key-version-too-old"


@pytest.mark.attack("C15")
def test_c15_who_writes_the_database_can_not_have_a_key_destroyed(world):
    _key(world)
    execute(world.desk, "UPDATE named_keys SET state = 'deleted', destroy_at = 1")
    assert named_keys.destroy_deleted(later(world.desk, 400 * DAY)) == 0
    execute(world.desk, "UPDATE named_keys SET state = 'active', destroy_at = NULL")
    assert _encrypted(world)["key_version"] == 1


@pytest.mark.attack("C15")
def test_c15_a_grant_and_a_token_that_were_written_are_refused_though_others_are_remembered(world):
    _key(world)
    _encrypted(world)
    world.owner.put_key_grant("notes", world.ids["service"], ["encrypt"])
    _encrypted(world)
    execute(world.desk, """UPDATE grants SET rights = '["decrypt", "encrypt"]'""")
    assert _code(world.service.decrypt, "notes", [{"ciphertext": "x"}]) == (503, "integrity")
    execute(world.desk, """UPDATE grants SET rights = '["encrypt"]'""")
    _encrypted(world)
    execute(world.desk, f"UPDATE tokens SET role = 'owner' WHERE principal_id = '{world.ids['service']}'")
    assert _code(world.service.encrypt, "notes", [{"text": "x"}]) == (401, "unauthenticated")
    for scopes in ("junk", "{}", "[1]", '["encrypt", "decrypt"]'):
        execute(
            world.desk, "UPDATE tokens SET role = 'service', scopes = :scopes WHERE role IN ('owner', 'service')", scopes=scopes
        )
        assert _code(world.service.encrypt, "notes", [{"text": "x"}]) == (401, "unauthenticated"), scopes


def test_what_is_remembered_is_forgotten_with_any_column_and_ends_with_the_token(small_world):
    world = small_world
    desk: Desk = world.desk
    expiry = (desk.clock.now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    token = world.operator.create_token(world.ids["service"], expires_at=expiry)["token"]
    first = standing.read(desk, token)
    assert standing.read(desk, token) is first, "worked out once"
    world.operator.create_token(world.ids["service"])
    assert standing.read(desk, token) is first, "other rows are others' matter"
    with pytest.raises(standing.Unauthenticated):
        standing.read(later(desk, DAY), token)
    world.operator.delete_principal(world.ids["service"])
    with pytest.raises(standing.Unauthenticated):
        standing.read(desk, token)


# What the verbs promise


def test_r30_subjects_have_keys_of_their_own_and_none_is_kept(small_world):
    world = small_world
    _key(world)
    before = rows(world.desk, "SELECT count(*) FROM purpose_keys")
    items = [{"reference": f"{n}", "text": f"note of {n}", "context": f"subject-{n}"} for n in range(200)]
    sealed = world.service.encrypt("notes", items)["items"]
    assert [one["reference"] for one in sealed] == [f"{n}" for n in range(200)]
    asked = [{"ciphertext": one["ciphertext"], "context": f"subject-{n}"} for n, one in enumerate(sealed)]
    assert [one["text"] for one in world.service.decrypt("notes", asked)["items"]] == [f"note of {n}" for n in range(200)]
    crossed = [{**one, "context": f"subject-{n + 1}"} for n, one in enumerate(asked)]
    assert {one["error"]["code"] for one in world.service.decrypt("notes", crossed)["items"]} == {"bad-ciphertext"}
    plain = [{"ciphertext": one["ciphertext"]} for one in asked]
    assert all("error" in one for one in world.service.decrypt("notes", plain)["items"])
    assert rows(world.desk, "SELECT count(*) FROM purpose_keys") == before


def test_tokens_join_within_a_version_and_a_context_and_are_undone_with_a_right(small_world):
    world = small_world
    _key(world, "cards", "tokenization")
    texts = [{"text": "4111"}, {"text": "4111"}, {"text": "4222"}, {"text": "4111", "context": "shop-2"}]
    tokens = [one["token"] for one in world.service.tokenize("cards", texts)["items"]]
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 3
    asked = [{"token": token} for token in tokens[:3]] + [{"token": tokens[3], "context": "shop-2"}, {"token": tokens[3]}]
    told = world.service.detokenize("cards", asked)["items"]
    assert [one.get("text") for one in told] == ["4111", "4111", "4222", "4111", None]
    world.owner.rotate_key("cards")
    moved = world.service.rewrap("cards", [{"token": tokens[0]}, {"token": tokens[3], "context": "shop-2"}])["items"]
    assert [one["key_version"] for one in moved] == [2, 2]
    assert moved[0]["token"] == _one(world.service.tokenize("cards", [{"text": "4111"}]))["token"] != tokens[0]
    verbs = ("tokenize", "detokenize", "tokenize")
    done = [entry for entry in world.auditor.audit() if entry["action"] in verbs]
    assert [(entry["action"], entry["detail"]["items"]) for entry in done] == [
        ("tokenize", 4),
        ("detokenize", 5),
        ("tokenize", 1),
    ]


def test_r32_a_data_key_is_shown_once_and_unwrapped_with_the_right_to_decrypt(small_world):
    world = small_world
    _key(world)
    bound = {"associated_data": "volume-7", "context": "ann"}
    made = world.service.new_data_key("notes", [bound, bound])["items"]
    assert len({one["data_key"] for one in made}) == 2
    assert {len(base64.b64decode(one["data_key"])) for one in made} == {32}
    opened = world.service.decrypt("notes", [{"ciphertext": one["wrapped"], **bound} for one in made])["items"]
    assert [one["bytes"] for one in opened] == [one["data_key"] for one in made]
    hidden = _one(world.service.new_data_key("notes", [bound], plaintext=False))
    assert hidden.keys() == {"wrapped", "key_version"}
    assert (
        len(base64.b64decode(_one(world.service.decrypt("notes", [{"ciphertext": hidden["wrapped"], **bound}]))["bytes"])) == 32
    )
    kept = every_cell(world.desk)
    for one in made:
        assert one["data_key"].encode() not in kept
        assert base64.b64decode(one["data_key"]) not in kept


@pytest.mark.parametrize("kem", list(Kem))
def test_r31_what_is_sealed_opens_with_the_recipients_key_for_what_it_was_sealed_to_alone(small_world, kem):
    world, mine = small_world, generate(kem)
    world.owner.create_key("registry", kind="recipient", public_key=mine.public_key.to_json())
    world.owner.put_key_grant("registry", world.ids["service"], ["seal"])
    items = [{"reference": "a", "text": "x", "associated_data": "case-7"}, {"bytes": "AAE="}, {}, {"text": "y"}]
    told = world.service.seal("registry", items)
    assert (told["recipient"], told["organisation"]) == (mine.public_key.key_id, world.organisation)
    first, second, bad, third = told["items"]
    whose = {"key": mine, "recipient": "registry"}
    assert open_value(first["sealed"], **whose, associated_data="case-7", organisation=world.organisation) == b"x"
    assert open_value(second["sealed"], **whose) == b"\0\1"
    assert bad["error"]["code"] == "invalid"
    assert from_text(second["sealed"])[0] == from_text(third["sealed"])[0] != from_text(first["sealed"])[0], "one envelope each"
    for wrong in (
        {"associated_data": "case-8"},
        {"recipient": "other"},
        {"key": generate(kem)},
        {"organisation": "0" * 36},
    ):
        with pytest.raises(NotOpened):
            open_value(first["sealed"], **{**whose, "associated_data": "case-7", **wrong})
    assert _code(world.service.encrypt, "registry", [{"text": "x"}]) == (403, "forbidden")
    world.owner.delete_key("registry")
    assert _code(world.service.seal, "registry", [{"text": "x"}]) == (404, "not-found")


def test_weak_rsa_recipients_are_refused(small_world):
    import base64 as b

    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    for key in (rsa.generate_private_key(65537, 2048), rsa.generate_private_key(3, 3072)):
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        body = generate(Kem.RSA_OAEP).public_key.to_json() | {"public": b.urlsafe_b64encode(der).decode().rstrip("=")}
        assert _code(small_world.owner.create_key, "weak", kind="recipient", public_key=body) == (422, "invalid")


def test_r28_keys_of_populations_are_no_keys_by_name(small_world):
    world = small_world
    population = world.population()
    assert list(world.owner.list_keys()) == []
    for name in (population, "pseudonyms", "bounding"):
        assert _code(world.owner.get_key, name)[0] == 404
        assert _code(world.service.encrypt, name, [{"text": "x"}])[0] == 404


def test_a_batch_keeps_its_order_and_its_errors_at_their_items(small_world):
    _key(small_world)
    items = [
        {"reference": "a", "text": "x"},
        {"reference": "b"},
        {"text": "y", "bytes": "AA=="},
        {"bytes": "?"},
        {"bytes": "AAE="},
    ]
    told = small_world.service.encrypt("notes", items)["items"]
    assert ["error" in one for one in told] == [False, True, True, True, False]
    assert [one.get("reference") for one in told] == ["a", "b", None, None, None]
    assert _code(small_world.service.encrypt, "notes", [{"text": "x"}] * 10_001) == (422, "invalid")
