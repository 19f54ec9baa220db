"""Every stored cell that something protects, found from the mapped tables, and for each table what must refuse a touched one.

`COLUMNS` is what a writer of the database may not touch unseen: all binary columns, every column under a row's MAC, and what is
named in `BESIDES`. `PROBES` has one probe for each table that has any: it uses the row as the service does, and raises.
"""

import base64
import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from app.crypto.keyring import Keyring
from app.errors import Integrity, TacitError
from app.main import read_root_key
from app.operations import (
    access,
    answer,
    audit,
    authority,
    checking,
    export,
    files,
    jobs,
    keychain,
    named_keys,
    once,
    populations,
    principals,
    tallies,
    tombstones,
    webhooks,
)
from app.operations.anchors import Anchors
from app.operations.form import Form
from app.operations.once import Claim
from app.store import audit as stored_audit
from app.store import integrity, tables
from app.store.base import Authenticated, Table
from tacit import Client, sealing
from tests.attacks.laid_bare import count_question, forgive
from tests.attacks.test_routes import _tally, paillier_key
from tests.world import POLICY, ROWS, SCHEMA, UNIT

CLASSES = {mapper.class_.__tablename__: mapper.class_ for mapper in Table.registry.mappers}
# Protected by what is no binary column and no MAC of the row: by a verifier, a chain, a signature.
BESIDES = {
    "tokens": {"principal_id", "role", "scopes", "expires_at"},
    "audit": {"at", "principal_id", "action", "object_id", "detail"},
    "checkpoints": {"document"},
    "row_groups": {"data_key_id"},
    "ledger": {"question"},
}
OPEN = {"files.lease_id"}  # names that a rule above would take for protected


def _columns() -> dict[str, list[str]]:
    found = {}
    for table in Table.metadata.sorted_tables:
        kind = CLASSES[table.name]
        under_mac = issubclass(kind, Authenticated)
        moving = kind.moving if under_mac else frozenset()
        names = [
            column.name
            for column in table.columns
            if not column.primary_key
            and column.name not in moving
            and (under_mac or isinstance(column.type, sa.LargeBinary) or column.name in BESIDES.get(table.name, ()))
        ]
        if names:
            found[table.name] = names
    return found


COLUMNS = _columns()


@dataclass
class Rich:
    """A world in which every protected table has rows, in two organisations; who may use what."""

    world: Any
    desk: Any
    callers: dict[str, Any] = field(default_factory=dict)  # by id
    tokens: dict[str, str] = field(default_factory=dict)  # by public id
    claims: dict[str, tuple[Any, Claim]] = field(default_factory=dict)  # by digest of the key
    answers: dict[str, tuple[Any, str]] = field(default_factory=dict)  # entry → caller, dataset
    owners: dict[str, Any] = field(default_factory=dict)  # by organisation
    spared: str = ""  # a dataset that nobody touches

    def add(self, token: str) -> Any:
        """Know a token's holder."""
        caller = principals.authenticate(self.desk, token)
        self.callers[caller.id] = caller
        self.tokens[token.split("_")[1]] = token
        if caller.role == "owner":
            self.owners[caller.organisation] = caller
        return caller


def furnish(world: Any) -> Rich:
    """Fill two organisations."""
    rich = Rich(world, dataclasses.replace(world.desk, anchors=Anchors()))  # MACs by themselves: test_anchors.py has the anchor
    for token in world.tokens.values():
        rich.add(token)
    _fill(rich, {role: getattr(world, role) for role in world.tokens}, dict(world.ids))
    _, operator = principals.found_organisation(world.desk, name="rival", operator="operator")
    rich.add(operator.reveal())
    clients = {"operator": Client(world.url, operator.reveal())}
    ids = {"operator": clients["operator"].get_me()["id"]}
    for role in ("owner", "partner", "analyst", "service"):
        made = clients["operator"].create_principal(f"the-{role}", role, may_create_populations=role == "owner")
        token = clients["operator"].create_token(made["id"])["token"]
        ids[role], clients[role] = made["id"], Client(world.url, token)
        rich.add(token)
    _fill(rich, clients, ids)
    for client in clients.values():
        client.close()
    return rich


def _fill(rich: Rich, who: dict[str, Client], ids: dict[str, str]) -> None:
    """Make two of everything that can be two."""
    owner, partner, analyst = who["owner"], who["partner"], who["analyst"]
    owner.create_key("notes", kind="encryption")
    public = sealing.generate(sealing.Kem.X25519).public_key.to_json()
    owner.create_key("registry", kind="recipient", public_key=public)
    owner.put_key_grant("notes", ids["service"], ["encrypt"])
    population = owner.create_population("people", unit="person", accounting="pure", total={"epsilon": "100000"})["id"]
    panel = owner.create_population("panel", unit="contributor", accounting="pure", total={"epsilon": "1"})["id"]
    owner.put_population_grant(panel, ids["service"], ["pseudonymize"])
    owner.set_allowance(population, ids["analyst"], epsilon="50000")
    owner.set_allowance(panel, ids["analyst"], epsilon="1")
    for _ in range(2):
        partner.create_webhook("https://localhost:9/hook", ["upload.ready"])
    form = {"population": population, "max_rows": 10_000, "schema": SCHEMA, "policy": POLICY, "privacy_unit": UNIT}
    made = [owner.create_dataset({"name": name, **form})["id"] for name in ("one", "two", "spared")]
    for dataset in made:
        owner.put_grant(dataset, ids["partner"], ["upload"])
        owner.put_grant(dataset, ids["analyst"], ["query"])
        for _ in range(2):
            partner.upload(dataset, ROWS, media_type="text/csv")
    for name in ("P-gone", "P-never"):
        owner.erase_subject(population, name)
    caller = rich.callers[ids["analyst"]]
    for number in range(2):
        told = analyst.ask(made[0], count_question(number))
        rich.answers[told.id] = (caller, made[0])
    _claimed(rich, rich.callers[ids["owner"]])
    for name in ("first", "second"):
        analyst.create_tally(_tally(panel, [ids["partner"]], paillier_key(), name))
    _waiting(rich, rich.callers[ids["partner"]], made[0])
    rich.spared = made[2]


def _claimed(rich: Rich, caller: Any) -> None:
    """Two replies kept under keys that are known here."""
    for key in ("a", "b"):
        claim = Claim(f"{caller.organisation}-{key}", key.encode())
        with rich.desk.database.write() as tx:
            once.once(rich.desk, tx, caller, claim, lambda key=key: {"reply": key})
        _, digest = once.place(rich.desk, caller, claim)
        rich.claims[digest] = (caller, claim)


def _waiting(rich: Rich, caller: Any, dataset: str) -> None:
    """Two files of two frames that wait to be whole uploads, two jobs, two messages."""
    half = len(ROWS) // 2
    for _ in range(2):
        file = files.create(rich.desk, caller, dataset, form=Form("text/csv", None), length=len(ROWS), claim=None, metadata="x")[
            "id"
        ]
        for start, piece in ((0, ROWS[:half]), (half, ROWS[half:])):
            files.append(rich.desk, caller, file, offset=start, body=io.BytesIO(piece))
        with rich.desk.database.write() as tx:
            asker = jobs.Asker(caller.organisation, caller.id)
            jobs.add(rich.desk, tx, asker, kind="unknown", subject_id=file, state=jobs.DONE)


def rows_of(rich: Rich, table: str) -> list[dict[str, Any]]:
    """Every row of a table that a probe can use, as the database has it, but what the spared dataset consists of."""
    wanted = Table.metadata.tables[table]
    with rich.desk.database.read() as tx:
        spared = set(tx.scalars(sa.select(tables.Upload.id).where(tables.Upload.dataset_id == rich.spared))) | {rich.spared}
        found = [dict(row._mapping) for row in tx.execute(sa.select(wanted).order_by(*wanted.primary_key.columns))]
    if table in {"ledger", "idempotency"}:
        found = [one for one in found if one.get("id", one.get("key_digest")) in rich.answers.keys() | rich.claims.keys()]
    return [one for one in found if not spared & {one.get(name) for name in ("id", "dataset_id", "upload_id", "object_id")}]


def put(rich: Rich, table: str, row: dict[str, Any], **values: Any) -> None:
    """Write cells of a row behind the service's back."""
    wanted = Table.metadata.tables[table]
    place = sa.and_(*(column == row[column.name] for column in wanted.primary_key.columns))
    with rich.desk.database.write(even_read_only=True) as tx:
        tx.execute(sa.update(wanted).where(place).values(values))


def refused(rich: Rich, table: str, row: dict[str, Any]) -> str | None:
    """Use a row as the service does; return the code it is refused with, None where it is not."""
    try:
        PROBES[table](rich, row)
    except TacitError as error:
        return error.code
    finally:
        _forgive(rich)
    return None


def _forgive(rich: Rich) -> None:
    """Open what the probe had closed: what was touched is put back, and is not to be refused for what it was before."""
    with rich.desk.database.read() as tx:
        closed = [row.dataset_id for row in integrity.all_quarantined(tx)]
    for dataset in closed:
        forgive(rich.desk, dataset)


def still_served(rich: Rich) -> bool:
    """Tell whether the dataset that nobody touched is given out whole."""
    caller = next(one for one in rich.owners.values() if _owns(rich, one, rich.spared))
    return _exported(rich, caller, rich.spared).count(b"\n") == 401


def _owns(rich: Rich, caller: Any, dataset: str) -> bool:
    with rich.desk.database.read() as tx:
        found = tx.get(tables.Dataset, dataset)
    return found is not None and found.organisation_id == caller.organisation


def _exported(rich: Rich, caller: Any, dataset: str) -> bytes:
    made = export.export_rows(rich.desk, caller, dataset, purpose="look", form="csv", open_columns=())
    return b"".join(made.chunks)


def _keys(rich: Rich, _: dict[str, Any]) -> None:
    keychain.load_all(rich.desk.database, Keyring(read_root_key(rich.world.settings)))


def _holder(rich: Rich, row: dict[str, Any]) -> None:
    bearers = [bearer for bearer in rich.tokens.values() if _token_of(rich, bearer) == row["id"]]
    for bearer in bearers:
        principals.authenticate(rich.desk, bearer)
    if not bearers:
        authority_of(rich, tables.Principal, row)


def _token_of(rich: Rich, bearer: str) -> str | None:
    with rich.desk.database.read() as tx:
        found = tx.get(tables.Token, bearer.split("_")[1])
    return None if found is None else found.principal_id


def authority_of(rich: Rich, kind: type[Any], row: dict[str, Any]) -> None:
    """Believe a row, as every operation does that reads it."""
    with rich.desk.database.read() as tx:
        authority.believe(rich.desk, tx.get(kind, tuple(row[column.name] for column in kind.__table__.primary_key.columns)))


def _of_organisation(rich: Rich, row: dict[str, Any]) -> Any:
    """The owner of the organisation that the row was of when it was read."""
    return rich.owners[row["organisation_id"]]


def _upload_rows(rich: Rich, row: dict[str, Any]) -> None:
    """Give out and count what the row's upload belongs to: every chunk is opened by one of the two."""
    with rich.desk.database.read() as tx:
        upload = row.get("upload_id") or row["id"]
        found = tx.get(tables.Upload, upload)
        dataset = row.get("dataset_id") or ("" if found is None else found.dataset_id)
    _dataset_rows(rich, {"dataset_id": dataset}, uids=row.get("column") == UIDS)


UIDS = len(SCHEMA) - 1  # a suppressed column is not stored; the row uids come after the last one


def _dataset_rows(rich: Rich, row: dict[str, Any], *, uids: bool = False) -> None:
    caller = next(one for one in rich.owners.values() if _owns(rich, one, row["dataset_id"]))
    if uids:
        rich.asked = getattr(rich, "asked", 0) + 1
        question = {"select": [{"count": {}}], "epsilon": f"{1 + rich.asked / 10**5:.5f}"}
        answer.ask(rich.desk, caller, row["dataset_id"], question, claim=None)
    else:
        _exported(rich, caller, row["dataset_id"])


def _answer(rich: Rich, row: dict[str, Any]) -> None:
    caller, dataset = rich.answers[row["id"]]
    answer.get_answer(rich.desk, caller, dataset, row["id"])


def _claim(rich: Rich, row: dict[str, Any]) -> None:
    caller, claim = rich.claims[row["key_digest"]]
    with rich.desk.database.write() as tx:
        once.begin(rich.desk, tx, caller, claim)
        tx.rollback()


def _allowance(rich: Rich, row: dict[str, Any]) -> None:
    populations.get_budget(rich.desk, rich.callers[row["principal_id"]], row["population_id"])


def _grant(rich: Rich, row: dict[str, Any]) -> None:
    with rich.desk.database.read() as tx:
        have = access.rights(rich.desk, tx, rich.callers[row["principal_id"]], row["object_id"])
    if set(have) != set(json.loads(row["rights"])):
        raise AssertionError("a right that was never granted")


def _log(rich: Rich, row: dict[str, Any]) -> None:
    bad = audit.first_bad(rich.desk, row["organisation_id"])
    if bad is not None:
        assert bad <= row["ordinal"], "the first bad entry is named"
        raise Integrity("named")


def _checkpoint(rich: Rich, row: dict[str, Any]) -> None:
    with rich.desk.database.read() as tx:
        home = tx.get(tables.Organisation, row["organisation_id"])
        assert stored_audit.newest(tx, home.id) is not None
    if checking.verdict(rich.desk, home, outside=())["why"] is not None:
        raise Integrity("named")


def _file(rich: Rich, row: dict[str, Any]) -> None:
    file = row.get("file_id") or row["id"]
    if files.reader(rich.desk, file).read() != ROWS:
        raise AssertionError("a wrong file")


def _state(rich: Rich, _: dict[str, Any]) -> None:
    with rich.desk.database.read() as tx:
        for row in integrity.page(tx, tables.StoreState, None, limit=10):
            authority.believe(rich.desk, row)


def _tombstones(rich: Rich, row: dict[str, Any]) -> None:
    with rich.desk.database.read() as tx:
        tombstones.believed(rich.desk, tx, row["population_id"])


PROBES: dict[str, Callable[[Rich, dict[str, Any]], None]] = {
    "store_state": _state,
    "erasures": _tombstones,
    "key_encryption_keys": _keys,
    "purpose_keys": _keys,
    "principals": _holder,
    "tokens": lambda rich, row: principals.authenticate(rich.desk, rich.tokens[row["id"]]) and None,
    "populations": lambda rich, row: populations.get_population(rich.desk, _of_organisation(rich, row), row["id"]) and None,
    "allowances": _allowance,
    "datasets": lambda rich, row: _dataset_rows(rich, {"dataset_id": row["id"]}),
    "grants": _grant,
    "heads": _dataset_rows,
    "uploads": _upload_rows,
    "row_groups": _upload_rows,
    "column_chunks": _upload_rows,
    "ledger": _answer,
    "named_keys": lambda rich, row: named_keys.list_keys(rich.desk, _of_organisation(rich, row), after="", limit=50) and None,
    "tallies": lambda rich, row: tallies.get_tally(rich.desk, _of_organisation(rich, row), row["id"]) and None,
    "idempotency": _claim,
    "files": _file,
    "file_frames": _file,
    "jobs": lambda rich, row: jobs.get_job(rich.desk, rich.callers[row["principal_id"]], row["id"]) and None,
    "webhooks": lambda rich, row: webhooks.get_webhook(rich.desk, rich.callers[row["principal_id"]], row["id"]) and None,
    "deliveries": lambda rich, row: authority_of(rich, tables.Delivery, row),
    "audit": _log,
    "checkpoints": _checkpoint,
}


def cells(rich: Rich) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every protected cell: table, column, row."""
    for table, names in COLUMNS.items():
        for row in rows_of(rich, table):
            yield from ((table, name, row) for name in names)


def text_of(value: Any) -> str:
    """A cell for a message: never more than its beginning."""
    return base64.b64encode(value[:12]).decode() if isinstance(value, bytes) else repr(value)[:30]
