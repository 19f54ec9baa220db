"""Rows of people taken out of every dataset of a population, all at once: the part that erasing and restoring share.

    turn → look at every row group → those with the person's rows are sealed again without them, as a new generation, and stored
         → one transaction: manifests, heads, keys of the old generations destroyed, tombstones → old row groups removed → scrub

Promises
- All or nothing for a population: no question, export or upload sees one dataset without the person and another with them.
- No upload is lost: heads are replaced only as they were looked at. An upload that came meanwhile is looked at, too, before that.
- What a dead process stored beforehand is named by no manifest; whoever has the next turn, or the sweep, removes it.
- Every head of the population moves, found or not (soundness R19); data keys of replaced uploads are destroyed on the way.

Invariants
- One turn for each population at a time, held by a lease; each of its transactions asks whether it is still held.
- Nothing is looked at, filtered or sealed inside a writing transaction; memory holds a few row groups (`people.AHEAD`).
- A data key is destroyed before its row group is removed, in the transaction that replaces the heads.
"""

import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace

from app.errors import Integrity, Unavailable
from app.operations import identities, keychain, manifest, once, people, protect, tombstones
from app.operations.authority import believe, restamp
from app.operations.desk import Caller, Desk
from app.operations.manifest import Group, HeadUpload, Manifest
from app.operations.once import Claim
from app.operations.people import Place, Sought
from app.operations.tombstones import Tombstone
from app.store import datasets, erasures, tables
from app.store.engine import Transaction

TRIES = 10
TOGETHER = 8  # row groups removed in one transaction
_BEAT = 3.0  # seconds: several beats before a lease runs out
_LOST = "Another request went on in this one's place; send it again."


@dataclass(slots=True)
class Turn:
    """The right to change a population's heads, held by an erasure that runs."""

    desk: Desk
    erasure_id: str
    population: tables.Population
    kek_id: str
    caller: Caller
    claim: Claim | None = None
    not_before: float = 0.0  # monotonic: heads are replaced no earlier, or the moment would tell whether anybody was found
    beaten: float = field(default_factory=time.monotonic)

    def hold(self, tx: Transaction, state: str = erasures.RUNNING) -> tables.Erasure:
        """Return the erasure's row, held, with its lease and that of its claim renewed; `Unavailable` if the turn was lost."""
        row = erasures.hold(tx, self.erasure_id, state)
        if row is None:
            raise Unavailable(_LOST, retry_after=1)
        row.lease_until = self.desk.clock.now() + once.LEASE
        once.extend(self.desk, tx, self.caller, self.claim, resource_id=self.erasure_id)
        self.beaten = time.monotonic()
        return row

    def beat(self) -> None:
        """Renew the lease now and then."""
        if time.monotonic() - self.beaten > _BEAT:
            with self.desk.database.write() as tx:
                self.hold(tx)

    def wait(self) -> None:
        """Wait until heads may be replaced."""
        while (left := self.not_before - time.monotonic()) > 0:
            time.sleep(min(left, _BEAT / 2))
            self.beat()


@dataclass(slots=True)
class _Upload:
    """An upload that was looked at, and what it becomes."""

    before: Manifest
    groups: list[Group]
    dead: list[erasures.Key] = field(default_factory=list)
    removed: int = 0


@dataclass(frozen=True, slots=True)
class _Resealed:
    """A row group without the person's rows; without `wrapped`, none were left."""

    group: Group
    removed: int
    wrapped: bytes = b""
    chunks: tuple[bytes, ...] = ()


Note = Callable[[Transaction, dict[str, int]], None]


def remove(turn: Turn, sought: Sought, buried: Sequence[Tombstone], note: Note) -> None:
    """Take the rows out and lay the tombstones; `note` is told in the transaction how many rows each dataset loses."""
    desk = turn.desk
    with desk.database.write() as tx:
        turn.hold(tx)
        more = erasures.remove_staged(tx, turn.population.id, together=TOGETHER)
    while more:
        with desk.database.write() as tx:
            turn.hold(tx)
            more = erasures.remove_staged(tx, turn.population.id, together=TOGETHER)
    seen: dict[HeadUpload, _Upload] = {}
    for _ in range(TRIES):
        if not _look(turn, sought, seen):
            continue
        changed = {named: _advanced(desk, named, one) for named, one in seen.items() if one.dead}
        turn.wait()
        if _commit(turn, sought, seen, changed, buried, note):
            return
    raise Unavailable("Uploads keep coming in; send the request again.", retry_after=2)


def clear(desk: Desk, population_id: str, hold: Callable[[Transaction], object]) -> None:
    """Remove row groups whose keys were destroyed, a few in a transaction; then what deleting left in the database's files."""
    more = True
    while more:
        with desk.database.write() as tx:
            hold(tx)
            more = erasures.remove_dead(tx, population_id, together=TOGETHER)
    erasures.scrub(desk.database)


def new_erasure(desk: Desk, caller: Caller, population: tables.Population, erasure_id: str) -> tables.Erasure:
    """Return the row of a request that begins to run."""
    now = desk.clock.now()
    return tables.Erasure(
        id=erasure_id,
        organisation_id=population.organisation_id,
        population_id=population.id,
        principal_id=caller.id,
        state=erasures.RUNNING,
        lease_until=now + once.LEASE,
        created_at=now,
        version=1,
    )


def still(desk: Desk, erasure_id: str, tx: Transaction) -> None:
    """Renew the lease of a request whose rows are gone, while what it left is removed."""
    row = erasures.hold(tx, erasure_id, erasures.ERASED)
    if row is not None:
        row.lease_until = desk.clock.now() + once.LEASE


def end(tx: Transaction, erasure_id: str) -> None:
    """Say that nothing is left to be removed."""
    row = erasures.hold(tx, erasure_id, erasures.ERASED)
    if row is not None:
        row.state = erasures.DONE


def _look(turn: Turn, sought: Sought, seen: dict[HeadUpload, _Upload]) -> bool:
    """Look at what was not looked at yet; False if rows went meanwhile, with their dataset or because their time was over."""
    fresh = _named(turn, sought, but=seen)
    keychain.hold_kek_of(turn.desk, turn.population.organisation_id)
    try:
        _look_at(turn, sought, seen, fresh)
    except Integrity:
        if fresh.keys() <= _named(turn, sought, but=()).keys():
            raise
        return False
    return True


def _named(turn: Turn, sought: Sought, *, but: Container[HeadUpload]) -> dict[HeadUpload, tuple[tables.Dataset, Manifest]]:
    """Return the uploads that the population's heads name, with datasets and manifests, all verified."""
    desk, found = turn.desk, {}
    with desk.database.read() as tx:
        for dataset in erasures.datasets_of(tx, turn.population.id):
            head = datasets.head(tx, dataset.id)
            if head is None or identities.kind_of(believe(desk, dataset)) != sought.kind:
                continue
            for named in manifest.believed_head(desk, dataset, head).uploads:
                if named not in but:
                    found[named] = dataset, manifest.believed_manifest(desk, tx, dataset, named)
    return found


def _look_at(
    turn: Turn, sought: Sought, seen: dict[HeadUpload, _Upload], fresh: dict[HeadUpload, tuple[tables.Dataset, Manifest]]
) -> None:
    """Find the rows in every row group of some uploads; seal and store anew those where there are any."""
    looked = {one.upload: _Upload(one, list(one.groups)) for _, one in fresh.values()}
    within = (place for dataset, one in fresh.values() for place in people.places(dataset, [one]))
    for place, made in people.each(turn.desk, within, lambda place: _without(turn, place, sought), idle=turn.beat):
        turn.beat()
        if made is None:
            continue
        one = looked[place.upload.upload]
        one.groups[place.ordinal] = made.group
        one.dead.append((place.upload.upload, place.ordinal, place.group.generation))
        one.removed += made.removed
        if made.wrapped:
            _stage(turn, place, made)
    seen.update((named, looked[named.upload]) for named in fresh)


def _without(turn: Turn, place: Place, sought: Sought) -> _Resealed | None:
    """Return a row group without the rows that are sought; None where there are none. Runs in a worker."""
    which = people.flagged(turn.desk, place, sought)
    if which is None:
        return None
    generation, rows = place.upload.generation + 1, which.false_count
    removed = len(which) - rows
    if not rows:
        return _Resealed(Group(rows=0, data_key_id="", tags=(), generation=generation), removed)
    columns = people.open_columns(turn.desk, place, place.upload.columns)
    others = people.others(which)
    data_key_id, wrapped, chunks = protect.seal_group(
        turn.desk.keyring,
        place.dataset,
        [(name, columns[name].filter(others)) for name in place.upload.columns],
        kek_id=turn.kek_id,
        place=protect.Place(place.upload.upload, place.ordinal, generation, place.upload.schema_version),
    )
    tags = tuple(chunk[-16:].hex() for chunk in chunks)
    return _Resealed(Group(rows=rows, data_key_id=data_key_id, tags=tags, generation=generation), removed, wrapped, chunks)


def _stage(turn: Turn, place: Place, made: _Resealed) -> None:
    """Store a row group that a manifest will name."""
    row = tables.RowGroup(
        upload_id=place.upload.upload,
        ordinal=place.ordinal,
        generation=made.group.generation,
        rows=made.group.rows,
        data_key_id=made.group.data_key_id,
        wrapped=made.wrapped,
    )
    with turn.desk.database.write() as tx:
        turn.hold(tx)
        if datasets.hold_upload(tx, row.upload_id):  # else its dataset was deleted meanwhile
            datasets.keep_row_group(tx, row, made.chunks)


def _advanced(desk: Desk, named: HeadUpload, one: _Upload) -> tuple[HeadUpload, bytes, bytes]:
    """Return an upload as the head shall name it, with its new manifest and that one's MAC."""
    after = replace(one.before, generation=one.before.generation + 1, groups=tuple(one.groups))
    blob = after.to_bytes()
    mac = manifest.manifest_mac(desk, blob)
    return replace(named, generation=after.generation, manifest_mac=mac.hex()), blob, mac


def _commit(
    turn: Turn,
    sought: Sought,
    seen: dict[HeadUpload, _Upload],
    changed: dict[HeadUpload, tuple[HeadUpload, bytes, bytes]],
    buried: Sequence[Tombstone],
    note: Note,
) -> bool:
    """Replace every head of the population at once; False, and nothing done, if one names what was not looked at."""
    desk, population = turn.desk, turn.population.id
    with desk.database.write() as tx:
        row = turn.hold(tx)
        held = erasures.hold_datasets(tx, population)
        heads = [(one, head) for one in held if (head := datasets.head(tx, one.id)) is not None]
        contents = [manifest.believed_head(desk, believe(desk, one), head) for one, head in heads]
        for (one, _), content in zip(heads, contents, strict=True):
            if identities.kind_of(one) == sought.kind and any(named not in seen for named in content.uploads):
                return False
        last, lost = _bury(turn, tx, row, buried), dict.fromkeys((one.id for one in held), 0)
        for (_, head), content in zip(heads, contents, strict=True):
            uploads = tuple(_moved(tx, changed[named], seen[named]) if named in changed else named for named in content.uploads)
            lost[head.dataset_id] = sum(seen[named].removed for named in content.uploads if named in seen)
            after = replace(content, uploads=uploads, destroyed=content.destroyed + 1)
            manifest.move_head(desk, head, replace(after, erasures=last.ordinal or 0, chain=last.chain or ""))
        for state in ("replaced", "expired"):
            erasures.destroy_uploads(tx, [one.id for one in held], state=state)
        note(tx, lost)
    return True


def _moved(tx: Transaction, after: tuple[HeadUpload, bytes, bytes], one: _Upload) -> HeadUpload:
    """Give an upload its new manifest, and destroy the keys of what the old one named in its place."""
    named, blob, mac = after
    found = tx.get_one(tables.Upload, named.upload)
    found.generation, found.manifest, found.manifest_mac = named.generation, blob, mac
    erasures.destroy_keys(tx, one.dead)
    return named


def _bury(turn: Turn, tx: Transaction, row: tables.Erasure, buried: Sequence[Tombstone]) -> tables.Erasure:
    """Make the running row the first tombstone, and lay the others after it; return the last."""
    desk, caller, population = turn.desk, turn.caller, turn.population
    for one in buried:
        fresh = one.id != row.id
        if fresh:
            row = new_erasure(desk, caller, population, one.id)
        row.state, row.erased_at = erasures.ERASED, desk.clock.now()
        tombstones.append(desk, tx, row, kind=one.kind, version=one.key_version, tombstone=one.digest)
        restamp(desk, row)
        if fresh:
            tx.add(row)
        tx.flush()
    return row
