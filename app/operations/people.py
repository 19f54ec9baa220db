"""One person in the datasets of a population: named as at ingest, found by pseudonym or token (soundness R3, R28).

No index of persons is stored, so the privacy column of every row group is opened: in parallel on the desk's workers, a few row
groups ahead, whatever the size. Everything else is opened only where the person is.

- An identifier is of a stated kind. Where the population's datasets name persons by one kind alone it need not be said; a kind
  that none of them uses is refused, since nobody would be found and the reply would be believed.
- Datasets that name persons by another kind are not searched, and every reply and receipt lists them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.crypto import identifiers, prf
from app.errors import Conflict, Fault, Invalid
from app.operations import identities, keychain, manifest, opened, tombstones
from app.operations.authority import believe
from app.operations.desk import Desk
from app.store import tables
from app.table.arrow import pc

AHEAD = 4  # row groups looked at before their turn
_IDLE = 1.0
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Sought:
    """Whom to look for: those of a kind whose rows a function flags."""

    kind: str
    flags: Callable[[tables.Dataset, Any], Any] = field(repr=False)  # a dataset and its privacy column → booleans


@dataclass(frozen=True, slots=True)
class Person:
    """One person of a population."""

    kind: str
    normal: str = field(repr=False)
    pseudonym: bytes = field(repr=False)
    tombstone: str
    key_version: int

    def sought(self, desk: Desk) -> Sought:
        """Return how the person is found in a column."""
        known: dict[str, Any] = {}  # by dataset: a token is made once

        def flags(dataset: tables.Dataset, column: Any) -> Any:
            if dataset.id not in known:
                known[dataset.id] = identities.stored(desk, dataset, normal=self.normal, pseudonym=self.pseudonym)
            return pc.equal(column, known[dataset.id])

        return Sought(self.kind, flags)


@dataclass(frozen=True, slots=True)
class Place:
    """One stored row group of a dataset of persons."""

    dataset: tables.Dataset
    upload: manifest.Manifest
    ordinal: int

    @property
    def group(self) -> manifest.Group:
        """Return the row group as its manifest has it."""
        return self.upload.groups[self.ordinal]


def name(
    desk: Desk,
    population: tables.Population,
    rows: Sequence[tables.Dataset],
    *,
    identifier: str,
    kind: str | None,
    country: str | None,
) -> Person:
    """Return the person whom an identifier names; every refusal is a function of the request and of public definitions."""
    if population.unit != "person":
        raise Conflict("This population does not speak of persons: no identifier names anybody in it.")
    kind = _kind(kind, {identities.kind_of(believe(desk, row)) for row in rows})
    if kind == "phone" and country is None:
        raise Invalid("Phones need the country that local numbers belong to.", faults=[Fault("missing", pointer="/country")])
    key = keychain.purpose_key(desk, keychain.PSEUDONYMS, organisation=population.organisation_id, scope=population.id)
    normal = identifiers.normalize(kind, identifier, country=country)
    if normal is None:
        raise Invalid("This is no identifier of its kind.", faults=[Fault("no-normal-form", pointer="/identifier")])
    pseudonym = prf.pseudonym_under(prf.pseudonym_key(key, population=population.id, kind=kind), normal)
    under = tombstones.digest_key(desk, population.organisation_id, population.id)
    version = tombstones.key_version(desk, population.organisation_id, population.id)
    return Person(kind, normal, pseudonym, tombstones.digest(under, pseudonym), version)


def places(dataset: tables.Dataset, manifests: Iterable[manifest.Manifest]) -> Iterator[Place]:
    """Give every stored row group of some uploads."""
    for one in manifests:
        for ordinal, group in enumerate(one.groups):
            if not group.emptied:
                yield Place(dataset, one, ordinal)


def each(
    desk: Desk, within: Iterable[Place], act: Callable[[Place], Found], *, idle: Callable[[], None] = lambda: None
) -> Iterator[tuple[Place, Found]]:
    """Apply `act` to every row group on the workers, and give what it found in their order; at most `AHEAD` wait.

    `idle` is called now and then while the workers are busy with something else.
    """
    waiting: deque[tuple[Place, Future[Found]]] = deque()
    try:
        for place in within:
            waiting.append((place, desk.workers.submit(act, place)))
            if len(waiting) >= AHEAD:
                yield _first(waiting, idle)
        while waiting:
            yield _first(waiting, idle)
    finally:
        for _, future in waiting:
            future.cancel()


def _first(waiting: "deque[tuple[Place, Future[Found]]]", idle: Callable[[], None]) -> tuple[Place, Found]:
    place, future = waiting[0]
    while not future.done():
        wait([future], timeout=_IDLE)
        idle()
    waiting.popleft()
    return place, future.result()


def flagged(desk: Desk, place: Place, sought: Sought) -> Any:
    """Return which rows of a row group are the person's; None where none is."""
    column = identities.privacy_column(place.dataset)
    found = sought.flags(place.dataset, open_columns(desk, place, [column])[column])
    return found if pc.any(found).as_py() else None


def open_columns(desk: Desk, place: Place, columns: Sequence[str]) -> dict[str, Any]:
    """Return columns of one row group, opened."""
    return opened.open_group(desk, place.dataset, place.upload, place.ordinal, place.group, columns)


def others(which: Any) -> Any:
    """Return the rows that are not flagged."""
    return pc.invert(which)


def _kind(stated: str | None, used: set[str]) -> str:
    if stated is None and len(used) == 1:
        return next(iter(used))
    if stated is None:
        raise Invalid(
            "Say which kind of identifier it is: the population's datasets do not all name persons by one.",
            faults=[Fault("missing", pointer="/kind")],
        )
    if used and stated not in used:
        raise Invalid("No dataset of the population names persons by this kind.", faults=[Fault("unknown-kind", pointer="/kind")])
    return stated
