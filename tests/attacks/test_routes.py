"""Threats C11 and C13: every route of the OpenAPI document, asked by every role about its own and about others' objects."""

import atexit
import base64
import functools
import io
import json
import logging

import httpx2
import pytest

from app.api.application import document
from app.log import Lines
from app.operations import principals
from tacit import recipient
from tacit.paillier import private
from tests.conftest import FULL
from tests.world import POLICY, ROWS, SCHEMA, UNIT

HTTP = httpx2.Client(timeout=30)  # one for all: making one takes longer than a request
atexit.register(HTTP.close)  # others use it too


ROLES = ("operator", "owner", "partner", "analyst", "service", "auditor")
ALL = set(ROLES)
# Who may call what on an object of the own organisation with every grant of its role: all others are told 403 or 404.
RULES = {
    "get_me": ALL,
    "create_principal": {"operator", "owner"},
    "list_principals": {"operator", "owner"},
    "delete_principal": {"operator", "owner"},
    "create_token": {"operator", "owner"},
    "delete_token": {"operator", "owner"},
    "create_population": {"operator", "owner"},
    "list_populations": {"operator", "owner"},
    "get_population": {"operator", "owner"},
    "update_population": {"operator", "owner"},
    "set_allowance": {"operator", "owner"},
    "put_population_grant": {"operator", "owner"},
    "delete_population_grant": {"operator", "owner"},
    "get_budget": {"operator", "owner", "analyst", "auditor"},
    "list_ledger": {"operator", "owner", "analyst", "auditor"},
    "pseudonymize": {"service"},
    "get_subject": {"owner", "service"},
    "erase_subject": {"owner", "service"},
    "create_dataset": {"owner"},
    "list_datasets": ALL,
    "get_dataset": ALL,
    "update_dataset": {"owner"},
    "delete_dataset": {"owner"},
    "put_grant": {"owner"},
    "delete_grant": {"owner"},
    "export_rows": {"owner", "service"},
    "risk_report": {"owner"},
    "infer_schema": {"owner", "partner"},
    "upload": {"owner", "partner"},
    "list_uploads": {"operator", "owner", "partner"},
    "get_upload": {"operator", "owner", "partner"},
    "cancel_upload": {"owner", "partner"},
    "get_rejected": {"owner", "partner"},
    "create_file": {"owner", "partner"},
    "get_offset": {"owner", "partner"},
    "append_file": {"owner", "partner"},
    "get_file": {"owner", "partner"},
    "terminate_file": {"owner", "partner"},
    "list_jobs": ALL - {"auditor"},
    "get_job": {"operator", "partner"},  # the partner's own
    "list_job_events": {"operator", "partner"},
    "cancel_job": {"operator", "partner"},
    "price_query": {"owner", "analyst"},
    "ask": {"owner", "analyst"},
    "list_answers": {"owner", "analyst"},
    "get_answer": {"owner", "analyst"},
    "create_tally": {"analyst", "service"},
    "list_tallies": ALL,
    "get_tally": {"owner", "partner", "analyst"},
    "contribute": {"partner"},
    "get_contribution": {"partner"},
    "close_tally": {"owner"},
    "get_sum": {"analyst"},
    "create_key": {"operator", "owner"},
    "list_keys": {"operator", "owner"},
    "get_key": {"operator", "owner"},
    "update_key": {"operator", "owner"},
    "rotate_key": {"operator", "owner"},
    "delete_key": {"operator", "owner"},
    "recover_key": {"operator", "owner"},
    "put_key_grant": {"operator", "owner"},
    "delete_key_grant": {"operator", "owner"},
    "encrypt": {"service"},
    "decrypt": {"service"},
    "rewrap": {"service"},
    "new_data_key": {"service"},
    "tokenize": {"service"},
    "detokenize": {"service"},
    "seal": {"service"},
    "create_webhook": {"owner", "partner"},
    "list_webhooks": {"owner", "partner"},
    "get_webhook": {"owner", "partner"},
    "delete_webhook": {"owner", "partner"},
    "rotate_webhook": {"owner", "partner"},
    "test_webhook": {"owner", "partner"},
    "retry_delivery": {"owner", "partner"},
    "list_audit": {"auditor"},
    "list_checkpoints": {"auditor"},
    "get_system": {"operator"},
    "acknowledge": {"operator"},
    "set_read_only": {"operator"},
}
PUBLIC = {"healthz", "readyz", "signing_keys", "files_options"}
LISTS = {
    "list_principals",
    "list_populations",
    "list_datasets",
    "list_keys",
    "list_tallies",
    "list_jobs",
    "list_webhooks",
    "list_audit",
    "list_checkpoints",
    "get_me",
    "get_system",  # of the one store that all organisations share; the datasets in it are one's own
    "set_read_only",
}
CREATES = {
    "infer_schema",
    "create_principal",
    "create_population",
    "create_dataset",
    "create_key",
    "create_tally",
    "create_webhook",
}


def _operations():
    for path, methods in json.loads(document())["paths"].items():
        for method, operation in methods.items():
            yield operation["operationId"], method.upper(), path, operation


def _population_named(world, name, unit):
    return world.owner.create_population(name, unit=unit, accounting="pure", total={"epsilon": "1000"})["id"]


@functools.cache
def paillier_key():
    """One for all tests of a run: making it takes seconds."""
    return private.generate(2048).public


def _furnish(world):
    """Make one object of each kind, with every grant that a role may have; return the ids that paths name."""
    population, dataset = world.filled(epsilon="1000", allowance="1000")
    panel = _population_named(world, "panel", "contributor")
    apart = _population_named(world, "apart", "person")
    world.owner.put_grant(dataset, world.ids["service"], ["export"])
    world.owner.put_population_grant(apart, world.ids["service"], ["pseudonymize", "read-subject", "erase-subject"])
    world.owner.create_key("notes", kind="encryption")
    world.owner.create_key("cards", kind="tokenization")
    world.owner.create_key("registry", kind="recipient", public_key=recipient.generate(recipient.Kem.X25519).public_key.to_json())
    world.owner.put_key_grant("notes", world.ids["service"], ["encrypt", "decrypt", "rewrap", "new-data-key"])
    world.owner.put_key_grant("cards", world.ids["service"], ["tokenize", "detokenize"])
    world.owner.put_key_grant("registry", world.ids["service"], ["seal"])
    key = paillier_key()
    tally = world.analyst.create_tally(_tally(panel, [world.ids["partner"]], key))["id"]
    made = world.partner.contribute(tally, {"x": 3}, fingerprint=key.key_id)
    asked = world.analyst.ask(dataset, _QUESTION).id
    upload = next(iter(world.partner.list_uploads(dataset)))["id"]
    sent = {"Authorization": f"Bearer {world.tokens['partner']}", "Content-Type": "text/csv", "Prefer": "respond-async"}
    job = HTTP.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=ROWS, headers=sent).json()["id"]
    assert world.partner.wait_job(job)["state"] == "done"
    named = {
        "dataset": dataset,
        "job": job,
        "upload": upload,
        "answer_id": asked,
        "tally": tally,
        "contribution": made["id"],
        "key": "notes",
    }
    files = _files(world, dataset)
    named |= {"files": files, "sent": {}, "file": files[world.tokens["partner"]]}
    hooks = {
        world.tokens[role]: getattr(world, role).create_webhook(_HOOK, ["upload.ready"])["id"] for role in ("owner", "partner")
    }
    named |= {"webhook": hooks[world.tokens["partner"]], "hooks": hooks, "delivery": "unknown"}
    return {**named, "population": population, "apart": apart, "panel": panel, "jwk": key, "principal": world.ids["partner"]}


def tus_headers(dataset, length, offset=None):
    """Headers that are right for every operation on files."""
    pairs = {"dataset": dataset, "filename": "made.csv"}
    stated = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": stated}
    return (
        headers if offset is None else headers | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    )


def _files(world, dataset):
    """A file on its way in of each who may send one: it is its sender's alone."""
    made = {}
    for role in ("owner", "partner"):
        headers = tus_headers(dataset, 1_000_000) | {"Authorization": f"Bearer {world.tokens[role]}"}
        place = HTTP.post(f"{world.url}/v1/files", headers=headers).headers["location"]
        made[world.tokens[role]] = place.rsplit("/", 1)[1]
    return made


KEYS = {"tokenize": "cards", "detokenize": "cards", "seal": "registry"}  # the key whose kind a verb is for
_HOOK = "https://localhost:9/hook"  # found without asking anybody, and refused when it is connected to
_QUESTION = {"select": [{"count": {}, "as": "n"}], "epsilon": "0.5"}


def _tally(panel, roster, key, name="q3"):
    body = {
        "name": name,
        "population": panel,
        "public_key": key.as_jwk(),
        "measures": {"x": {"lower": "0", "upper": "10", "scale": "1"}},
    }
    return {**body, "roster": roster, "minimum": 1, "deadline": "2099-01-01T00:00:00Z", "noise": None}


def _body(operation, things, number, principal):
    """A body that is right for an operation, naming the given objects."""
    name = f"made-{number}"
    bodies = {
        "create_principal": {"name": name, "role": "partner"},
        "create_token": {},
        "create_population": {"name": name, "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}},
        "update_population": {"total": {"epsilon": str(2000 + number)}, "reason": "more"},
        "set_allowance": {"epsilon": "1000"},
        "put_population_grant": {"rights": ["pseudonymize"]},
        "get_subject": {"identifier": f"P-{number}", "kind": "patient-id", "purpose": "check"},
        "erase_subject": {"identifier": f"P-{number}", "kind": "patient-id"},
        "pseudonymize": {"kind": "patient-id", "items": [{"text": "P-1"}]},
        "create_dataset": {
            "name": name,
            "population": things["population"],
            "max_rows": 10,
            "schema": SCHEMA,
            "policy": POLICY,
            "privacy_unit": UNIT,
        },
        "update_dataset": {"max_rows": 200_000 + number},
        "risk_report": {"quasi_identifiers": ["hours"], "purpose": "check"},
        "put_grant": {"rights": ["upload"]},
        "price_query": _QUESTION,
        "ask": _QUESTION,
        "create_tally": _tally(things["panel"], [principal], things["jwk"], name),
        "contribute": {"key_id": things["jwk"].key_id, "ciphertexts": [things["jwk"].to_wire(things["jwk"].encrypt(1))]},
        "create_key": {"name": name, "kind": "encryption"},
        "put_key_grant": {"rights": ["encrypt", "decrypt", "rewrap", "new-data-key"]},
        "create_webhook": {"url": _HOOK, "events": ["upload.ready"]},
        "encrypt": {"items": [{"text": "a"}]},
        "decrypt": {"items": [{"ciphertext": "tacit:v1:x"}]},
        "rewrap": {"items": [{"ciphertext": "tacit:v1:x"}]},
        "new_data_key": {"items": [{}]},
        "tokenize": {"items": [{"text": "a"}]},
        "detokenize": {"items": [{"token": "tacit:t1:x"}]},
        "seal": {"items": [{"text": "a"}]},
        "update_key": {"min_version": 1},
        "acknowledge": {"reason": "mended", "dataset": things["dataset"]},
        "set_read_only": {"on": False},
    }
    return bodies.get(operation)


def _piece(method):
    return b"patient_id" if method in {"PATCH", "POST"} else None


# A service that exports from a population may not say who is who in it: these go to another one.
APART = {"pseudonymize", "put_population_grant", "delete_population_grant", "get_subject", "erase_subject"}


def _call(world, token, operation, method, path, things, number):
    filled = dict(things)
    if operation in APART:
        filled["population"] = things["apart"]
        filled["principal"] = world.ids["service"] if things.get("own") else things["principal"]
    if operation == "put_key_grant":
        filled["principal"] = world.ids["service"]
    filled["key"] = KEYS.get(operation, filled["key"])
    filled["token"] = "unknown"
    filled["webhook"] = things["hooks"].get(token, things["webhook"])  # one's own, where one may have any
    address = world.url + path.format(**filled)
    headers = {"Authorization": f"Bearer {token}"}
    if operation == "upload":
        body = b"patient_id,name,hours,income,sex\nP-%d,n,1,1.00,F\n" % number
        return HTTP.post(address, content=body, headers=headers | {"Content-Type": "text/csv"})
    if "file" in operation or operation == "get_offset":
        own = things["files"].get(token, things["file"])
        address = world.url + path.format(file=own)
        at = things["sent"].get(own, 0)
        told = HTTP.request(
            method, address, headers=headers | tus_headers(things["dataset"], 1_000_000, at), content=_piece(method)
        )
        things["sent"][own] = int(told.headers.get("upload-offset", at))
        return told
    if operation == "infer_schema":
        return HTTP.post(address, content=ROWS, headers=headers | {"Content-Type": "text/csv"})
    if operation == "export_rows":
        address += "?purpose=check"
    if operation in {"update_dataset", "update_key"}:
        current = HTTP.get(address, headers={"Authorization": f"Bearer {world.tokens['owner']}"}).headers.get("etag", '"1"')
        headers["If-Match"] = current
    body = _body(operation, things, number, things["principal"])
    return HTTP.request(method, address, headers=headers, **({} if body is None else {"json": body}))


@pytest.mark.attack("C13")
def test_c13_every_operation_has_a_rule():
    described = {operation for operation, *_ in _operations()}
    assert described - PUBLIC == set(RULES), "a new operation needs a rule here: who may call it"
    for operation, _, _, body in _operations():
        assert (body.get("security") == []) == (operation in PUBLIC), operation


@pytest.mark.attack("C13")
def test_c13_every_route_as_every_role_on_own_and_foreign_objects(small_world):
    world = small_world
    things = {**_furnish(world), "own": True}
    _, operator = principals.found_organisation(world.desk, name="rival", operator="operator")
    foreign = {"operator": operator.reveal()}
    headers = {"Authorization": f"Bearer {foreign['operator']}"}
    for role in ROLES[1:]:
        body = {"name": f"a-{role}", "role": role, "may_create_populations": role == "owner"}
        made = HTTP.post(f"{world.url}/v1/principals", json=body, headers=headers).json()
        token = HTTP.post(f"{world.url}/v1/principals/{made['id']}/tokens", json={}, headers=headers)
        foreign[role] = token.json()["token"]
    destructive = {
        "delete_principal",
        "delete_dataset",
        "delete_grant",
        "delete_population_grant",
        "delete_key",
        "delete_key_grant",
        "close_tally",
        "terminate_file",
        "delete_webhook",
    }
    number = 0
    order = sorted(_operations(), key=lambda one: (one[0] in destructive, one[0] != "delete_dataset", one[0]))
    for operation, method, path, _ in order:
        if operation in PUBLIC:
            assert HTTP.request(method, world.url + path).status_code in {200, 204}
            continue
        assert HTTP.request(method, world.url + path.format(**things, token="t")).status_code == 401, operation
        for role in ROLES:
            number += 1
            told = _call(world, foreign[role], operation, method, path, things, number)
            if operation in LISTS | CREATES:
                assert things["dataset"] not in told.text, (operation, role)
                if operation in {"create_dataset", "create_tally"}:
                    assert told.status_code in {403, 404}, (operation, role, told.text)
            else:
                assert told.status_code in {403, 404}, (operation, role, told.text)
                if role in RULES[operation]:
                    assert told.status_code == 404, ("a foreign object is not found", operation, role, told.text)
            if operation in destructive:
                continue
            own = _call(world, world.tokens[role], operation, method, path, things, number)
            if role in RULES[operation]:
                assert own.status_code not in {401, 403, 500}, (operation, role, own.text)
                absent = operation in {"delete_token", "retry_delivery"}
                assert own.status_code != 404 or absent, (operation, role, own.text)
            else:
                assert own.status_code in {403, 404}, (operation, role, own.text)
    for operation, method, path, _ in order:
        if operation in destructive - {"delete_dataset", "delete_principal"}:
            for role in sorted(ALL - RULES[operation]):
                told = _call(world, world.tokens[role], operation, method, path, things, 0)
                assert told.status_code in {403, 404}, (operation, role, told.text)


CANARY = "CanaryZq84Vx"
MEMBER = "MemberZq84Vx"  # a name in the client's own body: pointers of its faults may say it, logs may not


def _asked_as(operation):
    """Every role in the long form; else one that may and one that may not."""
    roles = sorted({"operator", "owner", "partner", "analyst", "service"})
    if FULL:
        return roles
    may = [role for role in roles if role in RULES.get(operation, ())]
    return [*may[:1], *[role for role in roles if role not in may][:1]]


@pytest.mark.attack("C11")
def test_c11_canaries_through_every_endpoint_show_in_no_problem_and_in_no_log_at_debug(small_world):
    world = small_world
    things = {**_furnish(world), "own": True}
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "uvicorn", "uvicorn.error", "asyncio", "app"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    seen = 0
    try:
        for operation, method, path, _ in _operations():
            for role in _asked_as(operation):
                for told in _poisoned(world, world.tokens[role], operation, method, path, things):
                    seen += 1
                    assert told.status_code != 500, (operation, role, told.text)
                    if told.status_code >= 400:
                        assert CANARY not in told.text, (operation, role, told.text)
                        assert CANARY not in str(told.headers), (operation, role)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        for name in ("sqlalchemy.engine", "sqlalchemy.pool"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    assert seen > (1000 if FULL else 400)
    assert stream.getvalue().count("\n") > 500, "something was logged"
    assert CANARY not in stream.getvalue()
    assert MEMBER not in stream.getvalue()


def _poisoned_files(method, address, headers):
    """Send canaries in each header that tus has, and in each of its pairs."""
    encoded = base64.b64encode(CANARY.encode()).decode()
    for name in ("Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Checksum", "Upload-Metadata", "Content-Type"):
        for poison in (CANARY, f"sha1 {encoded}", f"{CANARY} {encoded}"):
            yield HTTP.request(method, address, headers=headers | {name: poison}, content=_piece(method))
    right = headers["Upload-Metadata"]
    for key in ("dataset", "filetype", "filename", "encoding", "null", "delimiter", "mode", "on_error", "max_rejected", CANARY):
        stated = ",".join([*(pair for pair in right.split(",") if not pair.startswith(f"{key} ")), f"{key} {encoded}"])
        yield HTTP.request(method, address, headers=headers | {"Upload-Metadata": stated}, content=_piece(method))


def _poisoned(world, token, operation, method, path, things):
    """Send canaries in path, query, headers and each leaf of the body."""
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": CANARY}
    canaried = dict.fromkeys((*things, "token", "name", "code"), CANARY)
    body = _body(operation, things, 7, things["principal"])
    good = world.url + path.format(**things, token="t")
    yield HTTP.request(method, world.url + path.format(**canaried), headers=headers, **({} if body is None else {"json": body}))
    yield HTTP.request(method, f"{good}?{CANARY}={CANARY}&cursor={CANARY}&limit={CANARY}&format={CANARY}", headers=headers)
    if operation in {"upload", "infer_schema"}:
        typed = headers | {"Content-Type": "text/csv"}
        yield HTTP.post(good, content=ROWS + f"P-1,{CANARY},{CANARY},{CANARY},{CANARY}\n".encode(), headers=typed)
        yield HTTP.post(good, content=f"{CANARY},name\n1,2\n".encode(), headers=typed)
        yield HTTP.post(good, content=CANARY.encode(), headers=headers | {"Content-Type": f"text/{CANARY}"})
    if "file" in operation or operation == "get_offset":
        yield from _poisoned_files(method, good, headers | tus_headers(things["dataset"], 100, 0))
    if body is None:
        return
    yield HTTP.request(
        method,
        good,
        content=f'{{"{CANARY}": "{CANARY}", {CANARY}'.encode(),
        headers=headers | {"Content-Type": "application/json"},
    )
    yield HTTP.request(method, good, json={**body, MEMBER: CANARY}, headers=headers)
    for name in body:
        for poison in (CANARY, [CANARY], {MEMBER: CANARY}):
            yield HTTP.request(method, good, json={**body, name: poison}, headers=headers)
