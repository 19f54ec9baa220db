"""Upload: rows come in as the client sent them and stay only as the policy left them, sealed.

    body → reader (typed row groups) → deidentification → one sealed chunk a column → store, row group by row group
         → one last transaction: manifest, head, receipt, reply

Promises
- The whole upload or nothing: readers see only what the head names, which changes in the last transaction (threat I15).
- What was refused leaves no trace; what was acknowledged is on the disk (promise 5).
- Nothing unsealed touches the disk, and memory holds a few row groups whatever the size.
- With `mode=replace` the head names the new upload alone from that transaction on; readers of the version before keep reading it.
- The same Idempotency-Key with the same bytes gives the same receipt and no new rows; other bytes are refused (threat I14).
- Rows are left out only where the client asked for it, by rules that a row breaks by itself (soundness R5); the reply, the report
  and the signed receipt say how many and which.
"""

import json
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from app.clock import new_id
from app.errors import Conflict, IdempotencyConflict, TooLarge
from app.operations import (
    access,
    audit,
    events,
    janitor,
    keychain,
    manifest,
    once,
    protect,
    quarantine,
    quotas,
    receipt,
    replaced,
    retention,
)
from app.operations.arriving import Body, Counted, counted
from app.operations.attempt import Attempt, check, holds
from app.operations.authority import restamp
from app.operations.datasets import definition
from app.operations.desk import OWNER, PARTNER, Caller, Desk
from app.operations.form import Form, Mode
from app.operations.once import Claim
from app.store import datasets, tables
from app.store.engine import Transaction
from app.table.limits import Limits
from app.table.rejects import Rejects
from app.table.rows import Rows
from app.table.source import Seekable
from app.table.spool import Spool

__all__ = ["Body", "Form", "upload"]

AHEAD = 2  # row groups that wait sealed or half sealed: two cores stay busy, memory stays small


@dataclass(frozen=True, slots=True)
class _Intake:
    """One upload while it is being received."""

    upload_id: str
    dataset: tables.Dataset
    kek_id: str
    rows_before: int  # in the version that its rows join
    attempt: Attempt | None


@dataclass(slots=True)
class _Received:
    """What is there of an upload so far."""

    rejects: Rejects | None
    groups: list[manifest.Group] = field(default_factory=list)
    nulls: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Return how many rows are kept."""
        return sum(group.rows for group in self.groups)

    def take(self, sealed: protect.SealedGroup) -> None:
        """Count a row group that is in the store."""
        tags = tuple(bytes(chunk[-16:]).hex() for chunk in sealed.chunks)
        self.groups.append(manifest.Group(rows=sealed.rows, data_key_id=sealed.data_key_id, tags=tags))
        for name, count in sealed.nulls.items():
            self.nulls[name] = self.nulls.get(name, 0) + count


def upload(
    desk: Desk, caller: Caller, dataset_id: str, *, body: Body, form: Form, claim: Claim | None, attempt: Attempt | None = None
) -> dict[str, Any]:
    """Receive one file into the dataset; return the upload with its signed receipt."""
    access.require_role(caller, OWNER, PARTNER)
    intake, kept = _begin(desk, caller, dataset_id, form=form, claim=claim, attempt=attempt)
    if kept is not None:
        # A promised digest was compared already, so a replay is answered before the body is read (soundness R32).
        if form.declared_digest is None and body.digest().hex() != kept["digest"]:
            raise IdempotencyConflict("This Idempotency-Key was used with another file; use a new key.")
        return _reply_of(kept)
    assert intake is not None  # noqa: S101  one of the two is there
    desk.receiving.take(intake.upload_id, once.place(desk, caller, claim))
    source = counted(body)
    try:
        received = _receive(desk, caller, intake, body=source, form=form, claim=claim)
        digest = source.digest()
        return _finish(desk, caller, intake, received, form=form, digest=digest, sent=source.sent, claim=claim)
    except BaseException:
        _leave_no_trace(desk, caller, intake, claim)
        raise
    finally:
        desk.receiving.let_go(intake.upload_id)


def _begin(
    desk: Desk, caller: Caller, dataset_id: str, *, form: Form, claim: Claim | None, attempt: Attempt | None
) -> tuple[_Intake | None, dict[str, Any] | None]:
    """Check the right, claim the key and open the upload; or return what was kept under the key."""
    upload_id = new_id() if attempt is None else attempt.upload_id
    with quarantine.noticing(desk), desk.database.write() as tx:
        check(attempt, tx)
        row = access.dataset(desk, tx, caller, dataset_id, access.UPLOAD)
        kept = None if claim is None else once.begin(desk, tx, caller, claim, resource_id=upload_id)
        if kept is not None:
            if form.declared_digest is not None and form.declared_digest.hex() != kept["digest"]:
                raise IdempotencyConflict("This Idempotency-Key was used with another file; use a new key.")
            return None, kept
        if attempt is None:  # a file was counted when it began to come
            quotas.check(desk, tx, caller)
        head = datasets.head(tx, row.id)
        before = 0 if head is None or form.mode == "replace" else manifest.believed_head(desk, row, head).rows
        now = desk.clock.now()
        tx.add(
            tables.Upload(
                id=upload_id,
                dataset_id=row.id,
                principal_id=caller.id,
                state="receiving",
                mode=form.mode,
                generation=1,
                rows=0,
                lease_until=now + once.LEASE,
                created_at=now,
            )
        )
        kek_id = keychain.newest_kek(desk, tx, row.organisation_id)
    return _Intake(upload_id, row, kek_id, before, attempt), None


def _receive(desk: Desk, caller: Caller, intake: _Intake, *, body: Counted, form: Form, claim: Claim | None) -> _Received:
    """Parse, protect, seal and store row group by row group; parsing, two sealers and the database overlap."""
    received = _Received(form.rejects())
    most_rejected = None if received.rejects is None else received.rejects.most
    waiting: deque[Future[protect.SealedGroup]] = deque()
    keys = protect.technique_keys(desk, intake.dataset)
    plan = protect.Protection.of(desk, intake.dataset, upload_id=intake.upload_id, kek_id=intake.kek_id, keys=keys)
    with closing(_row_groups(desk, intake, received.rejects, body=body, form=form)) as groups:
        for ordinal, rows in enumerate(groups):
            waiting.append(desk.workers.submit(plan.row_group, rows, ordinal=ordinal, most_rejected=most_rejected))
            if len(waiting) >= AHEAD:
                _keep(desk, caller, intake, received, waiting.popleft().result(), claim)
    while waiting:
        _keep(desk, caller, intake, received, waiting.popleft().result(), claim)
    return received


def _row_groups(desk: Desk, intake: _Intake, rejects: Rejects | None, *, body: Body, form: Form) -> Generator[Rows]:
    """Give typed row groups; Parquet, whose footer comes last, waits sealed in the spool."""
    schema, _ = definition(intake.dataset)
    most = intake.dataset.max_rows + (0 if rejects is None else rejects.most)
    options: dict[str, Any] = {
        "media_type": form.media_type,
        "content_encoding": form.content_encoding,
        "schema": schema,
        "limits": Limits(decoded_bytes=desk.rules.max_decoded_bytes, rows=most),
        "null_markers": form.null_markers,
        "delimiter": form.delimiter,
        "rejects": rejects,
    }
    if form.media_type == "application/vnd.apache.parquet" and not isinstance(body, Seekable):
        with Spool.of(body, folder=desk.spool_folder, limit=desk.rules.max_upload_bytes) as spool:
            yield from desk.parsers.read(spool, **options)
        return
    yield from desk.parsers.read(body, **options)


def _keep(
    desk: Desk, caller: Caller, intake: _Intake, received: _Received, sealed: protect.SealedGroup, claim: Claim | None
) -> None:
    """Put a sealed row group into the store, if its upload may go on."""
    if received.rejects is not None:
        received.rejects.add_all(sealed.rejected)
    if intake.rows_before + received.rows + sealed.rows > intake.dataset.max_rows:
        raise TooLarge("The dataset would hold more rows than its max_rows; the owner can raise it.")
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
    received.take(sealed)


def _extend(desk: Desk, tx: Transaction, caller: Caller, intake: _Intake, claim: Claim | None) -> None:
    check(intake.attempt, tx)
    if not datasets.extend_lease(tx, intake.upload_id, desk.clock.now() + once.LEASE):
        raise Conflict("The upload was cancelled or given up meanwhile; send it again.")
    once.extend(desk, tx, caller, claim, resource_id=intake.upload_id)


def _finish(
    desk: Desk,
    caller: Caller,
    intake: _Intake,
    received: _Received,
    *,
    form: Form,
    digest: bytes,
    sent: int,
    claim: Claim | None,
) -> dict[str, Any]:
    """Write the manifest, replace the head, sign the receipt and keep the reply: the transaction after which it is there."""
    blob = _written(intake, received).to_bytes()
    mac = manifest.manifest_mac(desk, blob)
    now = desk.clock.now()
    outcome = receipt.Outcome(
        upload=intake.upload_id,
        rows=received.rows,
        nulls=received.nulls,
        rejects=received.rejects,
        mode=form.mode,
        expires_at=retention.expiry(now, intake.dataset.retention_days, form.retention_days),
    )
    reply = receipt.reply(desk, caller, intake.dataset, outcome, digest=digest, mac=mac)
    with quarantine.noticing(desk), desk.database.write() as tx:
        check(intake.attempt, tx)
        datasets.hold(tx, intake.dataset.id)
        row = access.dataset(desk, tx, caller, intake.dataset.id, access.UPLOAD)
        _check_definition(row, intake)
        entry = manifest.HeadUpload(intake.upload_id, 1, mac.hex(), received.rows, outcome.expires_at)
        _move_head(desk, tx, row, entry, mode=form.mode)
        found = datasets.hold_receiving(tx, intake.upload_id)
        if found is None:
            raise Conflict("The upload was cancelled or given up meanwhile; send it again.")
        found.state, found.rows, found.finished_at = "ready", received.rows, now
        found.sent_bytes = sent
        found.manifest, found.manifest_mac, found.reply = blob, mac, json.dumps(reply)
        found.rejected = outcome.report()
        if not row.frozen:
            row.frozen = True
            restamp(desk, row)
        once.finish(desk, tx, caller, claim, {"digest": digest.hex(), "reply": reply}, resource_id=intake.upload_id)
        audit.note(desk, tx, caller, "upload", row.id, upload=intake.upload_id)
        events.upload_ready(desk, tx, row.organisation_id, found)
    return reply


def _written(intake: _Intake, received: _Received) -> manifest.Manifest:
    """Return what the upload consists of."""
    return manifest.Manifest(
        dataset=intake.dataset.id,
        upload=intake.upload_id,
        generation=1,
        schema_version=intake.dataset.version,
        columns=protect.stored_names(intake.dataset),
        groups=tuple(received.groups),
    )


def _check_definition(row: tables.Dataset, intake: _Intake) -> None:
    was = intake.dataset
    if (row.schema, row.policy, row.privacy_unit) != (was.schema, was.policy, was.privacy_unit):
        raise Conflict("The dataset's definition changed while the upload came in; send it again.")


def _move_head(desk: Desk, tx: Transaction, row: tables.Dataset, entry: manifest.HeadUpload, *, mode: Mode) -> None:
    """Name the upload in the dataset's head: beside the earlier ones, or instead of them."""
    head = datasets.head(tx, row.id)
    if head is None:
        head = tables.Head(
            dataset_id=row.id, epoch=0, content=manifest.HeadContent(uploads=()).to_text(), data_version="", version=0
        )
        tx.add(head)
        content = manifest.HeadContent(uploads=())
    else:
        content = manifest.believed_head(desk, row, head)
    earlier = content.uploads if mode == "append" else ()
    content = replace(content, uploads=(*earlier, entry))
    if content.rows > row.max_rows:
        raise TooLarge("The dataset would hold more rows than its max_rows; the owner can raise it.")
    manifest.move_head(desk, head, content)
    if mode == "replace":
        replaced.mark(desk, tx, row.id, but=entry.upload)


def _reply_of(kept: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = kept["reply"]
    return reply


def _leave_no_trace(desk: Desk, caller: Caller, intake: _Intake, claim: Claim | None) -> None:
    """Remove rows and claim of a refused upload; what cannot be removed now the sweep removes after the lease."""
    with desk.database.write() as tx:
        if not holds(intake.attempt, tx):
            return  # the rows are another try's by now
        found = datasets.hold_receiving(tx, intake.upload_id)
        if found is not None:  # else it was cancelled, or given up: the claim goes all the same
            found.state = datasets.GIVEN_UP
            if intake.attempt is None:  # of many tries only the last one's refusal is told, with its file
                events.upload_failed(desk, tx, caller.organisation, found)
    janitor.clear(desk, intake.upload_id)
    once.abandon(desk, caller, claim, resource_id=intake.upload_id)
