"""The kernels of `convert` against the plain statement of `cell`, on any text."""

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.table.cell import cell_reader
from app.table.convert import Converter
from app.table.exact import decimal_text, parse_decimal
from app.table.limits import Faults
from app.table.schema import Column, ColumnType

COLUMNS = [
    Column("a", ColumnType.TEXT),
    Column("a", ColumnType.INTEGER),
    Column("a", ColumnType.DECIMAL, step=Fraction(1, 100)),
    Column("a", ColumnType.DECIMAL, step=Fraction(5, 2)),
    Column("a", ColumnType.DECIMAL, step=Fraction(10)),
    Column("a", ColumnType.BOOLEAN),
    Column("a", ColumnType.DATE),
    Column("a", ColumnType.DATETIME),
    Column("a", ColumnType.CATEGORY, categories=("x", "", "Y", "1")),
    Column("a", ColumnType.BINARY),
]
NUMBERS = st.from_regex(r"-?[0-9]{0,40}\.?[0-9]{0,42}", fullmatch=True)
NEARLY_NUMBERS = st.text("0123456789+-._,eExX nafi", max_size=24)
DATES = st.from_regex(r"[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]", fullmatch=True)
MOMENTS = st.from_regex(
    r"(0000|0001|9999|20[0-9][0-9])-[01][0-9]-[0-3][0-9][T ]"
    r"[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,7})?(Z|z|[+-][0-2][0-9]:?[0-9]{2})?",
    fullmatch=True,
)
WORDS = st.sampled_from(["true", "TRUE", "True", "tRue", "1", "0", "x", "Y", "y", "AAE=", "AAE", "9" * 19, "-" + "9" * 19])
TEXTS = st.one_of(NUMBERS, NEARLY_NUMBERS, DATES, MOMENTS, WORDS, st.text(max_size=6)).map(
    lambda text: text.encode("utf-8", "surrogatepass"),
)
PLACES = np.arange(1, 101)
CELLS = st.lists(st.one_of(st.none(), TEXTS, st.binary(max_size=4)), max_size=5)


def stated(column, cells):
    """Return what the plain statement makes of the cells: values, or the rows and rules at fault."""
    read, values, faults = cell_reader(column), [], []
    for row, raw in enumerate(cells, 1):
        try:
            values.append(None if raw is None else read(raw))
        except ValueError as wrong:
            values.append(None)
            faults.append((row, str(wrong)))
    return values, faults


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.type}-{column.step}")
@settings(max_examples=60, deadline=None)
@given(cells=CELLS)
@example(cells=[b"1." + b"0" * 40])
@example(cells=[b"0000-12-31T23:00:00-02:00"])
@example(cells=[b"92233720368547758.07", b"92233720368547758.08"])
@example(cells=[b"0x1F"])
def test_a_column_is_read_as_its_cells_are(column, cells):
    """A vector of cells converts to exactly what each cell alone converts to, and faults where one alone faults."""
    faults = Faults()
    converted = Converter(column, cell_bytes=1000).convert(pa.array(cells, pa.binary()), numbers=PLACES, faults=faults)
    values, wrong = stated(column, cells)
    assert [(fault.row, fault.rule) for fault in faults._found] == wrong
    converted.validate(full=True)
    assert converted.equals(pa.array(values, converted.type)), "null where one is at fault"


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), places=st.integers(0, 12), unit=st.integers(1, 99)
)
def test_decimals_come_back_as_the_counts_they_were(counts, places, unit):
    """For every step s and int64 n, reading the exact decimal text of n·s gives n."""
    step = Fraction(unit, 10**places)
    column, faults = Column("a", ColumnType.DECIMAL, step=step), Faults()
    text = pa.array([decimal_text(count * step) for count in counts])
    converted = Converter(column, cell_bytes=1000).convert(text, numbers=PLACES, faults=faults)
    assert not faults
    assert converted.to_pylist() == counts


@given(numerator=st.integers(-(10**30), 10**30), twos=st.integers(0, 20), fives=st.integers(0, 20))
def test_the_text_of_a_decimal_is_exact_and_shortest(numerator, twos, fives):
    """Reading the text of a decimal gives it back, and its last digit after a point is no zero."""
    value = Fraction(numerator, 2**twos * 5**fives)
    text = decimal_text(value)
    assert parse_decimal(text) == value
    assert "." not in text or not text.endswith("0")


@settings(max_examples=50, deadline=None)
@given(cells=st.lists(st.one_of(st.none(), st.binary(max_size=5)), min_size=3, max_size=12), data=st.data())
def test_a_slice_converts_as_a_copy_does(cells, data):
    """Where an array's window begins makes no difference."""
    start = data.draw(st.integers(0, len(cells)))
    window = pa.array(cells, pa.binary())[start:]
    for column in COLUMNS[:3]:
        one, other = Faults(), Faults()
        converter = Converter(column, cell_bytes=1000)
        left = converter.convert(window, numbers=PLACES, faults=one)
        right = converter.convert(pa.array(cells[start:], pa.binary()), numbers=PLACES, faults=other)
        assert one._found == other._found
        assert left.equals(right)
