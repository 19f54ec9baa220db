"""The keys of a running service, in memory: root → key-encryption keys (KEK) → data keys and purpose keys (soundness R23, R24).

    root key (32 bytes, outside the database)
    └── KEK, wrapped under HKDF(root, "tacit/root-wrap/1")      context("tacit/kek/1", organisation, id, root id)
        ├── data key of a row group                             contexts.data_key(...), KEK id
        └── purpose key (pseudonyms, bounding, authority,       context("tacit/purpose/1", organisation, purpose, scope, version),
            audit, pepper, signing, named keys …)               KEK id

Invariants
- Nothing durable derives from the root or a KEK: they only wrap, so either can be replaced by rewrapping (R24).
- The keyring never touches the database: operations hand wrapped bytes in and store the ones it hands out.
- Contexts bind organisation, purpose, scope and version: a wrapped key moved to another row does not load (attacks C3, C5).
- Another root key than the one that wrapped is `Sealed`, told apart by the root's id (HKDF(root, "tacit/root-id/1"), 16 hex).
- Safe for threads: each map is only ever replaced under one lock, and read without it.
- Neither the keyring nor any key in it prints.
"""

import threading
from collections.abc import Callable
from typing import Final

from app.crypto import aead, wrapping
from app.crypto.aead import DataKey, context, derive
from app.crypto.wrapping import WrappedKey
from app.errors import Fault, Integrity, Sealed

WRONG: Final = "root-key-wrong"

_Place = tuple[str, str, str]  # organisation, purpose, scope


class Keyring:
    """Holds unwrapped keys; everything it returns but `purpose_key` may be stored."""

    __slots__ = ("_keks", "_lock", "_purposes", "_root", "_root_id")

    def __init__(self, root_key: bytes) -> None:
        """Take the 32 bytes of the root key (`app.crypto.root_key` reads them)."""
        self._root, self._root_id = _root(root_key)
        self._keks: dict[str, tuple[str, bytes]] = {}
        self._purposes: dict[_Place, dict[int, bytes]] = {}
        self._lock = threading.Lock()

    @property
    def root_id(self) -> str:
        """Return the public id of the root key; it tells two root keys apart and nothing of either."""
        return self._root_id

    # -- key-encryption keys

    def new_kek(self, kek_id: str, *, organisation: str) -> bytes:
        """Make a KEK, hold it, and return its wrapped form."""
        kek = aead.new_key()
        wrapped = wrapping.wrap(self._root, self._root_id, kek, _kek_context(kek_id, organisation))
        self._hold_kek(kek_id, organisation, kek)
        return wrapped.to_bytes()

    def load_kek(self, kek_id: str, wrapped: bytes, *, organisation: str) -> None:
        """Hold a stored KEK; `Sealed` under another root key, `Integrity` if the row was changed or moved."""
        stored = WrappedKey.from_bytes(wrapped)
        if stored.kek_id != self._root_id:
            raise Sealed(
                "The root key is not the one these keys were wrapped under: start with the right one.", faults=[Fault(WRONG)]
            )
        self._hold_kek(kek_id, organisation, wrapping.unwrap(self._root, stored, _kek_context(kek_id, organisation)))

    def rewrap_kek(self, kek_id: str, *, new_root_key: bytes) -> bytes:
        """Return a held KEK wrapped under another root key: the rotation of the root."""
        organisation, kek = self._kek(kek_id)
        wrap_key, root_id = _root(new_root_key)
        return wrapping.wrap(wrap_key, root_id, kek, _kek_context(kek_id, organisation)).to_bytes()

    def forget_kek(self, kek_id: str) -> None:
        """Drop a KEK that was retired or destroyed (R33); what it wrapped can't be opened any more."""
        with self._lock:
            self._keks = {held: key for held, key in self._keks.items() if held != kek_id}

    def holds_kek(self, kek_id: str) -> bool:
        """Tell whether a KEK is loaded."""
        return kek_id in self._keks

    # -- purpose keys

    def new_purpose_key(self, purpose: str, *, organisation: str, scope: str, version: int, kek_id: str) -> bytes:
        """Make a random purpose key, hold it, and return its wrapped form."""
        key = aead.new_key()
        wrapped = self._wrap(kek_id, organisation, key, _purpose_context(organisation, purpose, scope, version))
        self._hold_purpose((organisation, purpose, scope), version, key)
        return wrapped

    def wrap_new_purpose_key(self, purpose: str, *, organisation: str, scope: str, version: int, kek_id: str) -> bytes:
        """Make a random purpose key and return its wrapped form alone: where a rival's may be the one that is stored."""
        return self._wrap(kek_id, organisation, aead.new_key(), _purpose_context(organisation, purpose, scope, version))

    def load_purpose_key(self, purpose: str, wrapped: bytes, *, organisation: str, scope: str, version: int) -> None:
        """Hold a stored purpose key; the wrapped form names its KEK, which must be held."""
        key = self._unwrap(organisation, wrapped, _purpose_context(organisation, purpose, scope, version))
        self._hold_purpose((organisation, purpose, scope), version, key)

    def purpose_key(self, purpose: str, *, organisation: str, scope: str, version: int | None = None) -> bytes:
        """Return the 32 bytes of a purpose key: the version asked for, else the highest that is held."""
        versions = self._purposes.get((organisation, purpose, scope), {})
        key = versions.get(max(versions, default=0) if version is None else version)
        if key is None:
            raise Sealed("A key that is needed has not been loaded.")
        return key

    def purpose_versions(self, purpose: str, *, organisation: str, scope: str) -> tuple[int, ...]:
        """Return the versions that are held, ascending."""
        return tuple(sorted(self._purposes.get((organisation, purpose, scope), {})))

    def forget_purpose_key(self, purpose: str, *, organisation: str, scope: str, version: int) -> None:
        """Drop one version of a purpose key."""
        self._change_versions((organisation, purpose, scope), lambda held: {v: key for v, key in held.items() if v != version})

    def rewrap_purpose_key(
        self, purpose: str, wrapped: bytes, *, organisation: str, scope: str, version: int, kek_id: str
    ) -> bytes:
        """Return a stored purpose key wrapped under another KEK."""
        bound = _purpose_context(organisation, purpose, scope, version)
        return self._wrap(kek_id, organisation, self._unwrap(organisation, wrapped, bound), bound)

    # -- data keys

    def new_data_key(self, kek_id: str, context: bytes, *, organisation: str) -> tuple[DataKey, bytes]:
        """Make a data key under a KEK, bound to `contexts.data_key(...)`; return it at work and wrapped."""
        dek = aead.new_key()
        return DataKey.of(dek), self._wrap(kek_id, organisation, dek, context)

    def open_data_key(self, wrapped: bytes, context: bytes, *, organisation: str) -> DataKey:
        """Return a stored data key at work; the wrapped form names its KEK, which must be held."""
        return DataKey.of(self._unwrap(organisation, wrapped, context))

    def rewrap_data_key(self, wrapped: bytes, context: bytes, *, organisation: str, kek_id: str) -> bytes:
        """Return a stored data key wrapped under another KEK; what it sealed stays as it is (R23)."""
        return self._wrap(kek_id, organisation, self._unwrap(organisation, wrapped, context), context)

    # -- inside

    def _wrap(self, kek_id: str, organisation: str, key: bytes, context: bytes) -> bytes:
        return wrapping.wrap(self._own_kek(kek_id, organisation), kek_id, key, context).to_bytes()

    def _unwrap(self, organisation: str, wrapped: bytes, context: bytes) -> bytes:
        stored = WrappedKey.from_bytes(wrapped)
        return wrapping.unwrap(self._own_kek(stored.kek_id, organisation), stored, context)

    def _own_kek(self, kek_id: str, organisation: str) -> bytes:
        owner, kek = self._kek(kek_id)
        if owner != organisation:
            raise Integrity("A wrapped key did not open.")
        return kek

    def _kek(self, kek_id: str) -> tuple[str, bytes]:
        held = self._keks.get(kek_id)
        if held is None:
            raise Sealed("A key that is needed has not been loaded.")
        return held

    def _hold_kek(self, kek_id: str, organisation: str, kek: bytes) -> None:
        with self._lock:
            self._keks = {**self._keks, kek_id: (organisation, kek)}

    def _hold_purpose(self, place: _Place, version: int, key: bytes) -> None:
        if version < 1:
            raise ValueError("versions count from 1")
        self._change_versions(place, lambda held: {**held, version: key})

    def _change_versions(self, place: _Place, change: Callable[[dict[int, bytes]], dict[int, bytes]]) -> None:
        with self._lock:
            self._purposes = {**self._purposes, place: change(self._purposes.get(place, {}))}

    def __repr__(self) -> str:
        return "Keyring()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


def _root(root_key: bytes) -> tuple[bytes, str]:
    if len(root_key) != aead.KEY_BYTES:
        raise ValueError("a root key has 32 bytes")
    return derive(root_key, "tacit/root-wrap/1"), "root:" + derive(root_key, "tacit/root-id/1").hex()[:16]


def _kek_context(kek_id: str, organisation: str) -> bytes:
    return context("tacit/kek/1", organisation, kek_id)


def _purpose_context(organisation: str, purpose: str, scope: str, version: int) -> bytes:
    return context("tacit/purpose/1", organisation, purpose, scope, version)
