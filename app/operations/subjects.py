"""One person's records, as they are stored, from every dataset of a population that names persons by the identifier's kind.

Invariants
- A purpose is stated; for each dataset that is searched an entry `unprotected-release` is committed, found or not, before a row
  is opened (soundness R6), and so is an audit entry that names it. Neither says who was looked for.
- The reply has the same shape whether anybody was found: every dataset is in it, with its columns and a list of records.
- Pseudonyms stay pseudonyms, encrypted and sealed cells stay closed; what a dataset's policy removed is not there.
- The version of each dataset is pinned when the reading begins, in a database that is where it was anchored (soundness R27).
  Where one of the datasets is in quarantine, nothing is read.
"""

from collections.abc import Sequence
from typing import Any

from app.deidentification.present import Presenter
from app.errors import TooLarge
from app.operations import access, anchoring, audit, identities, keychain, opened, people, quarantine
from app.operations.anchoring import Recalled
from app.operations.authority import believe
from app.operations.datasets import definition
from app.operations.desk import OWNER, SERVICE, Caller, Desk
from app.operations.people import Place, Sought
from app.operations.populations import record_unprotected
from app.store import erasures, tables
from app.table.writer import records

MOST_RECORDS = 100_000


def get_subject(
    desk: Desk, caller: Caller, population_id: str, *, identifier: str, kind: str | None, country: str | None, purpose: str
) -> dict[str, Any]:
    """Return everything that is stored of one person."""
    access.require_role(caller, OWNER, SERVICE)
    with desk.database.read() as tx:
        population = access.population_with(desk, tx, caller, population_id, access.READ_SUBJECT)
        rows = [believe(desk, row) for row in erasures.datasets_of(tx, population.id)]
    person = people.name(desk, population, rows, identifier=identifier, kind=kind, country=country)
    searched = [row for row in rows if identities.kind_of(row) == person.kind]
    recalled = _recalled(desk, caller, searched)
    with desk.database.write() as tx:
        access.population_with(desk, tx, caller, population_id, access.READ_SUBJECT)
        versions = [opened.pin(desk, tx, row) for row in searched]
        for version in versions:
            places: dict[str, str | None] = {"dataset_id": version.dataset.id, "data_version": version.id}
            record_unprotected(desk, tx, caller, population.id, purpose=purpose, places=places)
            audit.note(desk, tx, caller, "get_subject", version.dataset.id, kind=person.kind, purpose=purpose)
        if not versions:
            audit.note(desk, tx, caller, "get_subject", population.id, kind=person.kind, purpose=purpose)
        anchoring.compare(desk, tx, recalled)
        for row in searched:
            quarantine.check(desk, tx, row.id)
    keychain.hold_kek_of(desk, population.organisation_id)
    found: list[dict[str, Any]] = []
    room = MOST_RECORDS
    for version in versions:
        found.append(_records(desk, version, person.sought(desk), room=room))
        room -= len(found[-1]["records"])
    return {
        "population": population.id,
        "kind": person.kind,
        "datasets": found,
        "not_searched": [row.id for row in rows if identities.kind_of(row) != person.kind],
    }


def _recalled(desk: Desk, caller: Caller, searched: Sequence[tables.Dataset]) -> Recalled:
    """Return what the anchor knows of all that is searched (soundness R27)."""
    known: Recalled = {}
    for row in searched:
        known |= anchoring.recall(desk, caller, population_id=row.population_id, dataset_id=row.id)
    return known


def _records(desk: Desk, version: opened.Version, sought: Sought, *, room: int) -> dict[str, Any]:
    """Return the person's records in one dataset, at most so many."""
    dataset = version.dataset
    schema, policy = definition(dataset)
    stored = policy.stored(schema)
    presenter = Presenter(stored, dataset=dataset.id, organisation=dataset.organisation_id, opened={}, key_of=lambda *_: None)
    names = [column.name for column in stored]

    def of_the_person(place: Place) -> list[dict[str, Any]]:
        which = people.flagged(desk, place, sought)
        if which is None:
            return []
        columns = people.open_columns(desk, place, names)
        kept = {name: column.filter(which) for name, column in columns.items()}
        return list(records(presenter.present(kept, rows=len(kept[names[0]])), names))

    found: list[dict[str, Any]] = []
    for _, more in people.each(desk, people.places(dataset, version.manifests), of_the_person):
        found += more
        if len(found) > room:
            raise TooLarge(f"The person has more than {MOST_RECORDS:,} records; export the dataset instead.")
    return {"dataset": dataset.id, "name": dataset.name, "version": version.id, "columns": names, "records": found}
