"""Files on their way in: bytes that come in pieces, over days if need be, and become one upload of a dataset once.

    create → append … append → complete → (file_ingest) → ready, or failed with the refusal's positions and rules

Promises
- What `append` has acknowledged is there after any crash; the offset that is told is exact.
- A file that failed leaves its refusal; a file that came to an end leaves no frames.

Invariants
- One request at a time brings bytes, one try at a time reads them: each holds the file's lease, and names it in every change.
- A foreign file is not found, to its own organisation's owners as well: it is seen by the one who sends it (threat C13).
- Files live in the database (docs/decisions/0007): any process may go on with what another began.
"""

import json
from collections.abc import Callable
from typing import Any

from app.clock import new_id, rfc3339
from app.crypto import contexts
from app.errors import Cancelled, Conflict, FileBusy, NotFound, TooLarge, WrongOffset
from app.operations import access, audit, janitor, kept_problems, keychain, once, quotas
from app.operations.authority import believe, stamp
from app.operations.desk import OWNER, PARTNER, Caller, Desk
from app.operations.file_part import LEASE, TOGETHER, Checksum, Part
from app.operations.file_reader import FileReader, new_key, open_key
from app.operations.form import Form
from app.operations.once import Claim
from app.store import datasets, files, keys, tables
from app.store.engine import Transaction
from app.table.source import Readable

MAX_PARTS = 100_000


def create(
    desk: Desk, caller: Caller, dataset: str, *, form: Form, length: int | None, claim: Claim | None, metadata: str | None = None
) -> dict[str, Any]:
    """Make room for a file that shall become an upload of the dataset, named by id or name; `length` where it is known.

    `metadata` is what its sender says of it, in the sender's words; it is kept sealed, for the sender alone.
    """
    access.require_role(caller, OWNER, PARTNER)
    if length is not None and length > desk.rules.max_upload_bytes:
        raise TooLarge("The file is larger than is accepted; send it in parts.")
    with desk.database.read() as tx:
        target = _dataset(desk, tx, caller, dataset)
        kek_id = keychain.newest_kek(desk, tx, target.organisation_id)
    row = _blank(desk, caller, target, length=length)
    where = {"organisation": row.organisation_id, "dataset": row.dataset_id, "file_id": row.id}
    key, row.data_key_id, row.wrapped = new_key(desk, kek_id=kek_id, **where)
    said = None if metadata is None else key.seal(metadata.encode(), contexts.file_metadata(file_id=row.id)).hex()
    row.form = json.dumps({"form": form.to_json(), "metadata": said})
    empty = key.seal(b"", contexts.spool_frame(file_id=row.id, part=0, frame=0, last=True)) if length == 0 else None
    stamp(desk, row)
    with desk.database.write() as tx:

        def act() -> dict[str, Any]:
            access.dataset(desk, tx, caller, row.dataset_id, access.UPLOAD)
            quotas.check_file(desk, tx, caller, coming=length or 0)
            keys.hold_kek_of(tx, row.wrapped)
            tx.add(row)
            tx.flush()
            if empty is not None:
                files.keep_frame(tx, tables.FileFrame(file_id=row.id, ordinal=0, part=0, last=True, sealed=bytes(empty)))
                row.frames, row.parts, row.state = 1, 1, files.COMPLETE
            audit.note(desk, tx, caller, "create_file", row.dataset_id, file=row.id)
            return _shown(row)

        return once.once(desk, tx, caller, claim, act)


def _blank(desk: Desk, caller: Caller, target: tables.Dataset, *, length: int | None) -> tables.File:
    """Return the row of a file of which nothing has come."""
    now = desk.clock.now()
    return tables.File(
        id=new_id(),
        organisation_id=target.organisation_id,
        dataset_id=target.id,
        principal_id=caller.id,
        upload_id=new_id(),
        form="",
        length=length,
        received=0,
        frames=0,
        parts=0,
        state=files.RECEIVING,
        expires_at=now + desk.rules.file_kept,
        created_at=now,
        version=1,
    )


def append(
    desk: Desk,
    caller: Caller,
    file_id: str,
    *,
    offset: int,
    body: Readable,
    coming: int | None = None,
    checksum: Checksum | None = None,
    whole: bool = False,
) -> dict[str, Any]:
    """Take in one request's bytes from `offset` on; return the file as it is then.

    `coming`: their number, where it was announced. `whole`: the body's end is the file's end. What came before the body broke off
    counts, unless a checksum was promised for it. `body.read` returns what is at hand, and waits only where nothing is.
    """
    access.require_role(caller, OWNER, PARTNER)
    lease_id, most = new_id(), desk.rules.max_upload_bytes
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, file_id, held=True)
        access.dataset(desk, tx, caller, row.dataset_id, access.UPLOAD)
        if row.received != offset:
            raise WrongOffset("The piece must begin where the file ends so far; ask for the offset with HEAD.")
        if row.state == files.COMPLETE and not coming:
            return _shown(row)
        _check_open(desk, row)
        most = most if row.length is None else row.length
        if offset + (coming or 0) > most:
            raise TooLarge("More bytes are announced than the file may have.")
        row.lease_id, row.lease_until, row.parts = lease_id, desk.clock.now() + LEASE, row.parts + 1
    Part(desk, row, open_key(desk, row), checksum=checksum, whole=whole, most=most).receive(body)
    return get(desk, caller, file_id)


def get(desk: Desk, caller: Caller, file_id: str, *, metadata: bool = False) -> dict[str, Any]:
    """Return a file's state; with the upload and its receipt once it is ready, with the problem once it failed."""
    access.require_role(caller, OWNER, PARTNER)
    with desk.database.read() as tx:
        row = _own(desk, tx, caller, file_id)
        upload = datasets.upload(tx, row.dataset_id, row.upload_id) if row.state == files.READY else None
    shown = _shown(row, upload)
    if metadata:
        said = json.loads(row.form)["metadata"]
        place = contexts.file_metadata(file_id=row.id)
        shown["metadata"] = None if said is None else open_key(desk, row).open(bytes.fromhex(said), place).decode()
    return shown


def terminate(desk: Desk, caller: Caller, file_id: str) -> None:
    """End a file: what it has not become by now it never becomes; its bytes are gone when this returns."""
    access.require_role(caller, OWNER, PARTNER)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, file_id, held=True)
        if row.state != files.READY:
            row.state, row.reply = files.FAILED, kept_problems.kept(Cancelled("The file was ended by who sent it."))
        row.lease_id = row.lease_until = None
        audit.note(desk, tx, caller, "terminate_file", row.dataset_id, file=row.id)
    _remove(desk, row)


def give_up(tx: Transaction, file_id: str) -> None:
    """Let a complete file that waits become nothing: its job was cancelled. `purge` removes its bytes afterwards."""
    row = files.hold(tx, file_id)
    if row is not None and row.state == files.COMPLETE:
        row.state, row.reply = files.FAILED, kept_problems.kept(Cancelled("It was cancelled; nothing of it was kept."))
        row.lease_id = row.lease_until = None


def reader(desk: Desk, file_id: str, *, each: Callable[[int], None] | None = None) -> FileReader:
    """Open a complete file for reading in any order; `each` as in `FileReader`."""
    with desk.database.read() as tx:
        row = files.find(tx, file_id)
    if row is None:
        raise NotFound("There is no such file.")
    return FileReader(desk, believe(desk, row), each=each)


def waiting(desk: Desk) -> list[str]:
    """Return the files that are complete and that nobody is making an upload of."""
    with desk.database.read() as tx:
        return list(files.complete(tx, desk.clock.now()))


def sweep(desk: Desk, *, alone: bool) -> int:
    """Remove files whose time is over and frames that are of no more use; `alone`: no other process can be at work on any."""
    now = desk.clock.now()
    with desk.database.write() as tx:
        if alone:
            files.end_leases(tx, now)
        gone, ended = files.expired(tx, now), files.finished_with_frames(tx)
    for file_id in ended:
        purge(desk, file_id)
    for file_id in gone:
        with desk.database.write() as tx:
            row = files.hold(tx, file_id)
            if row is None or row.expires_at >= now or (row.lease_until is not None and row.lease_until > now):
                continue
            row.state, row.lease_id = row.state if row.state == files.READY else files.FAILED, None
            row.reply = row.reply or kept_problems.kept(Cancelled("The file's time was over."))
        _remove(desk, row)
    return len(gone)


def _dataset(desk: Desk, tx: Transaction, caller: Caller, wanted: str) -> tables.Dataset:
    named = datasets.named(tx, caller.organisation, wanted)
    return access.dataset(desk, tx, caller, wanted if named is None else named.id, access.UPLOAD)


def _own(desk: Desk, tx: Transaction, caller: Caller, file_id: str, *, held: bool = False) -> tables.File:
    row = files.hold(tx, file_id) if held else files.find(tx, file_id)
    if row is None or row.organisation_id != caller.organisation or row.principal_id != caller.id:
        raise NotFound("There is no such file.")
    if row.state == files.RECEIVING and row.expires_at < desk.clock.now():
        raise NotFound("The file waited too long for its next byte; send it anew.")
    return believe(desk, row)


def _check_open(desk: Desk, row: tables.File) -> None:
    if row.state != files.RECEIVING:
        raise Conflict("The file takes no more bytes.")
    if row.lease_until is not None and row.lease_until > desk.clock.now():
        raise FileBusy("Another request is sending to the file; wait until it ends.", retry_after=1)
    if row.parts >= MAX_PARTS:
        raise TooLarge("The file came in too many pieces; send it anew in larger ones.")


def purge(desk: Desk, file_id: str) -> None:
    """Remove the frames of a file that came to an end."""
    more = True
    while more:
        with desk.database.write() as tx:
            more = files.drop_frames(tx, file_id, beyond=0, together=TOGETHER)


def forget_upload(desk: Desk, upload_id: str, *, may: Callable[[Transaction], bool] = lambda _: True) -> None:
    """Remove what a try left of an upload that is not ready, if it `may` be removed."""
    with desk.database.write() as tx:
        if not may(tx):
            return
        found = datasets.hold_receiving(tx, upload_id)
        if found is not None:
            found.state = datasets.GIVEN_UP
    janitor.clear(desk, upload_id)


def _remove(desk: Desk, row: tables.File) -> None:
    """Remove a file that nobody may change any more."""
    purge(desk, row.id)
    forget_upload(desk, row.upload_id)
    with desk.database.write() as tx:
        files.remove(tx, row.id)


def _shown(row: tables.File, upload: tables.Upload | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": row.id,
        "dataset": row.dataset_id,
        "state": row.state,
        "received": row.received,
        "length": row.length,
        "expires_at": rfc3339(row.expires_at),
        "upload": json.loads(upload.reply) if upload is not None and upload.reply is not None else None,
        "problem": json.loads(row.reply) if row.reply is not None else None,
    }
    return shown
