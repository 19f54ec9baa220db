"""Datasets: a schema, a policy and contribution bounds in a population; and who was granted what on them.

Invariants
- Every column has a stated technique, or the dataset is refused (promise 1).
- In a population of persons the privacy id is a pseudonymised or tokenised, non-null column of an identifier kind (soundness R3).
- After the first accepted upload types, unit, identifier kinds and grids are frozen (soundness R21); bounds on rows may rise.
- Nobody holds export together with pseudonymise, read-subject or erase-subject for one population (soundness R28): whoever sees
  all rows and can say whose row one is, or whose rows have gone, can name people.
"""

import functools
import json
from datetime import datetime
from typing import Any

from app.clock import new_id, rfc3339
from app.deidentification.policy import Policy
from app.errors import Conflict, Fault, Forbidden, Invalid, NameTaken, NotFound, PreconditionFailed, SchemaFrozen
from app.operations import access, audit, techniques
from app.operations.authority import believe, restamp, stamp
from app.operations.desk import ANALYST, AUDITOR, OPERATOR, OWNER, PARTNER, SERVICE, Caller, Desk
from app.operations.once import Claim, once
from app.store import datasets, grants, populations, tables
from app.store.engine import Transaction
from app.table.schema import Schema

_RIGHTS = {PARTNER: {access.UPLOAD}, ANALYST: {access.QUERY}, SERVICE: {access.EXPORT, access.QUERY}}
_NAMES_PERSON = frozenset({"pseudonymize", "tokenize"})  # soundness R3
_NAMING = {access.PSEUDONYMIZE, access.READ_SUBJECT, access.ERASE_SUBJECT}
MOST_ROWS, MOST_CONTRIBUTIONS = 10**10, 10**6


def create_dataset(desk: Desk, caller: Caller, *, body: dict[str, Any], claim: Claim | None) -> dict[str, Any]:
    """Define a dataset; every fault of schema, policy and privacy unit is reported at once."""
    access.require_role(caller, OWNER)
    schema, policy = read_definition(body)
    techniques.check_noise(desk, schema, policy)
    with desk.database.write() as tx:
        population = access.population(desk, tx, caller, body["population"])
        _check_unit(population.unit, body.get("privacy_unit"), schema, policy)
        techniques.check(tx, caller, policy, unit=population.unit)
        expires_at = body.get("expires_at")

        def act() -> dict[str, Any]:
            if datasets.named(tx, caller.organisation, body["name"]) is not None:
                raise NameTaken("A dataset of this name exists; choose another name.")
            _check_to_come(desk, expires_at)
            row = tables.Dataset(
                id=new_id(),
                organisation_id=caller.organisation,
                population_id=population.id,
                name=body["name"],
                owner_id=caller.id,
                schema=json.dumps(schema.as_json()),
                policy=json.dumps(policy.as_json()),
                privacy_unit=json.dumps(body.get("privacy_unit")),
                max_rows=body["max_rows"],
                frozen=False,
                created_at=desk.clock.now(),
                retention_days=body.get("retention_days"),
                expires_at=expires_at,
                version=1,
            )
            tx.add(stamp(desk, row))
            tx.flush()
            techniques.lay_keys(desk, tx, population, policy)
            audit.note(desk, tx, caller, "create_dataset", row.id)
            return shown(row)

        return once(desk, tx, caller, claim, act)


def list_datasets(desk: Desk, caller: Caller, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of the datasets that the caller may see."""
    with desk.database.read() as tx:
        everything = caller.role in {OPERATOR, OWNER, AUDITOR}
        only = None if everything else [believe(desk, one).object_id for one in grants.of_principal(tx, caller.id, "dataset")]
        rows = [believe(desk, row) for row in datasets.page(tx, caller.organisation, after=after, limit=limit, only=only)]
    return {"items": [shown(row) for row in rows], "next_cursor": rows[-1].id if len(rows) == limit else None}


def get_dataset(desk: Desk, caller: Caller, dataset_id: str) -> dict[str, Any]:
    """Return schema, policy and public bounds; no counts."""
    with desk.database.read() as tx:
        return shown(access.dataset(desk, tx, caller, dataset_id))


def update_dataset(
    desk: Desk, caller: Caller, dataset_id: str, *, changes: dict[str, Any], expected: int | None
) -> dict[str, Any]:
    """Change a definition; once rows were accepted only `max_rows` may change, and only up, and `from_data` may go (R21).

    How long rows are kept may change at any time: of uploads to come, and of the dataset as a whole.
    """
    access.require_role(caller, OWNER)
    with desk.database.read() as tx:
        _, wanted = _changed(desk, tx, caller, dataset_id, changes, expected)
    techniques.check_noise(desk, *read_definition(wanted))  # what loads a library is done before the write
    with desk.database.write() as tx:
        row, wanted = _changed(desk, tx, caller, dataset_id, changes, expected)
        schema, policy = read_definition(wanted)
        population = access.population(desk, tx, caller, row.population_id)
        _check_unit(population.unit, wanted["privacy_unit"], schema, policy)
        techniques.check(tx, caller, policy, unit=population.unit)
        row.schema, row.policy = json.dumps(schema.as_json()), json.dumps(policy.as_json())
        row.privacy_unit, row.max_rows = json.dumps(wanted["privacy_unit"]), wanted["max_rows"]
        row.retention_days, row.expires_at = wanted["retention_days"], wanted["expires_at"]
        restamp(desk, row)
        techniques.lay_keys(desk, tx, population, policy)
        audit.note(desk, tx, caller, "update_dataset", row.id)
        return shown(row)


def _changed(
    desk: Desk, tx: Transaction, caller: Caller, dataset_id: str, changes: dict[str, Any], expected: int | None
) -> tuple[tables.Dataset, dict[str, Any]]:
    """Return the dataset and its definition as it would be with the changes; refuse what its version or its rows forbid."""
    row = access.dataset(desk, tx, caller, dataset_id)
    if expected is None or expected != row.version:
        raise PreconditionFailed("Send If-Match with the dataset's present ETag: read it, then change it.")
    if row.frozen and not _may_follow_rows(row, changes):
        raise SchemaFrozen(
            "Rows were accepted under this definition, so only max_rows and retention may change; make a new dataset."
        )
    if row.frozen and changes.get("max_rows", row.max_rows) < row.max_rows:
        raise SchemaFrozen("max_rows of a dataset with rows may only rise.")
    texts = {"schema": row.schema, "policy": row.policy, "privacy_unit": row.privacy_unit}
    if "expires_at" in changes:
        _check_to_come(desk, changes["expires_at"])
    kept = {"max_rows": row.max_rows, "retention_days": row.retention_days, "expires_at": row.expires_at}
    return row, {name: json.loads(text) for name, text in texts.items()} | kept | changes


def _may_follow_rows(row: tables.Dataset, changes: dict[str, Any]) -> bool:
    """Tell whether changes leave every row as it was understood."""
    if "schema" in changes and not Schema.from_json(changes["schema"]).confirms(Schema.from_json(json.loads(row.schema))):
        return False
    return not set(changes) - {"max_rows", "schema", "retention_days", "expires_at"}


def delete_dataset(desk: Desk, caller: Caller, dataset_id: str) -> None:
    """Remove a dataset with its rows and keys; what was spent on its people stays spent."""
    access.require_role(caller, OWNER)
    with desk.database.write() as tx:
        row = access.dataset(desk, tx, caller, dataset_id)
        grants.forget_object(tx, row.id)
        tx.delete(row)
        audit.note(desk, tx, caller, "delete_dataset", row.id)


def put_grant(
    desk: Desk, caller: Caller, dataset_id: str, principal_id: str, *, rights: list[str], override_reason: str | None
) -> dict[str, Any]:
    """Grant rights on a dataset: upload, query, export, and `open:<key>` for an encrypted column's key."""
    access.require_role(caller, OWNER)
    with desk.database.write() as tx:
        row = access.dataset(desk, tx, caller, dataset_id)
        principal = _colleague(tx, caller, principal_id)
        believe(desk, principal)
        allowed = _RIGHTS.get(principal.role, set())
        if wrong := [i for i, right in enumerate(rights) if right not in allowed and not _opens(principal.role, right)]:
            raise Invalid(
                f"A principal of role {principal.role} may be granted {', '.join(sorted(allowed)) or 'nothing'} on a dataset.",
                faults=[Fault("right-of-role", pointer=f"/rights/{index}") for index in wrong],
            )
        _keep_apart(desk, tx, principal, row.population_id, rights)
        released = populations.unprotected_releases(tx, row.population_id, principal.id)
        if access.QUERY in rights and released and not override_reason:
            raise Conflict(
                "This principal received rows of the population outside differential privacy, so answers would tell more than"
                " they claim; grant it with override_reason if that is meant."
            )
        grant = _put(desk, tx, row.id, principal.id, kind="dataset", rights=rights, override_reason=override_reason)
        audit.note(
            desk,
            tx,
            caller,
            "put_grant",
            row.id,
            principal=principal.id,
            rights=",".join(sorted(rights)),
            override=override_reason,
        )
        return _grant_shown(grant)


def delete_grant(desk: Desk, caller: Caller, dataset_id: str, principal_id: str) -> None:
    """Take every right on a dataset away."""
    access.require_role(caller, OWNER)
    with desk.database.write() as tx:
        row = access.dataset(desk, tx, caller, dataset_id)
        remove_grant(desk, tx, caller, row.id, principal_id)


def put_population_grant(
    desk: Desk, caller: Caller, population_id: str, principal_id: str, *, rights: list[str]
) -> dict[str, Any]:
    """Let a service pseudonymise identifiers as the population's datasets do, or read or erase one person at a time."""
    access.require_role(caller, OPERATOR, OWNER)
    if caller.role == OPERATOR and set(rights) - {access.PSEUDONYMIZE}:
        raise Forbidden("Records of people, and erasing them, are the owner's to grant.")
    with desk.database.write() as tx:
        row = access.population(desk, tx, caller, population_id)
        principal = believe(desk, _colleague(tx, caller, principal_id))
        if principal.role != SERVICE or set(rights) - _NAMING:
            raise Invalid(
                f"On a population a service may be granted {', '.join(sorted(_NAMING))}.",
                faults=[Fault("right-of-role", pointer="/rights")],
            )
        for held in grants.of_principal(tx, principal.id, "dataset"):
            exported = datasets.find(tx, caller.organisation, believe(desk, held).object_id)
            if exported is not None and exported.population_id == row.id and access.EXPORT in json.loads(held.rights):
                raise Conflict("This principal may export rows of the population; who may do both could name everybody.")
        grant = _put(desk, tx, row.id, principal.id, kind="population", rights=rights, override_reason=None)
        audit.note(desk, tx, caller, "put_population_grant", row.id, principal=principal.id, rights=",".join(sorted(rights)))
        return _grant_shown(grant)


def delete_population_grant(desk: Desk, caller: Caller, population_id: str, principal_id: str) -> None:
    """Take a service's right to pseudonymise away."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        row = access.population(desk, tx, caller, population_id)
        remove_grant(desk, tx, caller, row.id, principal_id)


def put_key_grant(
    desk: Desk, tx: Transaction, key: tables.NamedKey, principal: tables.Principal, rights: list[str]
) -> dict[str, Any]:
    """Set a principal's rights on a named key."""
    return _grant_shown(_put(desk, tx, key.id, principal.id, kind="key", rights=rights, override_reason=None))


def remove_grant(desk: Desk, tx: Transaction, caller: Caller, object_id: str, principal_id: str) -> None:
    """Remove a grant on any object."""
    grant = grants.find(tx, object_id, principal_id)
    if grant is None:
        raise NotFound("There is no such grant.")
    tx.delete(grant)
    audit.note(desk, tx, caller, "delete_grant", object_id, principal=principal_id)


def read_definition(body: dict[str, Any]) -> tuple[Schema, Policy]:
    """Read schema and policy together, so that a client sees all faults of both."""
    schema = Schema.from_json(body["schema"])
    return schema, Policy.from_json(body["policy"], schema)


def definition(row: tables.Dataset) -> tuple[Schema, Policy]:
    """Return the schema and policy of a verified row."""
    return _read(row.schema, row.policy)


@functools.lru_cache(maxsize=64)
def _read(schema: str, policy: str) -> tuple[Schema, Policy]:
    """Read what is stored, once for many chunks: a hierarchy may have thousands of values."""
    columns = Schema.from_json(json.loads(schema))
    return columns, Policy.from_json(json.loads(policy), columns)


def shown(row: tables.Dataset) -> dict[str, Any]:
    """Return a dataset as the API shows it: nothing of its rows."""
    return {
        "id": row.id,
        "name": row.name,
        "population": row.population_id,
        "schema": json.loads(row.schema),
        "policy": json.loads(row.policy),
        "privacy_unit": json.loads(row.privacy_unit),
        "max_rows": row.max_rows,
        "frozen": row.frozen,
        "retention_days": row.retention_days,
        "expires_at": None if row.expires_at is None else rfc3339(row.expires_at),
        "created_at": rfc3339(row.created_at),
        "version": row.version,
    }


def _check_to_come(desk: Desk, expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= desk.clock.now():
        raise Invalid("A dataset's time ends in the future.", faults=[Fault("in-the-past", pointer="/expires_at")])


def _check_unit(unit: str, privacy_unit: dict[str, Any] | None, schema: Schema, policy: Policy) -> None:
    pointer = "/privacy_unit"
    if unit == "contributor":
        raise Invalid(
            "A population of contributors belongs to tallies.", faults=[Fault("unit-of-tallies", pointer="/population")]
        )
    if unit == "row":
        if privacy_unit is not None:
            raise Invalid("In a population of rows each row stands alone.", faults=[Fault("no-privacy-unit", pointer=pointer)])
        return
    if privacy_unit is None:
        raise Invalid(
            "A population of persons needs privacy_unit: the column that names the person.",
            faults=[Fault("missing", pointer=pointer)],
        )
    name = privacy_unit["column"]
    if name not in schema:
        raise Invalid("privacy_unit names no column.", faults=[Fault("unknown-column", pointer=f"{pointer}/column")])
    column = schema.column(name)
    stored = {kept.name: kept for kept in policy.stored(schema)}.get(name)
    if column.nullable or column.identifier is None or stored is None or stored.technique not in _NAMES_PERSON:
        raise Invalid(
            "The privacy unit's column has an identifier kind, is pseudonymized or tokenized and not nullable.",
            faults=[Fault("identifier-pseudonymized-not-null", pointer=f"{pointer}/column")],
        )


def _colleague(tx: Transaction, caller: Caller, principal_id: str) -> tables.Principal:
    principal = grants.principal(tx, principal_id)
    if principal is None or principal.organisation_id != caller.organisation or principal.disabled:
        raise NotFound("There is no such principal.")
    return principal


def _opens(role: str, right: str) -> bool:
    return role == SERVICE and right.startswith("open:") and len(right) > len("open:")


def _keep_apart(desk: Desk, tx: Transaction, principal: tables.Principal, population_id: str, rights: list[str]) -> None:
    held = grants.find(tx, population_id, principal.id)
    if access.EXPORT in rights and held is not None and _NAMING & set(json.loads(believe(desk, held).rights)):
        raise Forbidden("This principal may say who is who in the population; who may export too could name everybody.")


def _put(
    desk: Desk, tx: Transaction, object_id: str, principal_id: str, *, kind: str, rights: list[str], override_reason: str | None
) -> tables.Grant:
    grant = grants.find(tx, object_id, principal_id)
    if grant is None:
        grant = tables.Grant(object_id=object_id, principal_id=principal_id, kind=kind, version=0)
        tx.add(grant)
    else:
        believe(desk, grant)
    grant.rights, grant.override_reason = json.dumps(sorted(set(rights))), override_reason
    restamp(desk, grant)
    tx.flush()
    return grant


def _grant_shown(grant: tables.Grant) -> dict[str, Any]:
    return {
        "object": grant.object_id,
        "principal": grant.principal_id,
        "kind": grant.kind,
        "rights": json.loads(grant.rights),
        "override_reason": grant.override_reason,
    }
