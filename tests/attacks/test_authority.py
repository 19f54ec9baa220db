"""Threats C9, C15 and soundness R25, R26: rights, bounds, totals and tokens that somebody wrote into the database."""

import json

import pytest

from app.errors import Integrity, TacitError, Unauthenticated
from app.operations import answer, principals
from app.operations.ingest import Form
from tacit import Problem
from tests.attacks.laid_bare import count_question, execute, impatient, rows

FORM = Form(media_type="text/csv", content_encoding=None)


def _spend(world, population, dataset):
    return world.analyst.ask(dataset, count_question(1))


def _look(world, population, dataset):
    return world.owner.get_dataset(dataset)


def _rights(world, population, dataset):
    return world.analyst.get_me()


def _upload(world, population, dataset):
    return world.partner.upload(dataset, b"patient_id,name,hours,income,sex\nP-1,n,1,1.00,F\n", media_type="text/csv")


def _budget(world, population, dataset):
    return world.analyst.budget(population)


def _doubled(text):
    body = json.loads(text)
    return json.dumps({"uploads": [*body["uploads"], body["uploads"][0]], "tombstones": []})


EDITS = {
    "a total raised": ("populations", "total_epsilon", lambda old: old * 100, [_spend, _budget]),
    "a unit changed": ("populations", "unit", lambda old: "row", [_spend]),
    "earlier totals forgotten": ("populations", "earlier_totals", lambda old: '[{"epsilon": "1"}]', [_spend]),
    "an allowance raised": ("allowances", "epsilon", lambda old: old * 100, [_spend, _budget]),
    "a grant widened": ("grants", "rights", lambda old: '["export", "query", "upload"]', [_spend, _upload, _rights]),
    "a grant given to another": ("grants", "kind", lambda old: "key", [_spend]),
    "an override written": ("grants", "override_reason", lambda old: "because", [_spend]),
    "a role changed": ("principals", "role", lambda old: "owner", [_spend, _rights]),
    "a disabled principal back": ("principals", "disabled", lambda old: not old, [_spend, _rights]),
    "a principal that may create": ("principals", "may_create_populations", lambda old: not old, [_spend, _rights]),
    "a contribution bound lowered": (
        "datasets",
        "privacy_unit",
        lambda old: json.dumps({**json.loads(old), "max_contributions_per_partition": 2}),
        [_spend, _look, _upload],
    ),
    "a value bound narrowed": (
        "datasets",
        "schema",
        lambda old: old.replace('"99"', '"1"').replace("99", "1"),
        [_spend, _upload],
    ),
    "a policy weakened": ("datasets", "policy", lambda old: old.replace("suppress", "keep"), [_spend, _upload]),
    "a row limit raised": ("datasets", "max_rows", lambda old: old * 10, [_spend, _upload]),
    "a dataset in another population": ("datasets", "population_id", None, [_spend, _upload]),
    "an upload doubled": ("heads", "content", _doubled, [_spend, _upload]),
    "uploads forgotten": ("heads", "content", lambda old: '{"tombstones": [], "uploads": []}', [_spend, _upload]),
    "a version repeated": ("heads", "data_version", lambda old: "0" * 36, [_spend]),
}


@pytest.mark.attack("C15")
@pytest.mark.parametrize("what", EDITS)
def test_c15_rights_bounds_and_totals_written_into_the_database_are_refused_on_read(world, what):
    population, dataset = impatient(world).filled()
    table, column, change, uses = EDITS[what]
    spare = world.population(name="spare", epsilon="1000")
    only = f" AND id = '{world.ids['analyst']}'" if table == "principals" else ""
    before = rows(world.desk, f"SELECT {column} FROM {table} WHERE 1 = 1{only}")
    for (old,) in {tuple(row) for row in before}:
        new = spare if change is None else change(old)
        assert new != old
        condition = f"{column} IS NULL" if old is None else f"{column} = :o"
        execute(
            world.desk, f"UPDATE {table} SET {column} = :n WHERE {condition}{only}", n=new, **({} if old is None else {"o": old})
        )
    for use in uses:
        with pytest.raises(Problem) as refused:
            use(world, population, dataset)
        closed = {"quarantined"} if table == "heads" and use is not uses[0] else set()  # by the first that found it
        assert refused.value.status == 503
        assert refused.value.code in (closed or {"integrity"}), (what, use.__name__)
    assert rows(world.desk, "SELECT count(*) FROM ledger") == [(0,)]
    assert rows(world.desk, "SELECT sum(spent_epsilon) FROM populations") == [(0,)]


@pytest.mark.attack("C15")
def test_c15_a_grant_that_somebody_inserted_is_refused(world):
    _, dataset = world.filled()
    stranger, client = world.newcomer("stranger", "analyst")
    client._transport._patience = 0.0
    grant = "INSERT INTO grants (object_id, principal_id, kind, rights, version, mac) "
    own = "SELECT object_id, :s, kind, rights, version, mac FROM grants WHERE object_id = :d AND principal_id = :a"
    execute(world.desk, grant + own, s=stranger, d=dataset, a=world.ids["analyst"])
    with pytest.raises(Problem) as refused:
        client.ask(dataset, count_question(0))
    assert refused.value.code == "integrity"
    assert world.analyst.ask(dataset, count_question(0)).cost == {"epsilon": "1"}


@pytest.mark.attack("C15")
def test_c15_a_grant_without_its_mac_lists_no_dataset_and_hides_no_export(world):
    _, dataset = world.filled()
    impatient(world)
    grant = "INSERT INTO grants (object_id, principal_id, kind, rights, version, mac) VALUES (:d, :s, 'dataset', :r, 1, :m)"
    execute(world.desk, grant, d=dataset, s=world.ids["service"], r='["export"]', m=bytes(32))
    for use in (
        lambda: list(world.service.list_datasets()),
        lambda: world.owner.put_population_grant(
            world.analyst.get_dataset(dataset)["population"], world.ids["service"], ["pseudonymize"]
        ),
    ):
        with pytest.raises(Problem) as refused:
            use()
        assert refused.value.code == "integrity"


@pytest.mark.attack("C15")
def test_c15_an_allowance_without_its_mac_shows_no_population(world):
    population, _ = world.filled()
    stranger, client = world.newcomer("stranger", "analyst")
    columns = "population_id, principal_id, epsilon, delta, rho, spent_epsilon, spent_delta, spent_rho, version, mac"
    execute(
        world.desk,
        f"INSERT INTO allowances ({columns}) VALUES (:p, :s, 1, 0, 0, 0, 0, 0, 1, :m)",
        p=population,
        s=stranger,
        m=bytes(32),
    )
    for use in (lambda: client.budget(population), lambda: list(client.ledger(population))):
        with pytest.raises(Problem) as refused:
            use()
        assert refused.value.code == "integrity"


@pytest.mark.attack("C15")
def test_c15_a_recipients_key_put_in_place_of_another_is_refused_before_anything_is_sealed_to_it(world):
    from tacit import sealing

    keys = [sealing.generate(sealing.Kem.X25519).public_key.to_json() for _ in range(2)]
    impatient(world).owner.create_key("registry", kind="recipient", public_key=keys[0])
    schema = [
        {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
        {"name": "ssn", "type": "text"},
    ]
    policy = {"patient_id": {"technique": "pseudonymize"}, "ssn": {"technique": "seal", "recipient": "registry"}}
    dataset = world.dataset(world.population(), schema=schema, policy=policy)
    execute(world.desk, "UPDATE named_keys SET public_key = :k", k=json.dumps(keys[1]))
    with pytest.raises(Problem) as refused:
        world.partner.upload(dataset, b"patient_id,ssn\nP-1,123\n", media_type="text/csv")
    assert refused.value.code == "integrity"
    for table in ("column_chunks", "uploads", "idempotency WHERE state = 'claimed'"):
        assert rows(world.desk, f"SELECT count(*) FROM {table}") == [(0,)], "and nothing is left, its key neither"


@pytest.mark.attack("C9")
def test_c9_a_verifier_in_another_row_opens_nothing(world):
    mine, theirs = (world.tokens[role] for role in ("partner", "operator"))
    my_id, their_id = (token.split("_")[1] for token in (mine, theirs))
    secret = mine.split("_")[2]
    kept = {one[0]: one[1:] for one in rows(world.desk, "SELECT id, principal_id, role, verifier FROM tokens")}

    def refused(bearer):
        with pytest.raises(Unauthenticated):
            principals.authenticate(world.desk, bearer)

    def put(token, principal, role, verifier):
        sql = "UPDATE tokens SET principal_id = :p, role = :r, verifier = :v WHERE id = :i"
        execute(world.desk, sql, p=principal, r=role, v=bytes(verifier), i=token)

    put(their_id, kept[their_id][0], "operator", kept[my_id][2])
    refused(f"tacit_{their_id}_{secret}")
    refused(mine.replace(my_id, their_id))
    put(my_id, kept[their_id][0], "operator", kept[my_id][2])
    refused(mine)
    put(my_id, kept[my_id][0], "operator", kept[my_id][2])
    refused(mine)
    put(my_id, kept[their_id][0], "operator", kept[their_id][2])
    refused(mine)
    put(my_id, *kept[my_id])
    put(their_id, *kept[their_id])
    assert principals.authenticate(world.desk, mine).role == "partner"
    assert principals.authenticate(world.desk, theirs).role == "operator"


@pytest.mark.attack("C9")
@pytest.mark.parametrize(("column", "value"), [("scopes", "[]"), ("expires_at", None), ("expires_at", 4_102_444_800_000_000)])
def test_c9_scopes_and_expiry_of_a_token_cannot_be_edited(world, column, value):
    made = world.operator.create_token(world.ids["partner"], scopes=["upload"], expires_at="2030-01-01T00:00:00Z")
    assert principals.authenticate(world.desk, made["token"]).scopes == {"upload"}
    execute(world.desk, f"UPDATE tokens SET {column} = :v WHERE id = :i", v=value, i=made["id"])
    with pytest.raises(Unauthenticated):
        principals.authenticate(world.desk, made["token"])


@pytest.mark.attack("C9")
def test_c9_the_stolen_table_holds_no_secret_and_makes_no_token(world):
    for token_id, verifier in rows(world.desk, "SELECT id, verifier FROM tokens"):
        stolen = bytes(verifier)
        assert not any(token.rpartition("_")[2].encode() in stolen for token in world.tokens.values())
        for guess in (stolen.hex(), stolen.hex()[:43]):
            with pytest.raises(TacitError) as refused:
                principals.authenticate(world.desk, f"tacit_{token_id}_{guess}")
            assert refused.value.code == "unauthenticated"


@pytest.mark.attack("C9")
def test_c9_kept_replies_hold_no_secret_and_do_not_open_for_another(world):
    _, dataset = world.filled()
    key = "one-key"
    impatient(world)
    made = world.operator.create_token(world.ids["partner"], idempotency_key=key)
    body = {"name": "panel", "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}
    world.owner.create_population("panel", unit="row", accounting="pure", total={"epsilon": "1"}, idempotency_key=key)
    kept = rows(world.desk, "SELECT principal_id, key_digest, fingerprint, state, reply FROM idempotency")
    flat = b"|".join(bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode() for row in kept for cell in row)
    assert made["token"].rpartition("_")[2].encode() not in flat
    assert key.encode() not in flat
    assert b"panel" not in flat
    assert ("shown", None) in {(row[3], row[4]) for row in kept}
    execute(world.desk, "UPDATE idempotency SET principal_id = :o WHERE principal_id = :w", o="0" * 36, w=world.ids["operator"])
    execute(
        world.desk,
        "UPDATE idempotency SET principal_id = :o WHERE principal_id = :w",
        o=world.ids["operator"],
        w=world.ids["owner"],
    )
    with pytest.raises(Problem) as refused:
        world.operator.create_population(idempotency_key=key, **body)
    assert refused.value.code in {"idempotency-conflict", "integrity"}
    with pytest.raises(Integrity):
        execute(world.desk, "UPDATE populations SET total_epsilon = total_epsilon + 1")
        answer.price_query(world.desk, world.caller("owner"), dataset, count_question(0))
