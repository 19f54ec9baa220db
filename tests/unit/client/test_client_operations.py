"""Every operation goes where the API has it."""

import inspect

import pytest

from tacit.client import Client

ITEM = {"reference": "a", "text": "x"}
CALLS = [
    ("get_me", (), {}, "GET /v1/me", None),
    ("create_principal", ("ann", "analyst"), {}, "POST /v1/principals", {"name": "ann", "role": "analyst"}),
    ("list_principals", (), {}, "GET /v1/principals", None),
    ("delete_principal", ("p",), {}, "DELETE /v1/principals/p", None),
    ("create_token", ("p",), {"scopes": ["ask"]}, "POST /v1/principals/p/tokens", {"scopes": ["ask"]}),
    ("delete_token", ("p", "t"), {}, "DELETE /v1/principals/p/tokens/t", None),
    (
        "create_population",
        ("clinic",),
        {"unit": "person", "accounting": "pure", "total": {"epsilon": 10}},
        "POST /v1/populations",
        {"name": "clinic", "unit": "person", "accounting": "pure", "total": {"epsilon": "10"}},
    ),
    ("list_populations", (), {}, "GET /v1/populations", None),
    ("get_population", ("p",), {}, "GET /v1/populations/p", None),
    ("update_population", ("p", {"reason": "x"}), {}, "PATCH /v1/populations/p", {"reason": "x"}),
    ("set_allowance", ("p", "a"), {"epsilon": 2}, "PUT /v1/populations/p/allowances/a", {"epsilon": "2"}),
    ("budget", ("p",), {}, "GET /v1/populations/p/budget", None),
    ("ledger", ("p",), {}, "GET /v1/populations/p/ledger", None),
    (
        "pseudonymize",
        ("p", [ITEM]),
        {"kind": "phone", "country": "CH"},
        "POST /v1/populations/p:pseudonymize",
        {"kind": "phone", "items": [ITEM], "country": "CH"},
    ),
    ("put_population_grant", ("p", "s", ["pseudonymize"]), {}, "PUT /v1/populations/p/grants/s", {"rights": ["pseudonymize"]}),
    (
        "get_subject",
        ("p", "P-1"),
        {"purpose": "asked", "kind": "patient-id"},
        "POST /v1/populations/p/subjects:get",
        {"identifier": "P-1", "kind": "patient-id", "purpose": "asked"},
    ),
    (
        "erase_subject",
        ("p", "+41"),
        {"kind": "phone", "country": "CH"},
        "POST /v1/populations/p/subjects:erase",
        {"identifier": "+41", "kind": "phone", "country": "CH"},
    ),
    ("delete_population_grant", ("p", "s"), {}, "DELETE /v1/populations/p/grants/s", None),
    ("create_dataset", ({"name": "visits"},), {}, "POST /v1/datasets", {"name": "visits"}),
    ("list_datasets", (), {}, "GET /v1/datasets", None),
    ("get_dataset", ("d",), {}, "GET /v1/datasets/d", None),
    ("update_dataset", ("d", {"max_rows": 1}), {}, "PATCH /v1/datasets/d", {"max_rows": 1}),
    ("delete_dataset", ("d",), {}, "DELETE /v1/datasets/d", None),
    ("put_grant", ("d", "p", ["upload"]), {}, "PUT /v1/datasets/d/grants/p", {"rights": ["upload"]}),
    ("delete_grant", ("d", "p"), {}, "DELETE /v1/datasets/d/grants/p", None),
    (
        "risk_report",
        ("d", ["born", "sex"]),
        {"purpose": "x", "sensitive": ["ward"], "population_size": 1000, "at_k": {"k": 5}},
        "POST /v1/datasets/d:risk",
        {
            "quasi_identifiers": ["born", "sex"],
            "purpose": "x",
            "sensitive": ["ward"],
            "population_size": 1000,
            "at_k": {"k": 5},
        },
    ),
    ("list_uploads", ("d",), {}, "GET /v1/datasets/d/uploads", None),
    ("get_upload", ("d", "u"), {}, "GET /v1/datasets/d/uploads/u", None),
    ("get_rejected", ("d", "u"), {}, "GET /v1/datasets/d/uploads/u/rejected", None),
    ("cancel_upload", ("d", "u"), {}, "DELETE /v1/datasets/d/uploads/u", None),
    ("price", ("d", {"select": []}), {"within": 50}, "POST /v1/datasets/d/queries:price", {"select": [], "within": "50"}),
    ("ask", ("d", {"select": []}), {"epsilon": 0.5}, "POST /v1/datasets/d/queries", {"select": [], "epsilon": "0.5"}),
    ("get_answer", ("d", "a"), {}, "GET /v1/datasets/d/queries/a", None),
    ("list_answers", ("d",), {}, "GET /v1/datasets/d/queries", None),
    ("create_tally", ({"name": "q3"},), {}, "POST /v1/tallies", {"name": "q3"}),
    ("list_tallies", (), {}, "GET /v1/tallies", None),
    ("get_tally", ("t",), {}, "GET /v1/tallies/t", None),
    ("send_contribution", ("t", {"key_id": "k"}), {}, "POST /v1/tallies/t/contributions", {"key_id": "k"}),
    ("get_contribution", ("t", "c"), {}, "GET /v1/tallies/t/contributions/c", None),
    ("close_tally", ("t",), {}, "POST /v1/tallies/t:close", {}),
    ("get_sum", ("t",), {}, "GET /v1/tallies/t/sum", None),
    ("create_key", ("k",), {"kind": "encryption"}, "POST /v1/keys", {"name": "k", "kind": "encryption"}),
    ("list_keys", (), {}, "GET /v1/keys", None),
    ("delete_key", ("k",), {}, "DELETE /v1/keys/k", None),
    ("encrypt", ("k", [ITEM]), {}, "POST /v1/keys/k:encrypt", {"items": [ITEM]}),
    ("decrypt", ("k", [{"ciphertext": "c"}]), {}, "POST /v1/keys/k:decrypt", {"items": [{"ciphertext": "c"}]}),
    ("get_key", ("k",), {}, "GET /v1/keys/k", None),
    ("update_key", ("k",), {"min_version": 2, "if_match": '"1"'}, "PATCH /v1/keys/k", {"min_version": 2}),
    ("rotate_key", ("k",), {}, "POST /v1/keys/k:rotate", {}),
    ("recover_key", ("k",), {}, "POST /v1/keys/k:recover", {}),
    ("rewrap", ("k", [{"ciphertext": "c"}]), {}, "POST /v1/keys/k:rewrap", {"items": [{"ciphertext": "c"}]}),
    ("tokenize", ("k", [ITEM]), {}, "POST /v1/keys/k:tokenize", {"items": [ITEM]}),
    ("detokenize", ("k", [{"token": "t"}]), {}, "POST /v1/keys/k:detokenize", {"items": [{"token": "t"}]}),
    ("seal", ("k", [ITEM]), {}, "POST /v1/keys/k:seal", {"items": [ITEM]}),
    ("new_data_key", ("k",), {}, "POST /v1/keys/k:new_data_key", {"items": [{}], "plaintext": True}),
    ("put_key_grant", ("k", "s", ["encrypt"]), {}, "PUT /v1/keys/k/grants/s", {"rights": ["encrypt"]}),
    ("delete_key_grant", ("k", "s"), {}, "DELETE /v1/keys/k/grants/s", None),
    ("get_file", ("f",), {}, "GET /v1/files/f", None),
    ("terminate_file", ("f",), {}, "DELETE /v1/files/f", None),
    ("list_jobs", (), {}, "GET /v1/jobs", None),
    ("get_job", ("j",), {}, "GET /v1/jobs/j", None),
    ("cancel_job", ("j",), {}, "POST /v1/jobs/j:cancel", {}),
    (
        "create_webhook",
        ("https://a.example/in", ["upload.ready"]),
        {},
        "POST /v1/webhooks",
        {"url": "https://a.example/in", "events": ["upload.ready"]},
    ),
    ("list_webhooks", (), {}, "GET /v1/webhooks", None),
    ("get_webhook", ("w",), {}, "GET /v1/webhooks/w", None),
    ("delete_webhook", ("w",), {}, "DELETE /v1/webhooks/w", None),
    ("rotate_webhook", ("w",), {}, "POST /v1/webhooks/w:rotate", {}),
    ("test_webhook", ("w",), {}, "POST /v1/webhooks/w:test", {}),
    ("retry_delivery", ("w", "d"), {}, "POST /v1/webhooks/w/deliveries/d:retry", {}),
    ("signing_keys", (), {}, "GET /v1/signing-keys", None),
    ("audit", (), {}, "GET /v1/audit", None),
    ("list_checkpoints", (), {}, "GET /v1/audit/checkpoints", None),
    ("get_system", (), {}, "GET /v1/system", None),
    ("acknowledge", ("restored",), {"dataset": "d"}, "POST /v1/system:acknowledge", {"reason": "restored", "dataset": "d"}),
    ("set_read_only", (True,), {}, "POST /v1/system:read-only", {"on": True}),
]
ELSEWHERE = {"upload", "infer_schema", "get_offset", "export_rows", "iterate_rows", "export_frame", "contribute", "close"} | {
    "export_at_k",
    "wait_job",
}
PAID_OR_MADE = {"create_principal", "create_token", "create_population", "create_dataset", "create_tally", "create_key"} | {
    "ask",
    "send_contribution",
    "close_tally",
    "create_webhook",
    "rotate_webhook",
    "erase_subject",
    "rotate_key",
}


@pytest.mark.parametrize("call", CALLS, ids=[call[0] for call in CALLS])
def test_each_operation_goes_where_the_api_has_it(client, service, call):
    name, words, options, line, body = call
    method, path = line.split()
    service.on(method, path, body={"items": [], "next_cursor": None})
    replied = getattr(client, name)(*words, **options)
    if name.startswith("list_") or name in {"ledger", "audit"}:
        assert list(replied) == []
    seen = service.last
    assert (seen.method, seen.path) == (method, path)
    assert (seen.json if seen.body else None) == body
    assert seen.query == {}
    assert ("idempotency-key" in seen.headers) == (name in PAID_OR_MADE)
    assert seen.headers.get("content-type") == ("application/json" if body is not None else None)


def test_no_operation_is_left_out_of_this_table():
    public = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert public - ELSEWHERE == {call[0] for call in CALLS}
