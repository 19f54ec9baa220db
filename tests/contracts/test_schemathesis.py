"""Made-up requests against the live service: nothing that a client sends makes a 500, and what comes back is what was documented.

For every operation and every role: generated parameters, headers and bodies, good and bad. Half of the requests name real things
in their path, or every one of them would end where the id is looked up. Bounded in number; deletions come last.
"""

import collections
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tacit.paillier import private
from tests.attacks.test_routes import tus_headers
from tests.conftest import FULL

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

ROLES = ("owner", "analyst", "partner", "service", "operator", "auditor")
PROBLEM = {"type", "title", "status", "detail", "code", "docs", "request_id"}
ENDS = ("DELETE", ":close", ":read-only")  # what these end, the others need


@pytest.fixture(scope="module")
def paillier():
    return private.generate(2048).public


def _furnish(world, paillier):
    """Make one thing of each kind; return the ids that paths name."""
    population, dataset = world.filled()
    contributors = world.population(name="shops", unit="contributor")
    world.owner.create_key("notes", kind="encryption")
    world.owner.put_key_grant("notes", world.ids["service"], ["encrypt", "decrypt", "rewrap", "new-data-key"])
    world.owner.put_grant(dataset, world.ids["service"], ["export"])
    body = {
        "name": "revenue",
        "population": contributors,
        "public_key": paillier.as_jwk(),
        "measures": {"x": {"lower": "0", "upper": "10", "scale": "1"}},
        "roster": [world.ids["partner"]],
        "minimum": 1,
        "deadline": (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "noise": None,
    }
    tally = world.analyst.create_tally(body)["id"]
    made = world.partner.contribute(tally, {"x": 3}, fingerprint=paillier.key_id)
    asked = world.analyst.ask(dataset, {"select": [{"count": {}, "as": "n"}], "epsilon": "0.5"}).id
    upload = next(iter(world.partner.list_uploads(dataset)))["id"]
    told = tus_headers(dataset, 1000) | {"Authorization": f"Bearer {world.tokens['partner']}"}
    file = httpx2.post(f"{world.url}/v1/files", headers=told).headers["location"].rsplit("/", 1)[1]
    bystander, _ = world.newcomer("bystander", "analyst")
    hook = world.owner.create_webhook("https://localhost:9/hook", ["upload.ready"])["id"]
    ids = {"population": population, "dataset": dataset, "upload": upload, "answer_id": asked, "key": "notes", "file": file}
    ids["webhook"] = hook
    return {**ids, "principal": bystander, "tally": tally, "contribution": made["id"]}


def _operations(url):
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    found = [one.ok() for one in schema.get_all_operations()]
    return sorted(found, key=lambda one: (one.label.startswith(ENDS[0]) or one.label.endswith(ENDS[1]), one.label))


def _judge(case, response):
    """The status and the media type are documented, a refusal is a whole problem document, and a 5xx is a stated 503."""
    case.validate_response(response, checks=[status_code_conformance, content_type_conformance])
    assert response.status_code < 500 or response.status_code == 503, response.text
    if response.status_code >= 400 and response.request.method != "HEAD":  # which has no body to look into
        assert response.headers["content-type"] == ["application/problem+json"]
        document = response.json()
        assert document.keys() >= PROBLEM
        assert document["status"] == response.status_code


@pytest.mark.parametrize("role", ["owner", "analyst"])
def test_the_documents_own_examples_are_answered_as_documented(small_world, role, paillier):
    """An example has the right shape, so it goes further than most that is made up: to what its body names."""
    known = _furnish(small_world, paillier)
    headers = {"Authorization": f"Bearer {small_world.tokens[role]}"}
    asked = set()
    for operation in _operations(small_world.url):
        for media_type, content in operation.definition.raw.get("requestBody", {}).get("content", {}).items():
            for example in [one["value"] for one in content.get("examples", {}).values()]:
                if "public_key" in example and "measures" in example:
                    example = example | {"public_key": paillier.as_jwk()}  # noqa: PLW2901 - the example's is cut short
                case = operation.Case(path_parameters=dict(known), body=example, media_type=media_type)
                _judge(case, case.call(base_url=small_world.url, headers=headers))
                asked.add(operation.label)
    assert {"POST /v1/datasets", "POST /v1/tallies", "POST /v1/datasets/{dataset}/queries"} <= asked


@pytest.mark.parametrize("role", ROLES)
def test_nothing_that_a_client_sends_makes_a_500(small_world, role, paillier):
    known = _furnish(small_world, paillier)
    headers = {"Authorization": f"Bearer {small_world.tokens[role]}"}
    seen = collections.Counter()

    def run(operation):
        case_of = st.one_of(operation.as_strategy(GenerationMode.POSITIVE), operation.as_strategy(GenerationMode.NEGATIVE))

        @settings(
            max_examples=60 if FULL else 4,
            deadline=None,
            database=None,
            derandomize=not FULL,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=case_of, real=st.booleans())
        def ask(case, real):
            if real and case.path_parameters:
                case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
            response = case.call(base_url=small_world.url, headers=headers)
            seen[response.status_code] += 1
            _judge(case, response)

        ask()

    for operation in _operations(small_world.url):
        run(operation)
    assert sum(seen.values()) > 100
