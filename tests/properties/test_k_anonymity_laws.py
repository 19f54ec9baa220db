"""The law of an export at k: every class of it has at least k rows, or it is empty; recomputed by pandas from the export."""

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from app.deidentification.k_anonymity import release
from app.deidentification.k_anonymity.gathering import Gathering
from app.deidentification.k_anonymity.generalized import Generalized, generalized
from app.deidentification.k_anonymity.loss import loss
from app.deidentification.k_anonymity.mondrian import LEFT_OUT, Keys, Need, partition
from app.table.schema import ColumnType, StoredColumn
from tests import risk_by_pandas

_TEXTS = ["Ulm", "Bern", "Berlin", "Wien", "=1", "", "10115", "10117", "1011", "x" * 40, "x" * 39 + "y", "é", "e\u0301"]
_KINDS = {
    "age": ("integer", "int64", st.integers(-3, 6)),
    "far": ("integer", "int64", st.sampled_from([-(2**63), -1, 0, 2**63 - 1])),
    "sex": ("category", "int16", st.integers(0, 2)),
    "well": ("boolean", "bool", st.booleans()),
    "born": ("date", "date32[day]", st.integers(-700_000, 700_000)),
    "town": ("text", "string", st.sampled_from(_TEXTS)),
    "cents": ("decimal", "int64", st.integers(-500, 500)),
}
_STORED = [
    StoredColumn(name, ColumnType(kind), "keep", arrow, place, categories=("F", "M", "X") if kind == "category" else None)
    for place, (name, (kind, arrow, _)) in enumerate(_KINDS.items())
] + [StoredColumn("ward", ColumnType.CATEGORY, "keep", "int16", len(_KINDS), categories=("a", "b", "c"))]


@st.composite
def _tables(draw):
    quasi = draw(st.lists(st.sampled_from(sorted(_KINDS)), min_size=1, max_size=4, unique=True))
    cell = {name: st.none() | _KINDS[name][2] if draw(st.booleans()) else _KINDS[name][2] for name in quasi}
    rows = draw(st.lists(st.fixed_dictionaries(cell | {"ward": st.integers(0, 2), "person": st.integers(0, 9)}), max_size=60))
    return quasi, rows


def _arrays(quasi, rows):
    kinds = {
        name: {"bool": pa.bool_(), "int16": pa.int16(), "string": pa.string()}.get(_KINDS[name][1], pa.int64()) for name in quasi
    }
    made = {name: pa.array([row[name] for row in rows], kinds[name]) for name in quasi}
    if "born" in made:
        made["born"] = made["born"].cast(pa.int32()).cast(pa.date32())
    return made | {
        "ward": pa.array([row["ward"] for row in rows], pa.int16()),
        "person": pa.array([row["person"] for row in rows]),
    }


def _exported(quasi, rows, needs, k, *, each=17):
    """Return what an export at k holds as a pandas frame, its loss, and the class of each row."""
    columns = [one for name in quasi for one in _STORED if one.name == name]
    arrays = _arrays(quasi, rows)
    gathering = Gathering(columns, needs, rows=len(rows))
    for first in range(0, len(rows), each):
        part = {name: array.slice(first, each) for name, array in arrays.items()}
        gathering.add(part, rows=len(part["ward"]))
    keys = gathering.keys()
    made = generalized(columns, keys, partition(keys, k=k, needs=gathering.needs()), texts=gathering.texts)
    shape = release.Shape(tuple(columns), (_STORED[-1],))
    kept = pa.array(made.classes != LEFT_OUT)
    shown = {name: array.filter(kept) for name, array in arrays.items()}
    parts = [release.rows(shape, made, made.classes[made.classes != LEFT_OUT], shown)]
    return release.in_order(shape, parts), loss(keys, made, k=k), made


@settings(max_examples=250, deadline=None)
@given(_tables(), st.integers(2, 6))
def test_every_class_of_an_export_has_k_rows_or_it_is_empty(table, k):
    """Every class of the export has at least k rows, or the export is empty."""
    quasi, rows = table
    exported, lost, _ = _exported(quasi, rows, {}, k)
    frame = exported.to_pandas(types_mapper=None, date_as_object=True)
    names = [name for name in frame.columns if name != "ward"]
    sizes = frame.groupby(names, dropna=False).size() if len(frame) else pd.Series(dtype=int)
    assert (sizes >= k).all()
    assert (lost.classes, lost.smallest, lost.rows - lost.suppressed) == (
        len(sizes),
        sizes.min() if len(sizes) else 0,
        len(frame),
    )
    assert exported.schema.equals(release.Shape(tuple(o for n in quasi for o in _STORED if o.name == n), (_STORED[-1],)).schema)


@settings(max_examples=250, deadline=None)
@given(_tables(), st.integers(2, 4), st.integers(2, 3))
def test_every_class_has_l_values_and_k_people(table, k, l):  # noqa: E741
    """With l each class has l values of the sensitive column; where a person has several rows, it has rows of k people."""
    quasi, rows = table
    _, _, made = _exported(quasi, rows, {"ward": l, "person": k}, k)
    held = pd.DataFrame({"class": made.classes, "ward": [row["ward"] for row in rows], "person": [row["person"] for row in rows]})
    classes = held[held["class"] != LEFT_OUT].groupby("class")
    assert (classes["ward"].nunique() >= l).all()
    assert (classes["person"].nunique() >= k).all()


@settings(max_examples=150, deadline=None)
@given(_tables(), st.integers(2, 5))
def test_a_row_is_shown_as_what_holds_it(table, k):
    """Each row that is shown lies in its class: within its intervals, in its sets, of its text; nulls stay nulls."""
    quasi, rows = table
    _, _, made = _exported(quasi, rows, {}, k)
    for row, part in zip(rows, made.classes, strict=True):
        for one in made.shown if part != LEFT_OUT else ():
            value = row[one.column.name]
            assert one.null[part] == (value is None)
            if isinstance(value, str):
                shown = one.texts[int(part)].as_py()
                assert value.startswith(shown[:-1]), "what all begin with"
                assert one.distinct[part] == 1 or shown.endswith("*")
            elif value is not None:
                assert one.low[part] <= value <= one.high[part]
    patterns = pd.DataFrame([[row[name] is None for name in quasi] for row in rows]).value_counts() if rows else []
    if not (np.asarray(patterns) < k).any():
        assert LEFT_OUT not in made.classes, "rows are left out only where too few share their nulls"


def test_planted_a_partition_that_is_content_with_less_is_caught(monkeypatch):
    """The law can fail: a partition that takes k - 3 for k leaves classes that pandas finds."""
    rows = [{"age": number, "ward": 0, "person": number} for number in range(60)]
    exported, _, _ = _exported(["age"], rows, {}, 5)
    assert exported.to_pandas().groupby(["age_low", "age_high"]).size().min() >= 5
    sound = partition
    monkeypatch.setitem(globals(), "partition", lambda keys, *, k, needs: sound(keys, k=k - 3, needs=needs))
    exported, _, _ = _exported(["age"], rows, {}, 5)
    assert exported.to_pandas().groupby(["age_low", "age_high"]).size().min() < 5


def test_a_table_that_is_large_is_brought_to_k_as_a_small_one():
    rng = np.random.default_rng(3)
    values = np.stack([rng.integers(0, 90, 40_000), rng.integers(0, 2, 40_000), rng.integers(0, 10**9, 40_000)], axis=1)
    keys = Keys(values, np.zeros(values.shape, bool), np.array([True, False, True]))
    sensitive = rng.integers(0, 12, 40_000)
    parts = partition(keys, k=5, needs=[Need(sensitive, 3)])
    assert np.bincount(parts).min() >= 5
    assert pd.Series(sensitive).groupby(parts).nunique().min() >= 3
    assert np.bincount(parts).mean() < 10, "classes are hardly larger than they must be"


_ROW = st.fixed_dictionaries(
    {
        "age": st.none() | st.integers(0, 50),
        "sex": st.none() | st.integers(0, 2),
        "town": st.none() | st.sampled_from(_TEXTS),
        "ward": st.just(0),
        "person": st.just(0),
    }
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_ROW, min_size=1, max_size=80), st.integers(2, 5))
def test_information_loss_is_that_of_the_definitions(rows, k):
    """NCP, generalised information loss, discernibility and class sizes follow from the table before and after it."""
    exported, lost, _ = _exported(["age", "sex", "town"], rows, {}, k)
    before = pd.DataFrame(rows).astype({"age": float, "sex": float})
    expected = risk_by_pandas.loss(before, exported.to_pandas(), k=k, intervals=["age"], sets=["sex"], texts=["town"])
    risk_by_pandas.same(lost.as_json(), expected)


def test_stretches_hold_whole_classes_and_cut_only_those_that_are_larger():
    made = Generalized(np.zeros(0, np.int64), np.array([3, 50, 4, 9, 9]), ())
    assert list(release.stretches(made, most=20)) == [(0, 3), (3, 23), (23, 43), (43, 57), (57, 75)]
    assert list(release.stretches(Generalized(np.zeros(0, np.int64), np.zeros(0, np.int64), ()))) == []
