"""`tacit.audit` on whatever a service, or somebody in its place, might send: a finding or one refusal, never another error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.audit import BEGINNING, Found, entry_digest, examine, ledger_digest, settle
from tacit.certificate import VerificationFailed, canonical

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
MEMBERS = ("organisation", "ordinal", "at", "principal", "action", "object", "detail")


def _entry(ordinal, detail):
    return dict(zip(MEMBERS, ("o", ordinal, "2026-11-25T00:00:00.000000Z", None, "ask", None, detail), strict=True))


def _chained(details):
    """A log of somebody who makes the digests right, whatever the details are."""
    before, entries = BEGINNING, []
    for ordinal, detail in enumerate(details, start=1):
        entry = _entry(ordinal, detail)
        before = entry_digest(before, entry)
        entries.append(entry | {"digest": before.hex()})
    return entries


@given(st.lists(JSON | st.dictionaries(st.sampled_from(["ledger_digest", "entry", "population", "epsilon"]), JSON), max_size=4))
def test_a_log_with_any_details_is_followed(details):
    assert examine(_chained(details), (), organisation="o").entries == len(details)


@given(st.lists(st.dictionaries(st.sampled_from([*MEMBERS, "digest"]), JSON), min_size=1, max_size=3))
def test_entries_of_any_form_are_findings(entries):
    found = examine(entries, (), organisation="o")
    assert (found.first_bad, found.why is None) == (1, False)


@given(st.lists(st.dictionaries(st.sampled_from(["id", "cost", "population", "kind"]), JSON), max_size=3))
def test_ledgers_of_any_form_are_settled_or_refused(ledger):
    checkpoint = {"ordinal": 1, "populations": {"p": {"entries": 0, "spent": {"epsilon": "0"}}}}
    try:
        told = settle(Found(), [checkpoint], "p", ledger)
    except VerificationFailed:
        return
    assert told is None or ledger


@given(JSON, JSON)
def test_digests_are_equal_only_for_equal_entries(one, other):
    """SHA-256 over an injective encoding: canonical JSON under one prefix and one length of the digest before."""
    equal = canonical(one) == canonical(other)
    assert (entry_digest(BEGINNING, _entry(1, one)) == entry_digest(BEGINNING, _entry(1, other))) == equal
    assert (ledger_digest({"purpose": one}) == ledger_digest({"purpose": other})) == equal


def test_an_entry_of_another_organisation_or_with_a_digest_that_is_none_is_named():
    log = _chained([{}, {}, {}])
    assert examine(log, (), organisation="p").first_bad == 1
    for digest in (None, "", 7, "é", log[1]["digest"].upper()):
        assert examine([log[0], log[1] | {"digest": digest}, log[2]], (), organisation="o").first_bad == 2
    with pytest.raises(VerificationFailed):
        settle(Found(), [], "p", [{"id": "a", "cost": {"epsilon": "1/0"}}])
    assert json.loads(json.dumps(log)) == log
