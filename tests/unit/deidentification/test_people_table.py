"""The made-up people of the benchmarks are the same for everybody."""

import hashlib
import io

from app.table.arrow import pa
from benchmarks import people


def text(rows: int, **options: int) -> bytes:
    out = io.BytesIO()
    people.write(out, rows, **options)
    return out.getvalue()


def test_a_seed_gives_one_table_and_rows_do_not_depend_on_how_many_follow():
    short, longer = text(1_000), text(70_000)
    assert longer.startswith(short)
    assert text(1_000) == short != text(1_000, seed=2)
    assert hashlib.sha256(short).hexdigest() == "bf22fddf7671155bf6073a2572a665ab85bc3f4c855f49af7ea7f2dd12d4d832"
    assert longer.count(b"\n") == 70_001


def test_people_differ_and_keep_their_columns_through_their_rows():
    whole = pa.Table.from_batches(people.batches(66_000, rows_per_person=4))
    persons = whole.group_by(["id", "email", "phone", "dob", "zip", "sex"]).aggregate([([], "count_all")])
    assert persons.num_rows == 16_500
    for name in ("id", "email", "phone"):
        assert len(set(whole.column(name).to_pylist())) == 16_500
