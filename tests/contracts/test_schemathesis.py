"""Made-up requests against the live service: nothing that a client sends makes a 500, and what comes back is what was documented.

For every operation and every role: generated parameters, headers and bodies, good and bad. Bounded in number.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.conftest import FULL

ROLES = ("owner", "analyst", "partner", "service", "operator", "auditor")
PROBLEM = {"type", "title", "status", "detail", "code", "docs", "request_id"}


def _operations(url):
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("role", ROLES)
def test_nothing_that_a_client_sends_makes_a_500(small_world, role):
    small_world.filled()
    headers = {"Authorization": f"Bearer {small_world.tokens[role]}"}
    asked = 0

    def run(operation):
        @settings(
            max_examples=60 if FULL else 4,
            deadline=None,
            database=None,
            derandomize=not FULL,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(operation.as_strategy(GenerationMode.POSITIVE), operation.as_strategy(GenerationMode.NEGATIVE)))
        def ask(case):
            nonlocal asked
            asked += 1
            response = case.call(base_url=small_world.url, headers=headers)
            if response.status_code != 503:  # a stated refusal: the database or a worker cannot now
                case.validate_response(response, checks=[not_a_server_error, status_code_conformance, content_type_conformance])
            if response.status_code >= 400:
                document = response.json()
                assert document.keys() >= PROBLEM
                assert document["status"] == response.status_code

        ask()

    for operation in _operations(small_world.url):
        run(operation)
    assert asked > 100
