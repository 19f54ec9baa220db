"""Keys are replaced while the service runs: KEKs by rewrapping what they wrap, the root key by rewrapping KEKs (R23, R33, C5).

    begin: a new KEK wraps what is new → passes: rewrap all else, page by page → retire the old KEK → destroy it, if asked

Promises
- Reading and receiving go on: what is sealed stays as it is, pages are short transactions, and whoever meets a KEK that it does
  not hold fetches it (`keychain.open_data_key`).
- Killed at any point it leaves keys that open, each under its own KEK; the next run goes on with the same new KEK.
- A KEK is retired when nothing names it, and no upload is left that began under it; it is destroyed when that is still so.

Invariants
- What is left to do stands in the wrapped keys themselves: there is no list that could be wrong, or rolled back.
- A page is unwrapped and wrapped outside of the transaction that stores it; each change names the bytes that it replaces.
- A row that does not verify is never stamped anew; a key that does not open is counted and left alone.
- The newest KEK is the target of every pass, whoever made it: two that rotate at once work towards the same end.
- The root key is replaced in one transaction: all KEKs, or none.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from app.crypto import contexts
from app.crypto.wrapping import head, heads
from app.errors import Conflict, Integrity, NotFound, Sealed
from app.operations import audit, keychain
from app.operations.authority import believe, stamp
from app.operations.desk import Caller, Desk
from app.store import files, grants, keys, rotation, tables
from app.store.engine import Transaction

PAGE = 500
PAUSE = 0.5  # seconds between two looks at uploads that are under way
NOBODY = "-"  # no KEK has this id
CONSOLE = "console"  # who is at the service's own machine: the audit log's word for the operator's commands


def organisations(desk: Desk, name: str | None) -> list[tuple[str, str]]:
    """Return (id, name) of one organisation, or of all and the system."""
    with desk.database.read() as tx:
        if name is None:
            return [(one, called or one) for one, called in rotation.organisations(tx)]
        found = grants.organisation_named(tx, name)
    if found is None:
        raise NotFound("There is no such organisation.")
    return [(found.id, found.name)]


def due(desk: Desk, organisation: str) -> dict[str, int]:
    """Return how many keys of each kind a rotation would rewrap now."""
    with desk.database.read() as tx:
        keks = keys.key_encryption_keys(tx, organisation)
        return rotation.count(tx, organisation, but=head(keks[-1].id if _broken_off(keks) else NOBODY))


def rotate(desk: Desk, organisation: str, *, patience: float, tell: Callable[[int, int], None]) -> dict[str, Any]:
    """Give an organisation a new KEK and bring every key under it; wait `patience` seconds for uploads that began before."""
    kek_id = _begin(desk, organisation)
    keychain.hold_kek_of(desk, organisation)
    with desk.database.read() as tx:
        total = sum(rotation.count(tx, organisation, but=head(kek_id)).values())
    rewrapped, unreadable, left = _bring_under_newest(
        desk, organisation, patience=patience, tell=lambda done: tell(done, max(done, total))
    )
    retired = 0 if left else _retire(desk, organisation, kek_id, rewrapped=rewrapped)
    said = {"kek": kek_id, "rewrapped": rewrapped, "unreadable": unreadable}
    return {**said, "uploads_under_way": left, "retired": retired}


def destroy_retired(desk: Desk, organisation: str) -> dict[str, int]:
    """Destroy the KEKs that were retired and that nothing names any more (soundness R33)."""
    keychain.hold_kek_of(desk, organisation)
    _bring_under_newest(desk, organisation, patience=0, tell=lambda _: None)
    destroyed = kept = 0
    with desk.database.read() as tx:
        retired = [one.id for one in keys.key_encryption_keys(tx, organisation)[:-1] if one.retired_at is not None]
    for kek_id in retired:
        if _destroy(desk, organisation, kek_id):
            destroyed += 1
            desk.keyring.forget_kek(kek_id)
        else:
            kept += 1
    return {"destroyed": destroyed, "still_named": kept}


def rotate_root(desk: Desk, new_root_key: bytes, *, dry_run: bool) -> int:
    """Wrap every KEK under another root key, all at once; return how many there are."""
    for organisation, _ in organisations(desk, None):
        keychain.hold_kek_of(desk, organisation)
    with desk.database.read() as tx:
        before = {one.id: one.wrapped for one in keys.key_encryption_keys(tx)}
    after = {kek_id: desk.keyring.rewrap_kek(kek_id, new_root_key=new_root_key) for kek_id in before}
    if not dry_run:
        with desk.database.write() as tx:
            rows = [one for organisation, _ in rotation.organisations(tx) for one in rotation.hold_keks(tx, organisation)]
            if {one.id: one.wrapped for one in rows} != before:
                raise Conflict("Keys were made or replaced meanwhile; run it again.")
            for one in rows:
                one.wrapped = after[one.id]
    return len(after)


def _broken_off(keks: Sequence[tables.KeyEncryptionKey]) -> bool:
    """Tell whether a rotation was begun and not ended: beside the newest, another KEK is still in use."""
    return any(one.retired_at is None for one in keks[:-1])


def _begin(desk: Desk, organisation: str) -> str:
    """Make the KEK that new keys are wrapped under, or take up the one of a rotation that was broken off."""
    with desk.database.write() as tx:
        keks = rotation.hold_keks(tx, organisation)
        if _broken_off(keks):
            return keks[-1].id
        return keychain.new_kek(tx, desk.keyring, desk.clock, organisation, after=keks[-1])


def _bring_under_newest(desk: Desk, organisation: str, *, patience: float, tell: Callable[[int], None]) -> tuple[int, int, int]:
    """Pass until a pass finds nothing; return keys rewrapped, keys that do not open, uploads that began under another KEK."""
    until, rewrapped = time.monotonic() + patience, 0
    unreadable: set[object] = set()
    with desk.database.read() as tx:
        under_way = rotation.receiving(tx, organisation)
    while True:
        with desk.database.read() as tx:  # before the pass: what an upload wrote until it ended is found by it
            under_way &= rotation.receiving(tx, organisation)
            kek_id = keychain.newest_kek(desk, tx, organisation)
        found = 0
        for done in (_row_groups, _files, _purpose_keys):
            for count in done(desk, organisation, kek_id, unreadable):
                found += count
                tell(rewrapped + found)
        rewrapped += found
        if found:
            continue
        if not under_way or time.monotonic() >= until:
            return rewrapped, len(unreadable), len(under_way)
        time.sleep(PAUSE)


def _row_groups(desk: Desk, organisation: str, kek_id: str, unreadable: set[object]) -> Any:
    after: rotation.Place = ("", -1, -1)
    while True:
        with desk.database.read() as tx:
            page = rotation.row_groups(tx, organisation, but=head(kek_id), after=after, limit=PAGE)
        if not page:
            return
        after = page[-1].place
        changes = []
        for one in page:
            context = contexts.data_key(
                organisation=organisation,
                dataset=one.dataset_id,
                upload=one.upload_id,
                row_group=one.ordinal,
                generation=one.generation,
                data_key_id=one.data_key_id,
            )
            try:
                new = desk.keyring.rewrap_data_key(one.wrapped, context, organisation=organisation, kek_id=kek_id)
            except (Integrity, Sealed):
                unreadable.add(one.place)
                continue
            changes.append((one, new))
        if changes:
            with desk.database.write() as tx:
                rotation.rewrap_row_groups(tx, changes)
        yield len(changes)


def _files(desk: Desk, organisation: str, kek_id: str, unreadable: set[object]) -> Any:
    after = ""
    while True:
        with desk.database.read() as tx:
            page = rotation.files(tx, organisation, but=head(kek_id), after=after, limit=PAGE)
        if not page:
            return
        after, count = page[-1].id, 0
        for row in page:
            try:
                count += _rewrap_file(desk, believe(desk, row), kek_id)
            except (Integrity, Sealed):
                unreadable.add(row.id)
        yield count


def _rewrap_file(desk: Desk, row: tables.File, kek_id: str) -> int:
    context = contexts.file_key(
        organisation=row.organisation_id, dataset=row.dataset_id, file=row.id, data_key_id=row.data_key_id
    )
    new = desk.keyring.rewrap_data_key(row.wrapped, context, organisation=row.organisation_id, kek_id=kek_id)
    with desk.database.write() as tx:
        held = files.hold(tx, row.id)
        if held is None or held.wrapped != row.wrapped:
            return 0
        believe(desk, held).wrapped = new
        stamp(desk, held)
    return 1


def _purpose_keys(desk: Desk, organisation: str, kek_id: str, unreadable: set[object]) -> Any:
    with desk.database.read() as tx:
        left = rotation.purpose_keys(tx, organisation, but=head(kek_id))
    changes = []
    for row in left:
        try:
            new = desk.keyring.rewrap_purpose_key(
                row.purpose, row.wrapped, organisation=organisation, scope=row.scope, version=row.version, kek_id=kek_id
            )
        except (Integrity, Sealed):
            unreadable.add((row.purpose, row.scope, row.version))
            continue
        changes.append((row, new))
    if changes:
        with desk.database.write() as tx:
            for row, new in changes:
                rotation.rewrap_purpose_key(tx, row, kek_id=kek_id, wrapped=new)
    yield len(changes)


def _retire(desk: Desk, organisation: str, kek_id: str, *, rewrapped: int) -> int:
    """Say of every KEK older than this one that it wraps nothing any more."""
    retired = 0
    with desk.database.write() as tx:
        for one in rotation.hold_keks(tx, organisation):
            if one.id == kek_id:
                break
            if one.retired_at is None:
                one.retired_at = desk.clock.now()
                retired += 1
        _note(desk, tx, organisation, "rotate_keys", kek_id, rewrapped=rewrapped, retired=retired)
    return retired


def _destroy(desk: Desk, organisation: str, kek_id: str) -> bool:
    """Remove a KEK, unless a key names it or an upload may still wrap under it; who inserts a key under it meanwhile, waits."""
    with desk.database.write() as tx:
        row = next((one for one in rotation.hold_keks(tx, organisation) if one.id == kek_id), None)
        if row is None or row.retired_at is None or rotation.receiving_since(tx, organisation, row.retired_at):
            return False
        if rotation.count_under(tx, organisation, heads(kek_id)):
            return False
        tx.delete(row)
        _note(desk, tx, organisation, "destroy_key", kek_id)
        return True


def _note(desk: Desk, tx: Transaction, organisation: str, action: str, object_id: str, **detail: int) -> None:
    if organisation != keychain.SYSTEM:  # whose log nobody could read
        nobody = Caller(CONSOLE, organisation, CONSOLE, "operator", frozenset(), may_create_populations=False)
        audit.note(desk, tx, nobody, action, object_id, **detail)
