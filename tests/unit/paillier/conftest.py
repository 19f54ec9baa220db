"""One key for all tests of the room."""

import pytest

from tacit.paillier import private


@pytest.fixture(scope="session")
def key():
    return private.generate(2048)
