"""Upload: rows come in as the client sent them and stay only as the policy left them, sealed.

    body → reader (typed row groups) → deidentification → one sealed chunk a column → store, row group by row group
         → one last transaction: manifest, head, receipt, reply

Promises
- The whole upload or nothing: readers see only what the head names, which changes in the last transaction (threat I15).
- What was refused leaves no trace; what was acknowledged is on the disk (promise 5).
- Nothing unsealed touches the disk, and memory holds a few row groups whatever the size.
- The same Idempotency-Key with the same bytes gives the same receipt and no new rows; other bytes are refused (threat I14).
"""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from app.clock import new_id, rfc3339
from app.deidentification.apply import TechniqueKeys
from app.errors import Conflict, IdempotencyConflict, NotFound, TooLarge
from app.operations import access, audit, janitor, keychain, manifest, once, protect
from app.operations.arriving import Arriving, Body
from app.operations.authority import restamp, stamp
from app.operations.datasets import definition
from app.operations.desk import OPERATOR, OWNER, PARTNER, Caller, Desk
from app.operations.once import Claim
from app.store import datasets, tables
from app.store.engine import Transaction
from app.table.limits import Limits
from app.table.reader import read
from app.table.spool import Spool

AHEAD = 3  # row groups that wait sealed or half sealed: two cores stay busy, memory stays small


@dataclass(frozen=True, slots=True)
class Form:
    """How the body is written, as the client says."""

    media_type: str
    content_encoding: str | None
    null_markers: tuple[str, ...] = ()
    delimiter: str | None = None
    declared_digest: bytes | None = None  # Content-Digest: lets a replay be answered before the body is read


@dataclass(frozen=True, slots=True)
class _Intake:
    """One upload while it is being received."""

    upload_id: str
    dataset: tables.Dataset
    keys: TechniqueKeys
    kek_id: str
    rows_before: int


def upload(desk: Desk, caller: Caller, dataset_id: str, *, body: Body, form: Form, claim: Claim | None) -> dict[str, Any]:
    """Receive one file into the dataset; return the upload with its signed receipt."""
    access.require_role(caller, OWNER, PARTNER)
    intake, kept = _begin(desk, caller, dataset_id, form=form, claim=claim)
    if kept is not None:
        # A promised digest was compared already, so a replay is answered before the body is read (soundness R32).
        if form.declared_digest is None and body.digest().hex() != kept["digest"]:
            raise IdempotencyConflict("This Idempotency-Key was used with another file; use a new key.")
        return _reply_of(kept)
    assert intake is not None  # noqa: S101  one of the two is there
    desk.receiving.take(intake.upload_id, once.place(desk, caller, claim))
    body = Arriving(body)
    try:
        groups, nulls = _receive(desk, caller, intake, body=body, form=form, claim=claim)
        digest = body.digest()
        return _finish(desk, caller, intake, groups=groups, nulls=nulls, digest=digest, sent=body.sent, claim=claim)
    except BaseException:
        _leave_no_trace(desk, caller, intake.upload_id, claim)
        raise
    finally:
        desk.receiving.let_go(intake.upload_id)


def get_upload(desk: Desk, caller: Caller, dataset_id: str, upload_id: str) -> dict[str, Any]:
    """Return one upload: everything to its partner and the owner, the state alone to the operator."""
    access.require_role(caller, OPERATOR, OWNER, PARTNER)
    with desk.database.read() as tx:
        row = access.dataset(desk, tx, caller, dataset_id)
        found = datasets.upload(tx, row.id, upload_id)
    if found is None or (caller.role == PARTNER and found.principal_id != caller.id):
        raise NotFound("There is no such upload.")
    return _shown(found, caller)


def list_uploads(desk: Desk, caller: Caller, dataset_id: str, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of uploads: a partner sees its own."""
    access.require_role(caller, OPERATOR, OWNER, PARTNER)
    with desk.database.read() as tx:
        row = access.dataset(desk, tx, caller, dataset_id)
        own = caller.id if caller.role == PARTNER else None
        rows = datasets.uploads(tx, row.id, principal_id=own, after=after, limit=limit)
    return {"items": [_shown(one, caller) for one in rows], "next_cursor": rows[-1].id if len(rows) == limit else None}


def _begin(
    desk: Desk, caller: Caller, dataset_id: str, *, form: Form, claim: Claim | None
) -> tuple[_Intake | None, dict[str, Any] | None]:
    """Check the right, claim the key and open the upload; or return what was kept under the key."""
    upload_id = new_id()
    with desk.database.write() as tx:
        row = access.dataset(desk, tx, caller, dataset_id, access.UPLOAD)
        kept = None if claim is None else once.begin(desk, tx, caller, claim, resource_id=upload_id)
        if kept is not None:
            if form.declared_digest is not None and form.declared_digest.hex() != kept["digest"]:
                raise IdempotencyConflict("This Idempotency-Key was used with another file; use a new key.")
            return None, kept
        head = datasets.head(tx, row.id)
        before = 0 if head is None else manifest.believed_head(desk, row, head).rows
        now = desk.clock.now()
        tx.add(
            tables.Upload(
                id=upload_id,
                dataset_id=row.id,
                principal_id=caller.id,
                state="receiving",
                generation=1,
                rows=0,
                lease_until=now + once.LEASE,
                created_at=now,
            )
        )
        kek_id = keychain.newest_kek(desk, tx, row.organisation_id)
    return _Intake(upload_id, row, protect.technique_keys(desk, row), kek_id, before), None


def _receive(
    desk: Desk, caller: Caller, intake: _Intake, *, body: Body, form: Form, claim: Claim | None
) -> tuple[list[manifest.Group], dict[str, int]]:
    """Parse, protect, seal and store row group by row group; parsing, two sealers and the database overlap."""
    groups: list[manifest.Group] = []
    nulls: dict[str, int] = {}
    waiting: deque[Future[protect.SealedGroup]] = deque()
    plan = protect.Protection.of(desk, intake.dataset, upload_id=intake.upload_id, kek_id=intake.kek_id, keys=intake.keys)
    rows = 0
    for ordinal, batch in enumerate(_batches(desk, intake, body=body, form=form)):
        if intake.rows_before + rows + batch.num_rows > intake.dataset.max_rows:
            raise TooLarge("The dataset would hold more rows than its max_rows; the owner can raise it.")
        waiting.append(desk.workers.submit(plan.row_group, batch, ordinal=ordinal, first_row=rows + 1))
        rows += batch.num_rows
        if len(waiting) >= AHEAD:
            groups.append(_keep(desk, caller, intake, waiting.popleft().result(), nulls, claim))
    groups.extend(_keep(desk, caller, intake, waiting.popleft().result(), nulls, claim) for _ in range(len(waiting)))
    return groups, nulls


def _batches(desk: Desk, intake: _Intake, *, body: Body, form: Form) -> Iterator[Any]:
    """Give typed row groups; Parquet, whose footer comes last, waits sealed in the spool."""
    schema, _ = definition(intake.dataset)
    limits = Limits(decoded_bytes=desk.rules.max_decoded_bytes, rows=intake.dataset.max_rows)
    options: dict[str, Any] = {"schema": schema, "limits": limits, "null_markers": form.null_markers, "delimiter": form.delimiter}
    if form.media_type == "application/vnd.apache.parquet":
        with Spool.of(body, folder=desk.spool_folder, limit=desk.rules.max_upload_bytes) as spool:
            yield from read(spool, media_type=form.media_type, content_encoding=form.content_encoding, **options)
        return
    yield from read(body, media_type=form.media_type, content_encoding=form.content_encoding, **options)


def _keep(
    desk: Desk, caller: Caller, intake: _Intake, sealed: protect.SealedGroup, nulls: dict[str, int], claim: Claim | None
) -> manifest.Group:
    with desk.database.write() as tx:
        _extend(desk, tx, caller, intake, claim)
        datasets.keep_row_group(
            tx,
            tables.RowGroup(
                upload_id=intake.upload_id,
                ordinal=sealed.ordinal,
                generation=1,
                rows=sealed.rows,
                data_key_id=sealed.data_key_id,
                wrapped=sealed.wrapped,
            ),
            sealed.chunks,
        )
    for name, count in sealed.nulls.items():
        nulls[name] = nulls.get(name, 0) + count
    return manifest.Group(
        rows=sealed.rows, data_key_id=sealed.data_key_id, tags=tuple(bytes(chunk[-16:]).hex() for chunk in sealed.chunks)
    )


def _extend(desk: Desk, tx: Transaction, caller: Caller, intake: _Intake, claim: Claim | None) -> None:
    if not datasets.extend_lease(tx, intake.upload_id, desk.clock.now() + once.LEASE):
        raise Conflict("The upload was given up meanwhile; send it again.")
    once.extend(desk, tx, caller, claim, resource_id=intake.upload_id)


def _finish(
    desk: Desk,
    caller: Caller,
    intake: _Intake,
    *,
    groups: list[manifest.Group],
    nulls: dict[str, int],
    digest: bytes,
    sent: int,
    claim: Claim | None,
) -> dict[str, Any]:
    """Write the manifest, replace the head, sign the receipt and keep the reply: the transaction after which it is there."""
    rows = sum(group.rows for group in groups)
    written = manifest.Manifest(
        dataset=intake.dataset.id,
        upload=intake.upload_id,
        generation=1,
        schema_version=intake.dataset.version,
        columns=protect.stored_names(intake.dataset),
        groups=tuple(groups),
    )
    blob = written.to_bytes()
    mac = manifest.manifest_mac(desk, blob)
    now = desk.clock.now()
    report = _column_report(intake.dataset, nulls)
    receipt = _receipt(desk, caller, intake, rows=rows, report=report, digest=digest, mac=mac)
    reply = {
        "id": intake.upload_id,
        "dataset": intake.dataset.id,
        "state": "ready",
        "rows": rows,
        "columns": report,
        "rejected": [],
        "receipt": receipt,
    }
    with desk.database.write() as tx:
        datasets.hold(tx, intake.dataset.id)
        row = access.dataset(desk, tx, caller, intake.dataset.id, access.UPLOAD)
        if (row.schema, row.policy, row.privacy_unit) != (
            intake.dataset.schema,
            intake.dataset.policy,
            intake.dataset.privacy_unit,
        ):
            raise Conflict("The dataset's definition changed while the upload came in; send it again.")
        _extend_head(desk, tx, row, intake.upload_id, mac=mac, rows=rows)
        found = datasets.hold_receiving(tx, intake.upload_id)
        if found is None:
            raise Conflict("The upload was given up meanwhile; send it again.")
        found.state, found.rows, found.finished_at, found.sent_bytes = "ready", rows, now, sent
        found.manifest, found.manifest_mac, found.reply = blob, mac, json.dumps(reply)
        if not row.frozen:
            row.frozen = True
            restamp(desk, row)
        once.finish(desk, tx, caller, claim, {"digest": digest.hex(), "reply": reply}, resource_id=intake.upload_id)
        audit.note(desk, tx, caller, "upload", row.id, upload=intake.upload_id)
    return reply


def _receipt(
    desk: Desk, caller: Caller, intake: _Intake, *, rows: int, report: list[dict[str, Any]], digest: bytes, mac: bytes
) -> dict[str, Any]:
    """Sign what was received from whom, and what became of it."""
    document = {
        "upload": intake.upload_id,
        "dataset": intake.dataset.id,
        "partner": caller.id,
        "digest": "sha-256:" + digest.hex(),
        "manifest": mac.hex(),
        "rows": rows,
        "columns": report,
        "policy_version": intake.dataset.version,
        "received_at": rfc3339(desk.clock.now()),
    }
    return desk.signer.sign("receipt", document)


def _extend_head(desk: Desk, tx: Transaction, row: tables.Dataset, upload_id: str, *, mac: bytes, rows: int) -> None:
    head = datasets.head(tx, row.id)
    if head is None:
        head = tables.Head(
            dataset_id=row.id, epoch=0, content=manifest.HeadContent(uploads=()).to_text(), data_version="", version=0
        )
        tx.add(head)
        content = manifest.HeadContent(uploads=())
    else:
        content = manifest.believed_head(desk, row, head)
    if content.rows + rows > row.max_rows:
        raise TooLarge("The dataset would hold more rows than its max_rows; the owner can raise it.")
    entry = manifest.HeadUpload(upload=upload_id, generation=1, manifest_mac=mac.hex(), rows=rows)
    head.content = manifest.HeadContent(uploads=(*content.uploads, entry)).to_text()
    head.epoch, head.data_version = head.epoch + 1, new_id()
    head.version += 1
    stamp(desk, head)


def _column_report(row: tables.Dataset, nulls: dict[str, int]) -> list[dict[str, Any]]:
    schema, policy = definition(row)
    report = []
    for column in schema.columns:
        line: dict[str, Any] = {"name": column.name, "technique": policy.techniques[column.name].name}
        report.append(line | ({"nulls": nulls[column.name]} if nulls.get(column.name) else {}))
    return report


def _reply_of(kept: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = kept["reply"]
    return reply


def _shown(row: tables.Upload, caller: Caller) -> dict[str, Any]:
    if row.reply is not None and caller.role != OPERATOR:
        reply: dict[str, Any] = json.loads(row.reply)
        return reply
    return {"id": row.id, "dataset": row.dataset_id, "state": row.state}


def _leave_no_trace(desk: Desk, caller: Caller, upload_id: str, claim: Claim | None) -> None:
    """Remove rows and claim of a refused upload; what cannot be removed now the sweep removes after the lease."""
    with desk.database.write() as tx:
        found = datasets.hold_receiving(tx, upload_id)
        if found is None:
            return
        found.state = datasets.GIVEN_UP
    janitor.clear(desk, upload_id)
    once.abandon(desk, caller, claim, resource_id=upload_id)
