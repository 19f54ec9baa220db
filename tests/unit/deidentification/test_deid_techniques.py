"""What each technique leaves, value by value."""

from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from app.crypto.named import BatchSealer
from app.deidentification import encrypt
from app.deidentification.generalize import generalize
from app.deidentification.mask import mask
from app.deidentification.pseudonymize import pseudonymize
from app.deidentification.row_faults import RowFaults
from app.deidentification.seal import seal, texts
from app.deidentification.techniques import GeneralizePeriod, GeneralizePrefix, GeneralizeWidth, Mask, Period
from app.errors import BadCiphertext, Integrity, RowsRefused
from app.table.arrow import pa
from app.table.schema import Column, ColumnType
from tacit.sealing import ColumnSealer, Kem, NotOpened, Opener, Place, generate

KEY = b"k" * 32
PLACES = pa.array(range(1, 101))
TEXT = Column("c", ColumnType.TEXT)
PLACE = Place("org", "ds", "c")


def sealer() -> BatchSealer:
    return BatchSealer(KEY, organisation="org", name="notes", version=1)


def opened(column: pa.Array, *, dataset: str = "ds", name: str = "c", key_name: str = "notes", key: bytes | None = KEY):
    return encrypt.open_column(column, key_of=lambda _: key, organisation="org", key_name=key_name, dataset=dataset, name=name)


@pytest.mark.parametrize(
    ("value", "technique", "shown"),
    [
        ("+441632960983", Mask(keep_last=2), "****83"),
        ("Bea", Mask(keep_first=1, keep_last=1), "B****a"),
        ("Al", Mask(keep_first=1, keep_last=1), "****"),
        ("", Mask(keep_last=2), "****"),
        ("x" * 1000, Mask(), "****"),
        ("Zoë Ångström", Mask(keep_first=3, character="•"), "Zoë••••"),
        ("🧑‍🔬🧪", Mask(keep_last=1), "****🧪"),
        (None, Mask(keep_last=2), None),
    ],
)
def test_masks(value: str | None, technique: Mask, shown: str | None):
    assert mask(pa.array([value], pa.string()), technique).to_pylist() == [shown]


def bins(values: list[int | None], column: Column, width: Fraction | int) -> list[int | None]:
    faults = RowFaults(PLACES)
    kept = generalize(pa.array(values, pa.int64()), column, GeneralizeWidth(width=Fraction(width)), faults=faults)
    faults.raise_if_any()
    return kept.to_pylist()


def test_integers_keep_the_lower_edge_and_close_at_declared_bounds():
    age = Column("age", ColumnType.INTEGER, lower=Fraction(18), upper=Fraction(99))
    assert bins([18, 19, 20, 99, 5, -7, 2**62, None], age, 10) == [10, 10, 20, 90, 10, 10, 90, None]


def test_integers_without_bounds_round_down():
    plain = Column("n", ColumnType.INTEGER)
    assert bins([-1, 0, 9, 10, -(2**63) + 9], plain, 10) == [-10, 0, 0, 10, -(2**63) + 8]


def test_a_bin_below_int64_is_a_row_fault():
    with pytest.raises(RowsRefused) as refused:
        bins([0, -(2**63)], Column("n", ColumnType.INTEGER), 10)
    assert [(fault.row, fault.rule) for fault in refused.value.faults] == [(2, "out-of-range")]


def test_decimals_keep_counts_of_the_width():
    income = Column("i", ColumnType.DECIMAL, step=Fraction(1, 100), lower=Fraction(0), upper=Fraction(5000))
    assert bins([0, 99_999, 100_000, -1, 10**12, None], income, 1000) == [0, 0, 1, 0, 5, None]


def test_years_and_months_are_of_the_utc_calendar_and_close_at_their_bounds():
    born = Column("born", ColumnType.DATE)
    days = pa.array(
        [date(1899, 12, 31), date(1970, 1, 1), date(2000, 2, 29), date(1, 1, 1), date(9999, 12, 31), None], pa.date32()
    )
    year = GeneralizePeriod(to=Period.YEAR, lower=1900, upper=2030)
    assert generalize(days, born, year, faults=RowFaults(PLACES)).to_pylist() == [1900, 1970, 2000, 1900, 2030, None]
    month = generalize(days, born, GeneralizePeriod(to=Period.MONTH), faults=RowFaults(PLACES))
    firsts = [date(1899, 12, 1), date(1970, 1, 1), date(2000, 2, 1), date(1, 1, 1), date(9999, 12, 1), None]
    assert (month.type, month.to_pylist()) == (pa.date32(), firsts)
    moments = pa.array(
        [datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2020, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")
    )
    seen = Column("seen", ColumnType.DATETIME)
    years = generalize(moments, seen, GeneralizePeriod(to=Period.YEAR), faults=RowFaults(PLACES))
    assert (years.type, years.to_pylist()) == (pa.int64(), [1969, 2020])


def test_prefixes_count_characters():
    kept = generalize(pa.array(["94110", "Łódź", "7", None]), TEXT, GeneralizePrefix(prefix=3), faults=RowFaults(PLACES))
    assert kept.to_pylist() == ["941", "Łód", "7", None]


def test_r3_a_missing_identifier_is_a_fault_where_it_is_required_and_null_elsewhere():
    values = pa.array(["a", None, "", " \u00a0\t"])
    required = Column("id", ColumnType.TEXT, nullable=False, identifier="patient-id")
    faults = RowFaults(pa.array(range(101, 201)))
    pseudonymize(values, required, key=b"0" * 64, faults=faults)
    with pytest.raises(RowsRefused) as refused:
        faults.raise_if_any()
    assert [(one.row, one.column, one.rule) for one in refused.value.faults] == [
        (row, "id", "identifier-missing") for row in (102, 103, 104)
    ]
    optional = Column("id", ColumnType.TEXT, identifier="patient-id")
    faults = RowFaults(PLACES)
    kept = pseudonymize(values, optional, key=b"0" * 64, faults=faults)
    faults.raise_if_any()
    assert kept.is_valid().to_pylist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("kind", "country", "bad", "rule"),
    [
        ("phone", "GB", "call me", "not-a-phone-number"),
        ("phone", "GB", "+1201", "not-a-phone-number"),
        ("email", None, "not an address", "not-an-email-address"),
        ("email", None, "a@b@c", "not-an-email-address"),
        ("patient-id", None, "\U000e1000", "no-normal-form"),
    ],
)
def test_what_is_no_identifier_is_a_fault_and_its_value_is_not_told(kind: str, country: str | None, bad: str, rule: str):
    column = Column("who", ColumnType.TEXT, identifier=kind, country=country)
    faults = RowFaults(PLACES)
    pseudonymize(pa.array([None, bad]), column, key=b"0" * 64, faults=faults)
    with pytest.raises(RowsRefused) as refused:
        faults.raise_if_any()
    assert [(one.row, one.rule) for one in refused.value.faults] == [(2, rule)]
    assert bad not in repr(refused.value.faults) + str(refused.value)


def test_encrypted_cells_open_in_their_own_place_only():
    column = encrypt.encrypt(pa.array([None, "nötes", "", "x"]), TEXT, sealer=sealer(), dataset="ds")
    assert column.type == pa.binary()
    assert opened(column) == [None, "nötes".encode(), b"", b"x"]
    for change in ({"dataset": "other"}, {"name": "d"}, {"key_name": "other"}, {"key": b"x" * 32}, {"key": None}):
        with pytest.raises(Integrity):
            opened(column, **change)


def test_an_exported_cell_stands_alone_and_carries_the_letter_of_the_keys_api():
    from app.crypto.named import open_text

    for column, value, plain in ((TEXT, "note", b"tnote"), (Column("c", ColumnType.BINARY), b"\0\xff", b"b\0\xff")):
        cells_of = encrypt.encrypt(pa.array([None, value, value]), column, sealer=sealer(), dataset="ds")
        nothing, one, two = encrypt.texts(cells_of)
        assert nothing is None
        assert one != two
        assert open_text(lambda _: KEY, two, b"ds/c", organisation="org", name="notes") == plain
        with pytest.raises(BadCiphertext):
            open_text(lambda _: KEY, two, b"ds/d", organisation="org", name="notes")


def test_c2_every_changed_byte_of_an_encrypted_column_is_noticed():
    column = encrypt.encrypt(pa.array(["ab", "cd"]), TEXT, sealer=sealer(), dataset="ds")
    for row, value in enumerate(column.to_pylist()):
        for place in range(len(value)):
            changed = bytes(byte ^ (index == place) for index, byte in enumerate(value))
            rows = [changed if index == row else other for index, other in enumerate(column.to_pylist())]
            try:
                assert opened(pa.array(rows, pa.binary())) != [b"ab", b"cd"]
                raise AssertionError("a changed byte was not noticed")
            except Integrity:
                pass


def test_columns_laid_end_to_end_stay_readable():
    one, two = (encrypt.encrypt(pa.array(values), TEXT, sealer=sealer(), dataset="ds") for values in (["a", None], [None, "b"]))
    assert opened(pa.concat_arrays([one, two])) == [b"a", None, None, b"b"]
    for broken in (b"", b"\0" + b"x" * 40, b"\x02" + b"x" * 40):  # nothing, no header before it, no such form
        with pytest.raises(Integrity):
            opened(pa.array([broken], pa.binary()))


@pytest.mark.parametrize("kem", list(Kem))
def test_sealed_cells_open_for_the_recipient_alone(kem: Kem):
    private = generate(kem)
    column = seal(pa.array(["123-45-6789", None, "x"]), TEXT, sealer=ColumnSealer(private.public_key, PLACE))
    shown = list(texts(column))
    assert shown[1] is None
    opener = Opener(private)
    assert [opener.open_text(text, PLACE) for text in shown if text] == [b"123-45-6789", b"x"]
    with pytest.raises(NotOpened):
        Opener(generate(kem)).open_text(shown[0], PLACE)
    with pytest.raises(NotOpened):
        opener.open_text(shown[0], Place("org", "ds", "other"))


@pytest.mark.parametrize(
    ("column", "values", "plain"),
    [
        (Column("c", ColumnType.INTEGER), pa.array([-5, None], pa.int64()), [b"-5", None]),
        (Column("c", ColumnType.DECIMAL, step=Fraction(1, 100)), pa.array([-5, 1250], pa.int64()), [b"-0.05", b"12.50"]),
        (
            Column("c", ColumnType.DECIMAL, step=Fraction(1, 10**9)),
            pa.array([0, -1], pa.int64()),
            [b"0.000000000", b"-0.000000001"],
        ),
        (Column("c", ColumnType.BOOLEAN), pa.array([True, False, None]), [b"1", b"0", None]),
        (Column("c", ColumnType.DATE), pa.array([date(2020, 2, 29)], pa.date32()), [b"2020-02-29"]),
        (Column("c", ColumnType.CATEGORY, categories=("F", "é")), pa.array([1, None, 0], pa.int16()), ["é".encode(), None, b"F"]),
        (
            Column("c", ColumnType.DATETIME),
            pa.array([datetime(2020, 1, 2, 3, 4, 5, 6, UTC)], pa.timestamp("us", "UTC")),
            [b"2020-01-02T03:04:05.000006Z"],
        ),
    ],
)
def test_typed_values_are_encrypted_as_exact_text(column: Column, values: pa.Array, plain: list[bytes | None]):
    assert opened(encrypt.encrypt(values, column, sealer=sealer(), dataset="ds")) == plain
