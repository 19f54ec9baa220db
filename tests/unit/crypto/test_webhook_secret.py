"""Signatures are those of Standard Webhooks, as its own library makes and verifies them."""

from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.webhook_secret import WebhookSecret


@given(st.binary(min_size=24, max_size=64), st.uuids(), st.datetimes(min_value=datetime(1971, 1, 1)), st.text())  # noqa: DTZ001
def test_a_signature_is_the_librarys(raw, message_id, moment, text):
    """The content to sign is the id, the timestamp and the payload, concatenated with full stops; HMAC-SHA256 in base64."""
    secret, at = WebhookSecret(raw), moment.replace(tzinfo=UTC)
    body = text.encode("utf-8", "ignore").decode()
    theirs = standardwebhooks.Webhook(secret.reveal()).sign(str(message_id), at, body)
    assert secret.sign(str(message_id), at, body.encode()) == theirs


def test_secrets_are_random_and_whole():
    made = {WebhookSecret.new().reveal() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == len("whsec_") + 44 for one in made)
    with pytest.raises(TypeError):
        __import__("pickle").dumps(WebhookSecret.new())
