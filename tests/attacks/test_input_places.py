"""Threats I7, I8 and I19 at every place there is: each text of each JSON body, each part of each path that names something.

The routes are those of the OpenAPI document, the bodies their own examples made doubtful in one place, sent by who may send them:
a new route is attacked by itself. Bodies that are doubtful as a whole, and names of things, are in test_input_names.py.
"""

import base64
import copy
import http.client
import json
import re

import httpx2
import pytest

from app.api.application import document
from tests.attacks.test_routes import RULES, tus_headers
from tests.world import ROWS

HTTP = httpx2.Client(timeout=30)  # one for all: making one takes longer than a request
MARK = "here-it-is"
FILES = {"upload", "infer_schema"}  # their JSON is a file of rows: test_input_refusals.py
ROUTES = [
    (operation["operationId"], method.upper(), path, operation)
    for path, methods in json.loads(document())["paths"].items()
    for method, operation in methods.items()
]
# What is put where a text of the body stood, in its quotes; and the rule that refuses it.
DOUBTFUL_TEXTS = {
    b"a\\u0000b": "nul-character",
    b"\\ud800": "lone-surrogate",
    b"\\udfffx": "lone-surrogate",
    b"\\ude00\\ud83d": "lone-surrogate",
    b"\xed\xa0\x80": "invalid-utf-8",
    b"\xff": "invalid-utf-8",
}


@pytest.fixture(scope="module", autouse=True)
def _hang_up():
    yield
    HTTP.close()


def _example(operation):
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None or operation["operationId"] in FILES:
        return None
    return next(iter(content["examples"].values()))["value"] if "examples" in content else content["example"]


JSON_ROUTES = [(name, method, path, _example(operation)) for name, method, path, operation in ROUTES if _example(operation)]


def _marked(value):
    """Return copies of a body, each with the mark in the place of one of its texts or member names."""
    if isinstance(value, str):
        yield MARK
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for marked in _marked(item):
                yield [*value[:index], marked, *value[index + 1 :]]
    elif isinstance(value, dict):
        for key, item in value.items():
            for marked in _marked(item):
                yield value | {key: marked}
            yield {(MARK if name == key else name): held for name, held in value.items()}


def _send(world, name, method, path, body):
    role = "owner" if "owner" in RULES[name] else min(RULES[name])
    headers = {"Authorization": f"Bearer {world.tokens[role]}", "Content-Type": "application/json", "If-Match": '"1"'}
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + "x" + rest.partition("}")[2]
    return HTTP.request(method, world.url + path, content=body, headers=headers)


def _rules(told):
    return {fault["rule"] for fault in told.json().get("errors", [])}


def _tables(world):
    return [[kind["id"] for kind in getattr(world.owner, f"list_{kind}")()] for kind in ("datasets", "populations", "webhooks")]


def test_the_routes_that_take_json_are_found():
    assert {name for name, *_ in JSON_ROUTES} >= {"create_dataset", "ask", "contribute", "encrypt", "create_webhook", "put_grant"}
    assert len(JSON_ROUTES) >= 18


@pytest.mark.attack("I7")
@pytest.mark.attack("I8")
def test_i7_i8_a_doubtful_text_anywhere_in_any_json_route_is_422(world):
    before, sent = _tables(world), 0
    for name, method, path, example in JSON_ROUTES:
        for index, body in enumerate(_marked(copy.deepcopy(example))):
            written = json.dumps(body).encode()
            assert written.count(MARK.encode()) == 1
            texts = DOUBTFUL_TEXTS if index == 0 else dict(list(DOUBTFUL_TEXTS.items())[index % len(DOUBTFUL_TEXTS) :][:1])
            for text, rule in texts.items():
                told, sent = _send(world, name, method, path, written.replace(MARK.encode(), text)), sent + 1
                assert (told.status_code, _rules(told)) == (422, {rule}), (name, body, text, told.text)
    assert sent > 200
    assert _tables(world) == before


TRICKS = [
    "..",
    "../..",
    "..%2f",
    "..%2F..%2Fetc%2Fpasswd",
    "%2e%2e%2f",
    "..%5c",
    "%00",
    "a%00.csv",
    "a%0d%0ab",
    "%ff",
    "C:%5c",
    "~",
]
TRICKS += ["%252e%252e%252f", "x" * 300, "'%20OR%201=1--", "%F0%9F%98%80", "*", "%25", "_", ".", ";", "%3f", "%23"]


@pytest.mark.attack("I7")
@pytest.mark.attack("I19")
def test_i7_i19_no_trick_in_a_path_names_anything(world):
    """Sent as written over a bare connection: a client would fold `..` away before the service could see it."""
    population = world.population()
    dataset = world.dataset(population)
    host, _, port = world.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    sent = 0
    for name, method, template, _ in ROUTES:
        path = template.replace("{dataset}/", f"{dataset}/").replace("{population}/", f"{population}/")
        if "{" not in path or method not in {"GET", "DELETE"}:
            continue
        role = "owner" if "owner" in RULES[name] else min(RULES[name])
        headers = {"Authorization": f"Bearer {world.tokens[role]}", "Tus-Resumable": "1.0.0"}
        for trick in TRICKS:
            target = re.sub(r"\{\w+\}", trick, path)
            connection.request(method, target, headers=headers)
            told = connection.getresponse()
            body, sent = told.read(), sent + 1
            assert told.status in {404, 405, 422}, (method, target, told.status, body)
            assert json.loads(body)["code"] in {"not-found", "method-not-allowed", "invalid"}, (method, target, body)
    connection.close()
    assert sent > 400
    assert (world.owner.get_dataset(dataset)["id"], world.owner.get_population(population)["id"]) == (dataset, population)


@pytest.mark.attack("I19")
def test_i19_the_name_of_a_file_names_nothing(world):
    """A form's file and a resumable file may be called anything: nothing on disk or in a path is called so."""
    dataset = world.dataset(world.population())
    before = {entry.name for entry in world.settings.folder.rglob("*")}
    owner = {"Authorization": f"Bearer {world.tokens['partner']}"}
    for label in ["../../x", "..\\x", "a\r\nX-Y: 1", "\u202etxt.exe", "\0.csv"]:
        form = {"file": (label, ROWS, "text/csv")}
        told = HTTP.post(f"{world.url}/v1/datasets/{dataset}/uploads", files=form, headers=owner)
        assert told.status_code == 201, (label, told.text)
        encoded = [base64.b64encode(value.encode()).decode() for value in (dataset, label, "text/csv")]
        metadata = tus_headers(dataset, 9) | {"Upload-Metadata": "dataset {},filename {},filetype {}".format(*encoded)}
        made = HTTP.post(f"{world.url}/v1/files", headers=owner | metadata)
        assert made.status_code == 201, (label, made.text)
        assert re.fullmatch(r".*/v1/files/[0-9a-f-]{36}", made.headers["location"]), made.headers
    assert {entry.name for entry in world.settings.folder.rglob("*")} <= before
