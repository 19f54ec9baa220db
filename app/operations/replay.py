"""Tombstones replayed on a restored database: who was erased since the backup is erased again (soundness R33; threat C14).

    tombstones(desk)                     of a living database, to keep outside of it: `as_json` each
    replay_tombstones(desk, stones)      on the restored one, before it serves; asks nobody for a right

Promise: afterwards nobody whom a tombstone names is in the datasets, and the tombstones stand in the restored database too.

- What it has already is passed over, so a replay that was cut off is simply run again.
- A tombstone made under a later version of the population's pseudonyms than the restored database has cannot be compared; it is
  returned, as is one of a population that is not there.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from app.errors import Unavailable
from app.operations import audit, identities, keychain, removal, tombstones
from app.operations.authority import believe, stamp
from app.operations.desk import OPERATOR, Caller, Desk
from app.operations.people import Sought
from app.operations.removal import Turn
from app.operations.tombstones import Tombstone
from app.store import erasures, populations, tables
from app.store.engine import Transaction


def all_tombstones(desk: Desk) -> list[Tombstone]:
    """Return every tombstone of the database, verified, in the order in which they are to be replayed."""
    with desk.database.read() as tx:
        return [Tombstone.of(row) for one in erasures.populations(tx) for row in tombstones.believed(desk, tx, one)]


def replay_tombstones(desk: Desk, stones: Iterable[Tombstone]) -> list[Tombstone]:
    """Erase everybody whom the tombstones name; return those that this database cannot compare with."""
    together: dict[tuple[str, str, str, int], list[Tombstone]] = {}
    for one in stones:
        together.setdefault((one.organisation, one.population, one.kind, one.key_version), []).append(one)
    left: list[Tombstone] = []
    for (organisation, population_id, _, version), of_one_kind in together.items():
        with desk.database.read() as tx:
            population = populations.find(tx, organisation, population_id)
            fresh = [one for one in of_one_kind if not _known(tx, one)]
        if population is None or version > tombstones.key_version(desk, organisation, population_id):
            left += of_one_kind
        elif fresh:
            _replay(desk, believe(desk, population), fresh)
    return left


def _known(tx: Transaction, one: Tombstone) -> bool:
    row = erasures.find(tx, one.id)
    return row is not None and row.erased_at is not None


def _replay(desk: Desk, population: tables.Population, stones: Sequence[Tombstone]) -> None:
    """Erase all whom some tombstones of one kind and key version name, looking once at every row group."""
    first = stones[0]
    caller = Caller("restore", population.organisation_id, "restore", OPERATOR, frozenset(), may_create_populations=False)
    with desk.database.write() as tx:
        kek_id = keychain.newest_kek(desk, tx, population.organisation_id)
        if not erasures.take_turn(tx, population.id, desk.clock.now()):
            raise Unavailable("Somebody is being erased: tombstones are replayed before the database serves.")
        erasures.forget_given_up(tx, population.id)
        tx.add(stamp(desk, removal.new_erasure(desk, caller, population, first.id)))
    turn = Turn(desk, first.id, population, kek_id, caller)
    key = tombstones.digest_key(desk, population.organisation_id, population.id, first.key_version)
    digests = frozenset(bytes.fromhex(one.digest) for one in stones)

    def note(tx: Transaction, _: dict[str, int]) -> None:
        audit.note(desk, tx, caller, "replay_tombstones", population.id, tombstones=len(stones))

    def flags(dataset: tables.Dataset, column: Any) -> Any:
        return tombstones.flags(key, digests, identities.pseudonyms(desk, dataset)(column))

    removal.remove(turn, Sought(first.kind, flags), stones, note)
    removal.clear(desk, population.id, _extends(desk, [one.id for one in stones]))
    with desk.database.write() as tx:
        for one in stones:
            removal.end(tx, one.id)


def _extends(desk: Desk, ids: Sequence[str]) -> Any:
    def extend(tx: Transaction) -> None:
        for one in ids:
            removal.still(desk, one, tx)

    return extend
