"""Verify everything that is stored, and name the first bad place of each dataset (issue 4; attacks C2, C4, C10, C15).

    rows of rights → heads, manifests, every sealed column → ledgers = spent, kept answers → audit logs → the anchor

Invariants
- It runs beside a living service: short snapshots, one row group in memory, no lock held; rows that another upload took the place
  of while it reads are no finding.
- What it finds in a dataset closes that dataset (operations/quarantine.py); all other findings are the operator's.
- A finding says where, in ids, tables and positions; never a value.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from app.errors import Integrity, Sealed
from app.operations import anchoring, answer, audit, keychain, opened, quarantine
from app.operations.authority import believe
from app.operations.desk import Desk
from app.store import integrity

_PAGE = 200
Pace = Callable[[int], None]  # told how many bytes were opened; may wait


@dataclass(frozen=True, slots=True)
class Finding:
    """One bad place. `dataset` where it is one's."""

    what: str
    place: str
    dataset: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return the members that are set."""
        return {"what": self.what, "place": self.place, **({} if self.dataset is None else {"dataset": self.dataset})}


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    checked: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def count(self, what: str, more: int = 1) -> None:
        """Count what was looked at."""
        self.checked[what] = self.checked.get(what, 0) + more


def verify(desk: Desk, *, say: Callable[[str], None] = lambda _: None) -> Report:
    """Check all that is stored; `say` is told how far it is."""
    report = Report()
    desk.anchors.standing()  # what is closed already, before anything is closed anew
    steps: tuple[tuple[str, Callable[[Desk, Report, Callable[[str], None]], Iterator[Finding]]], ...] = (
        ("keys", _keys),
        ("rows of rights", _authority),
        ("datasets", _datasets),
        ("ledgers", _ledgers),
        ("audit logs", _audits),
        ("anchor", _anchor),
    )
    for name, step in steps:
        say(f"{name} …")
        report.findings += step(desk, report, say)
    return report


def first_bad(desk: Desk, dataset_id: str, *, pace: Pace = lambda _: None) -> tuple[str, str | None] | None:
    """Open everything that the dataset's head names; return the first place that does not open, and its manifest's MAC."""
    try:
        with desk.database.read() as tx:
            row = integrity.dataset(tx, dataset_id)
            if row is None:
                return None
            version = opened.pin(desk, tx, believe(desk, row))
        keychain.hold_kek_of(desk, version.dataset.organisation_id)
        for one in version.manifests:
            for ordinal, group in enumerate(one.groups):
                if group.emptied:
                    continue  # its last row was erased
                columns = opened.open_group(desk, version.dataset, one, ordinal, group, one.columns)
                pace(sum(array.nbytes for array in columns.values()))
    except Integrity as error:
        return error.place or "the dataset's own row", error.named
    return None


def _keys(desk: Desk, report: Report, _: Callable[[str], None]) -> Iterator[Finding]:
    report.count("keyrings")
    try:
        keychain.load_all(desk.database, desk.keyring)
    except (Integrity, Sealed):
        yield Finding("key", "a wrapped key does not open")


def _authority(desk: Desk, report: Report, say: Callable[[str], None]) -> Iterator[Finding]:
    for table in integrity.authenticated():
        after: tuple[Any, ...] | None = None
        while True:
            with desk.database.read() as tx:
                rows = integrity.page(tx, table, after, limit=_PAGE)
                keys = [integrity.key_of(row) for row in rows]
            for row, key in zip(rows, keys, strict=True):
                report.count("rows of rights")
                try:
                    believe(desk, row)
                except Integrity:
                    yield Finding("row of rights", f"{table.__tablename__} {'/'.join(map(str, key))}")
            if len(rows) < _PAGE:
                break
            after = keys[-1]
    say(f"{report.checked.get('rows of rights', 0)} rows of rights")


def _datasets(desk: Desk, report: Report, say: Callable[[str], None]) -> Iterator[Finding]:
    with desk.database.read() as tx:
        ids = integrity.dataset_ids(tx)

    def pace(opened_bytes: int) -> None:
        report.count("row groups")
        report.count("bytes", opened_bytes)

    for number, dataset_id in enumerate(ids, start=1):
        bad = first_bad(desk, dataset_id, pace=pace)
        report.count("datasets")
        say(f"dataset {number} of {len(ids)}: {'bad' if bad else 'good'}; {report.checked.get('row groups', 0)} row groups")
        if bad is not None and (bad[0] == "the dataset's own row" or _closes(desk, dataset_id, *bad, found_by="verify")):
            yield Finding("dataset", bad[0], dataset=dataset_id)


def _closes(desk: Desk, dataset_id: str, place: str, named: str | None, *, found_by: str) -> bool:
    return quarantine.put(desk, dataset_id, place=place, found_by=found_by, named=named)


def _ledgers(desk: Desk, report: Report, _: Callable[[str], None]) -> Iterator[Finding]:
    with desk.database.read() as tx:
        budgets = list(integrity.budgets(tx))
    for population, said, added in budgets:
        report.count("populations")
        if said != added:
            yield Finding("ledger", f"population {population}: what is spent is not what its ledger adds up to")
    after = ""
    while True:
        with desk.database.read() as tx:
            entries = integrity.answers(tx, after, limit=_PAGE)
        for entry in entries:
            report.count("answers")
            if not answer.opens(desk, entry):
                yield Finding("answer", f"ledger entry {entry.id}")
        if len(entries) < _PAGE:
            return
        after = entries[-1].id


def _audits(desk: Desk, report: Report, _: Callable[[str], None]) -> Iterator[Finding]:
    with desk.database.read() as tx:
        ids = integrity.organisation_ids(tx)
    for organisation in ids:
        report.count("audit logs")
        bad = audit.first_bad(desk, organisation)
        if bad is not None:
            yield Finding("audit log", f"organisation {organisation}, entry {bad}")


def _anchor(desk: Desk, report: Report, _: Callable[[str], None]) -> Iterator[Finding]:
    found = anchoring.look(desk)
    report.count("anchored positions", len(found.recalled))
    for where in found.lost:
        yield Finding("anchor", f"{where.component} is not where it was anchored")
    if found.refused and not found.lost:
        yield Finding("anchor", "an operator has not acknowledged yet that the database was not where it was")
