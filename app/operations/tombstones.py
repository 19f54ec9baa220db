"""Tombstones: who was erased, told to nobody, so that a restored backup can forget them again (soundness R25, R33; threat C14).

    digest = HMAC-SHA256(HKDF(the population's pseudonym key, "tacit/tombstone/1"), pseudonym)
    chain  = HMAC-SHA256(authority key, context("tacit/tombstone-chain/1", chain before, population, ordinal, kind, key version,
                         digest)), both in hex

Promise: whoever was asked to be erased is erased from a restored backup once the tombstones of the lost database are replayed.

Invariants
- Every request leaves one, whether anybody was there or not (R19). Without the population's key it compares with nothing.
- Tombstones of a population are numbered and chained; each head repeats number and chain as they stood at its last erasure. One
  that was changed, or the last ones cut off, is found (`believed`), as long as one of the population's heads is believed.
"""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.crypto import aead, prf
from app.errors import Integrity
from app.operations import keychain, manifest
from app.operations.authority import AUTHORITY, believe
from app.operations.desk import Desk
from app.operations.keychain import system_key
from app.store import datasets, erasures, tables
from app.store.engine import Transaction
from app.table.arrow import pa


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One erasure as it is kept outside and replayed."""

    id: str
    organisation: str
    population: str
    kind: str
    key_version: int
    digest: str

    def as_json(self) -> dict[str, Any]:
        """Return the members by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> "Tombstone":
        """Read what `as_json` gave."""
        return cls(**members)

    @classmethod
    def of(cls, row: tables.Erasure) -> "Tombstone":
        """Return a believed row as a tombstone."""
        return cls(row.id, row.organisation_id, row.population_id, row.kind or "", row.key_version or 0, row.tombstone or "")


def digest(key: bytes, pseudonym: bytes) -> str:
    """Return the tombstone of a pseudonym; `key` is `digest_key`'s."""
    return prf.hmac_sha256(key, pseudonym).hex()


def digest_key(desk: Desk, organisation: str, population: str, version: int | None = None) -> bytes:
    """Return what a population's tombstones are made under."""
    key = keychain.purpose_key(desk, keychain.PSEUDONYMS, organisation=organisation, scope=population, version=version)
    return aead.derive(key, "tacit/tombstone/1")


def key_version(desk: Desk, organisation: str, population: str) -> int:
    """Return the version of the population's pseudonyms."""
    keychain.purpose_key(desk, keychain.PSEUDONYMS, organisation=organisation, scope=population)
    return desk.keyring.purpose_versions(keychain.PSEUDONYMS, organisation=organisation, scope=population)[-1]


def flags(key: bytes, sought: frozenset[bytes], pseudonyms: Iterable[bytes]) -> Any:
    """Return which of some pseudonyms have one of the tombstones, which are given as bytes."""
    return pa.array([hmac.digest(key, one, "sha256") in sought for one in pseudonyms], pa.bool_())


def append(desk: Desk, tx: Transaction, row: tables.Erasure, *, kind: str, version: int, tombstone: str) -> None:
    """Give a request that is held its number, and chain it to those before."""
    before = erasures.last(tx, row.population_id)
    row.kind, row.key_version, row.tombstone = kind, version, tombstone
    row.ordinal = 1 if before is None else (believe(desk, before).ordinal or 0) + 1
    row.chain = _link(desk, row, "" if before is None else before.chain or "")


def believed(desk: Desk, tx: Transaction, population_id: str) -> Sequence[tables.Erasure]:
    """Return a population's tombstones, each following from the one before, and none missing that a head counts."""
    rows, chain = erasures.tombstones(tx, population_id), ""
    chains = [""]
    for number, row in enumerate(rows, start=1):
        if believe(desk, row).ordinal != number or row.chain != _link(desk, row, chain):
            raise Integrity("The tombstones of a population do not follow from each other.")
        chain = row.chain
        chains.append(chain)
    for dataset in erasures.datasets_of(tx, population_id):
        head = datasets.head(tx, dataset.id)
        if head is not None:
            content = manifest.believed_head(desk, believe(desk, dataset), head)
            if content.erasures >= len(chains) or content.chain != chains[content.erasures]:
                raise Integrity("Tombstones that a dataset's head counts are not there.")
    return rows


def _link(desk: Desk, row: tables.Erasure, before: str) -> str:
    said = (row.population_id, row.ordinal or 0, row.kind or "", row.key_version or 0, row.tombstone or "")
    return prf.mac(system_key(desk, AUTHORITY), "tacit/tombstone-chain/1", before, *said).hex()
