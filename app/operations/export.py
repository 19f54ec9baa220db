"""Export: rows as the policy left them, streamed by row group, written into the ledger before the first byte (soundness R6).

Invariants
- Nothing leaves a database that is not where it was anchored, or a dataset in quarantine.
- A purpose is stated; the entry `unprotected-release` is committed before anything is opened.
- Pseudonyms stay pseudonyms, sealed cells stay sealed; `open` decrypts a column encrypted under a named key for who was granted
  `open:<key>` (owners excepted: the key's grant decides).
- Text in CSV that a spreadsheet would run is made harmless (threat I13); typed numbers are untouched.
- The version is pinned when the export begins; memory holds one row group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.deidentification.present import Presenter
from app.errors import Fault, Forbidden, Invalid
from app.operations import access, audit, keychain, opened, releasing
from app.operations.authority import believe
from app.operations.datasets import definition
from app.operations.desk import OWNER, SERVICE, Caller, Desk
from app.operations.populations import record_unprotected
from app.store import keys, tables
from app.table import writer
from app.table.schema import StoredColumn

FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}


@dataclass(frozen=True, slots=True)
class Export:
    """What a reply streams."""

    media_type: str
    chunks: Iterator[bytes]


def export_rows(desk: Desk, caller: Caller, dataset_id: str, *, purpose: str, form: str, open_columns: Sequence[str]) -> Export:
    """Write the release into the ledger and return the stream of rows."""
    access.require_role(caller, OWNER, SERVICE)
    with releasing.writing(desk, caller, dataset_id) as tx:
        row = access.dataset(desk, tx, caller, dataset_id, access.EXPORT)
        have = access.rights(desk, tx, caller, row.id)
        schema, policy = definition(row)
        stored = policy.stored(schema)
        names = _keys_to_open(caller, stored, policy.key_names(), open_columns, have)
        version = opened.pin(desk, tx, row)
        record_unprotected(
            desk, tx, caller, row.population_id, purpose=purpose, places={"dataset_id": row.id, "data_version": version.id}
        )
        audit.note(desk, tx, caller, "export_rows", row.id, purpose=purpose, opened=",".join(sorted(open_columns)))
        rows = {name: _key_row(desk, keys.named(tx, caller.organisation, name)) for name in names.values()}

    def key_of(name: str, version_of_key: int) -> bytes | None:
        if not 1 <= version_of_key <= rows[name].newest_version:
            return None
        place = {"organisation": caller.organisation, "scope": rows[name].id}
        return keychain.purpose_key(desk, keychain.NAMED, **place, version=version_of_key)

    presenter = Presenter(stored, dataset=row.id, organisation=row.organisation_id, opened=names, key_of=key_of)
    columns = [column.name for column in stored]
    batches = (presenter.present(group.columns, rows=group.rows) for group in opened.row_groups(desk, version, columns))
    return Export(FORMATS[form], writer.write(batches, presenter.schema, form))


def _keys_to_open(
    caller: Caller, stored: Sequence[StoredColumn], key_names: dict[str, str], open_columns: Sequence[str], have: frozenset[str]
) -> dict[str, str]:
    """Return the key's name for each column to open; refuse columns that are not encrypted and keys that were not granted."""
    encrypted = {column.name for column in stored if column.technique == "encrypt"}
    if unknown := [index for index, name in enumerate(open_columns) if name not in encrypted]:
        raise Invalid(
            "Only columns encrypted under a named key can be opened here; a sealed column is opened by its recipient.",
            faults=[Fault("not-encrypted", pointer=f"/open/{index}") for index in unknown],
        )
    wanted = {name: key_names[name] for name in open_columns}
    if caller.role != OWNER and (missing := {key for key in wanted.values() if f"open:{key}" not in have}):
        raise Forbidden(
            f"Opening needs the right open:<key> on the dataset for {len(missing)} more key(s); its owner can grant it."
        )
    return wanted


def _key_row(desk: Desk, row: tables.NamedKey | None) -> tables.NamedKey:
    if row is None:
        raise Invalid("A column's key is gone.")
    return believe(desk, row)
