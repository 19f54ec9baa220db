"""The README's table of limits says what the code does: each row is written here from the constants themselves."""

import re
from pathlib import Path

from app.api.body_stream import UPLOADS_AT_ONCE
from app.api.connection import HEAD_BYTES, HEAD_SECONDS
from app.api.context import REQUESTS_AT_ONCE
from app.api.datasets import create_dataset
from app.api.key_verbs import decrypt, encrypt
from app.api.limits import MIB, terms_of
from app.api.populations import pseudonymize
from app.api.rates import BURST_SECONDS
from app.api.tallies import NewTally, contribute
from app.dp import budget, domain, json_form
from app.operations import batch, datasets, files, once, populations, quotas
from app.settings import Settings
from app.store.engine import WAITING, WRITERS
from app.table import limits, schema
from tacit.paillier import public

ROOT = Path(__file__).parents[2]
SET = {name: field.default for name, field in Settings.model_fields.items()}
UPLOAD = limits.Limits(decoded_bytes=1, rows=1)


def _bytes(count):
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return f"{count:,} bytes"


def _mib(*endpoints):
    (limit,) = {terms_of(endpoint).body_limit for endpoint in endpoints}
    return limit // MIB


def _most(model, name):
    return next(rule.max_length for rule in model.model_fields[name].metadata if hasattr(rule, "max_length"))


# What → the limit as the table writes it.
ROWS = {
    "upload: as sent, decoded, at once": (
        f"{_bytes(SET['max_upload_bytes'])}, {_bytes(SET['max_decoded_bytes'])}, {UPLOADS_AT_ONCE} uploads a process"
    ),
    "rows of a dataset; columns; categories of a column": (
        f"its `max_rows` (at most 10¹⁰); {schema.MAX_COLUMNS:,}; {schema.MAX_CATEGORIES:,}"
    ),
    "a cell, a row of text, a header": ", ".join(map(_bytes, (UPLOAD.cell_bytes, UPLOAD.row_bytes, UPLOAD.header_bytes))),
    "a JSON array as an upload (JSON Lines, CSV, Parquet stream)": _bytes(UPLOAD.array_bytes),
    "other JSON bodies": (
        f"1 MiB; datasets {_mib(create_dataset)}; contributions, pseudonymise {_mib(contribute, pseudonymize)};"
        f" encrypt {_mib(encrypt)}; decrypt {_mib(decrypt)}"
    ),
    "faults reported for an upload": f"the first {limits.MAX_FAULTS}, by row and column",
    "aggregates, grouping columns, groups of a question": (
        f"{json_form.MAX_AGGREGATES}, {json_form.MAX_KEYS}, {domain.MAX_CELLS:,} declared cells"
    ),
    "ε of a question; total of a population": (
        f"{float(budget.SMALLEST_EPSILON)} to {SET['max_epsilon']}; at most {int(populations.LARGEST_TOTAL):,}"
    ),
    "items of a batch; of 1 MiB each": f"{batch.MOST_ITEMS:,}",
    "Paillier keys; roster of a tally": (
        f"{SET['paillier_minimum_bits']:,} to {public.LARGEST_BITS:,} bits; {_most(NewTally, 'roster'):,}"
    ),
    "requests of a principal, in each process": (
        f"{SET['rate_per_second']} a second, {BURST_SECONDS * SET['rate_per_second']} at once; `TACIT_RATE_PER_SECOND`"
    ),
    "identifiers that a service pseudonymises, in each process": (
        f"{SET['identifiers_per_hour']:,} an hour; `TACIT_IDENTIFIERS_PER_HOUR`"
    ),
    "tokens that are not valid, from one address, in each process": (
        f"{SET['failed_tokens_per_minute']} a minute; `TACIT_FAILED_TOKENS_PER_MINUTE`"
    ),
    "uploads of a principal: bytes as sent, at once, unfinished files": (
        f"{_bytes(SET['daily_upload_bytes'])} in {quotas.WINDOW.total_seconds() / 3600:.0f} hours,"
        f" {SET['uploads_per_principal']}, {SET['files_per_principal']}; `TACIT_DAILY_UPLOAD_BYTES`,"
        " `TACIT_UPLOADS_PER_PRINCIPAL`, `TACIT_FILES_PER_PRINCIPAL`"
    ),
    "a file that comes in pieces: waits for its next byte, pieces": (
        f"{SET['file_hours']:.0f} hours (`TACIT_FILE_HOURS`), {files.MAX_PARTS:,}"
    ),
    "requests under way, writers that wait, in each process": f"{REQUESTS_AT_ONCE}, {WAITING}; beyond, 503",
    "waiting for the database; for a request's head": (
        f"{SET['database_patience_seconds']:.0f} s (`TACIT_DATABASE_PATIENCE_SECONDS`);"
        f" {HEAD_SECONDS:.0f} s, {_bytes(HEAD_BYTES)}"
    ),
    "an Idempotency-Key is known for": f"{once.KEPT.total_seconds() / 3600:.0f} hours",
}


def _table():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Limits\n")[2].partition("\n## ")[0]
    lines = [re.fullmatch(r"\| (.+?) \| (.+?) \|", line) for line in section.splitlines()]
    return {line.group(1): line.group(2) for line in lines if line and line.group(1) != "what"}


def test_every_limit_of_the_table_is_the_codes():
    table = _table()
    assert {what: table[what] for what in table if what in ROWS} == {what: ROWS[what] for what in table if what in ROWS}
    assert set(table) <= set(ROWS), "a limit that the code is not asked for: write it here from its constant"


def test_every_limit_is_in_the_table():
    assert set(ROWS) <= set(_table())


def test_limits_that_are_written_in_words_are_what_they_say():
    assert datasets.MOST_ROWS == 10**10
    assert WRITERS < WAITING


def test_every_setting_is_named_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    unnamed = {f"TACIT_{name.upper()}" for name in SET} - set(re.findall(r"TACIT_[A-Z_]+", text))
    assert unnamed == set()


if __name__ == "__main__":  # python -m tests.contracts.test_limits: the table, to be copied
    print("| what | limit |\n|---|---|")
    print("\n".join(f"| {what} | {limit} |" for what, limit in ROWS.items()))
