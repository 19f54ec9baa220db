"""Durable keys between the database, which holds them wrapped, and the keyring, which holds them open.

Every key belongs to one organisation's KEK; the system's own purposes hang under a KEK of nobody's organisation. A population's
and a named key's purpose keys have its id as scope (soundness R24).

Keys are replaced while services run (`rotate.py`): a KEK that this process has not met is fetched when something names it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta

from app.clock import Clock, new_id
from app.crypto.aead import DataKey
from app.crypto.keyring import Keyring
from app.errors import Fault, Integrity, Sealed
from app.operations.desk import Desk
from app.store import keys
from app.store.engine import Database, Transaction, insert_new
from app.store.tables import KeyEncryptionKey, PurposeKey

SYSTEM = "system"
SYSTEM_PURPOSES = ("authority", "audit", "pepper", "signing", "idempotency", "answers", "webhooks")
NOT_INITIALISED = "not-initialised"
PSEUDONYMS, BOUNDING, SHIFTS, NAMED = "pseudonyms", "bounding", "shifts", "named"


def load(database: Database, keyring: Keyring) -> None:
    """Open every KEK and the system's own keys; raise `Sealed` where the root key is not theirs or nothing was initialised.

    An organisation whose KEK is damaged is told so when it needs it, and the others are served; its purpose keys are opened then.
    """
    with database.read() as tx:
        keks, purposes = keys.key_encryption_keys(tx), keys.purpose_keys(tx, SYSTEM)
    if not keks:
        raise Sealed("There are no keys yet: run `python -m app init`.", faults=[Fault(NOT_INITIALISED)])
    for kek in keks:
        with contextlib.suppress(*(() if kek.organisation_id == SYSTEM else (Integrity,))):
            _hold(keyring, [kek], ())
    _hold(keyring, (), purposes)


def load_all(database: Database, keyring: Keyring) -> None:
    """Open every stored key, every organisation's, and raise `Integrity` at the first that was touched: for who verifies."""
    with database.read() as tx:
        _hold(keyring, keys.key_encryption_keys(tx), keys.purpose_keys(tx))


def lay(tx: Transaction, keyring: Keyring, clock: Clock) -> None:
    """Make the system's KEK and purpose keys."""
    new_kek(tx, keyring, clock, SYSTEM)
    for purpose in SYSTEM_PURPOSES:
        create(tx, keyring, clock, purpose, organisation=SYSTEM)


def lay_missing(database: Database, keyring: Keyring, clock: Clock) -> None:
    """Make the system's purpose keys that an older version did not make; of two processes that start at once one does."""
    missing = [purpose for purpose in SYSTEM_PURPOSES if not keyring.purpose_versions(purpose, organisation=SYSTEM, scope="")]
    if not missing:
        return
    with database.write() as tx:
        kek_id = _newest_kek(tx, keyring, SYSTEM)
        for purpose in missing:
            wrapped = keyring.new_purpose_key(purpose, organisation=SYSTEM, scope="", version=1, kek_id=kek_id)
            place = {"organisation_id": SYSTEM, "purpose": purpose, "scope": "", "version": 1}
            insert_new(tx, PurposeKey, {**place, "kek_id": kek_id, "wrapped": wrapped, "created_at": clock.now()})
    with database.read() as tx:
        _hold(keyring, (), keys.purpose_keys(tx, SYSTEM))  # what stands there, where another was faster


def new_kek(tx: Transaction, keyring: Keyring, clock: Clock, organisation: str, *, after: KeyEncryptionKey | None = None) -> str:
    """Make the KEK that an organisation's keys are wrapped under from now on, newer than the one before; return its id."""
    kek_id, now = new_id(), clock.now()
    if after is not None:
        now = max(now, after.created_at + timedelta(microseconds=1))  # a clock that was turned back makes no older key
    wrapped = keyring.new_kek(kek_id, organisation=organisation)
    tx.add(KeyEncryptionKey(id=kek_id, organisation_id=organisation, created_at=now, wrapped=wrapped))
    tx.flush()
    return kek_id


def create(
    tx: Transaction, keyring: Keyring, clock: Clock, purpose: str, *, organisation: str, scope: str = "", version: int = 1
) -> None:
    """Make a version of a purpose key, the first one usually, and keep it wrapped under the organisation's newest KEK."""
    kek_id = _newest_kek(tx, keyring, organisation)
    wrapped = keyring.new_purpose_key(purpose, organisation=organisation, scope=scope, version=version, kek_id=kek_id)
    row = PurposeKey(organisation_id=organisation, purpose=purpose, scope=scope, version=version, kek_id=kek_id, wrapped=wrapped)
    row.created_at = clock.now()
    tx.add(row)


def create_missing(tx: Transaction, keyring: Keyring, clock: Clock, purpose: str, *, organisation: str, scope: str) -> None:
    """Make the first version of a purpose key where there is none; of two that try at once one does. `purpose_key` opens it."""
    if any(row.purpose == purpose for row in keys.purpose_keys(tx, organisation, scope=scope)):
        return
    keks = keys.key_encryption_keys(tx, organisation)
    _hold(keyring, keks, ())
    wrapped = keyring.wrap_new_purpose_key(purpose, organisation=organisation, scope=scope, version=1, kek_id=keks[-1].id)
    place = {"organisation_id": organisation, "purpose": purpose, "scope": scope, "version": 1}
    insert_new(tx, PurposeKey, {**place, "kek_id": keks[-1].id, "wrapped": wrapped, "created_at": clock.now()})


def versions(tx: Transaction, organisation: str, key_id: str) -> frozenset[int]:
    """Return the versions that a named key has."""
    return frozenset(row.version for row in keys.purpose_keys(tx, organisation, scope=key_id) if row.purpose == NAMED)


def system_key(desk: Desk, purpose: str) -> bytes:
    """Return one of the system's own keys."""
    return desk.keyring.purpose_key(purpose, organisation=SYSTEM, scope="")


def every_system_key(desk: Desk, purpose: str, *, look: bool = True) -> Iterator[bytes]:
    """Give each version of a system's key, newest first: what an earlier one made is good as well.

    After those that are held come, if one may `look` into the database, those that another process made since we started: who
    finds one that fits looks no further.
    """
    tried: set[int] = set()
    for again in (False, True) if look else (False,):
        if again:
            refresh(desk)
        for version in reversed(desk.keyring.purpose_versions(purpose, organisation=SYSTEM, scope="")):
            if version not in tried:
                tried.add(version)
                yield desk.keyring.purpose_key(purpose, organisation=SYSTEM, scope="", version=version)


def refresh(desk: Desk) -> None:
    """Hold the versions of the system's keys that stand in the database, and no other: some were made, some destroyed."""
    with desk.database.read() as tx:
        keks, purposes = keys.key_encryption_keys(tx, SYSTEM), keys.purpose_keys(tx, SYSTEM)
    stands = {(row.purpose, row.version) for row in purposes}
    for purpose in {row.purpose for row in purposes}:
        for version in desk.keyring.purpose_versions(purpose, organisation=SYSTEM, scope=""):
            if (purpose, version) not in stands:
                desk.keyring.forget_purpose_key(purpose, organisation=SYSTEM, scope="", version=version)
    held = {one: desk.keyring.purpose_versions(one, organisation=SYSTEM, scope="") for one, _ in stands}
    missing = [row for row in purposes if row.version not in held[row.purpose]]
    if missing:
        _hold(desk.keyring, keks, missing)


def purpose_key(desk: Desk, purpose: str, *, organisation: str, scope: str, version: int | None = None) -> bytes:
    """Return an open purpose key, fetching first what another process made since we started."""
    held = desk.keyring.purpose_versions(purpose, organisation=organisation, scope=scope)
    if not held or (version is not None and version not in held):
        with desk.database.read() as tx:
            _hold(desk.keyring, keys.key_encryption_keys(tx, organisation), keys.purpose_keys(tx, organisation, scope=scope))
    return desk.keyring.purpose_key(purpose, organisation=organisation, scope=scope, version=version)


def forget(desk: Desk, purpose: str, *, organisation: str, scope: str) -> None:
    """Drop every version of a purpose key that was destroyed; other processes hold it until they end, and use it for nothing."""
    for version in desk.keyring.purpose_versions(purpose, organisation=organisation, scope=scope):
        desk.keyring.forget_purpose_key(purpose, organisation=organisation, scope=scope, version=version)


def newest_kek(desk: Desk, tx: Transaction, organisation: str) -> str:
    """Return the id of the KEK that new data keys are wrapped under, held open."""
    return _newest_kek(tx, desk.keyring, organisation)


def open_data_key(desk: Desk, wrapped: bytes, context: bytes, *, organisation: str) -> DataKey:
    """Return a stored data key at work; its KEK may be one that another process made since we started."""
    try:
        return desk.keyring.open_data_key(wrapped, context, organisation=organisation)
    except Sealed:
        hold_kek_of(desk, organisation)
    try:
        return desk.keyring.open_data_key(wrapped, context, organisation=organisation)
    except Sealed:  # every key of the organisation is held: this one names a key that never was, or is no more
        raise Integrity("A wrapped key does not verify.") from None


def hold_kek_of(desk: Desk, organisation: str) -> None:
    """Open the KEKs of an organisation that another process founded since we started."""
    with desk.database.read() as tx:
        newest_kek(desk, tx, organisation)


def _newest_kek(tx: Transaction, keyring: Keyring, organisation: str) -> str:
    keks = keys.key_encryption_keys(tx, organisation)
    _hold(keyring, keks, ())
    return keks[-1].id


def _hold(keyring: Keyring, keks: Sequence[KeyEncryptionKey], purposes: Sequence[PurposeKey]) -> None:
    for kek in keks:
        if not keyring.holds_kek(kek.id):
            keyring.load_kek(kek.id, kek.wrapped, organisation=kek.organisation_id)
    for row in purposes:
        keyring.load_purpose_key(row.purpose, row.wrapped, organisation=row.organisation_id, scope=row.scope, version=row.version)
