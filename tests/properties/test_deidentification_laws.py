"""Laws of de-identification, each quoted where it is checked."""

import json
import unicodedata
from datetime import date
from fractions import Fraction

import phonenumbers
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.crypto import prf
from app.crypto.identifiers import normalize
from app.deidentification.encrypt import plaintexts
from app.deidentification.generalize import generalize
from app.deidentification.keyed_hash import column_hashes
from app.deidentification.mask import mask
from app.deidentification.normal_forms import normal_forms
from app.deidentification.phones import own_normal_form
from app.deidentification.policy import Policy
from app.deidentification.row_faults import RowFaults
from app.deidentification.techniques import GeneralizePeriod, GeneralizePrefix, GeneralizeWidth, Mask, Period
from app.table.arrow import pa
from app.table.cell import cell_reader
from app.table.schema import Column, ColumnType, Schema

settings.register_profile("deidentification", deadline=None, max_examples=120, database=None)
PLACES = pa.array(range(1, 101))
bounded = settings(settings.get_profile("deidentification"))

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
spaces = st.text("\t\n \u00a0\u2003\x1c", max_size=2)
local = st.text("abzABZ019.!#'+-_\u212aéß", min_size=1, max_size=70)
domain = st.text("abzABZ019.-éİ。", min_size=1, max_size=70)
emails = st.builds("{}{}@{}{}".format, spaces, local, domain, spaces)
codes = st.sampled_from(["1", "44", "49", "39", "52", "54", "55", "33", "91", "7", "800", "999", "0", "64"])
phones = st.one_of(
    st.builds("+{}{}".format, codes, st.text("0123456789", min_size=1, max_size=14)),
    st.text("+0123456789 ()-x.", max_size=20),
)
INT64 = st.integers(-(2**63), 2**63 - 1)


def column(kind: str, country: str | None = None) -> Column:
    return Column("c", ColumnType.TEXT, identifier=kind, country=country)


def agree(values: list[str | None], kind: str, country: str | None) -> None:
    forms = normal_forms(pa.array(values, pa.string()), kind=kind, country=country).to_pylist()
    assert forms == [None if value is None else normalize(kind, value, country=country) for value in values]


@bounded
@given(st.lists(st.none() | texts | st.builds("{}{}{}".format, spaces, texts, spaces), max_size=8))
@example([" a\u0301 ", "\u1e9b\u0323", "\x1cA\x1c", "", None])
def test_vector_normal_forms_of_opaque_ids_are_the_normalisers(values: list[str | None]) -> None:
    """The vector path returns, value for value, what `identifiers.normalize` returns (soundness R28)."""
    agree(values, "patient-id", None)


@bounded
@given(st.lists(st.none() | emails | texts, max_size=8))
@example(
    [
        "A@B.C",
        "a@b.-c",
        "a@-b",
        "a@b-",
        "a@b..c",
        "a@b.c.",
        "a" * 64 + "@b.c",
        "a" * 65 + "@b.c",
        "a\n@b.c",
        "a@b.c\n",
        "\u212a@b.c",
    ]
)
def test_vector_normal_forms_of_addresses_are_the_normalisers(values: list[str | None]) -> None:
    """The vector path returns, value for value, what `identifiers.normalize` returns (soundness R28)."""
    agree(values, "email", None)


@bounded
@given(st.lists(st.none() | phones, max_size=8), st.sampled_from(["US", "GB", "DE", "IT", "BS", "AR", "BR"]))
def test_vector_normal_forms_of_phones_are_the_normalisers(values: list[str | None], country: str) -> None:
    """The vector path returns, value for value, what `identifiers.normalize` returns (soundness R28)."""
    agree(values, "phone", country)


@pytest.mark.parametrize("country", ["US", "GB"])
def test_every_calling_code_s_fast_path_is_the_normaliser_s(country: str) -> None:
    """A text that the phone theorem calls its own normal form is: for every calling code, length and leading digits."""
    tails = (
        "2015550123456789",
        "0201555012345678",
        "1201555012345678",
        "9115550123456789",
        "8005550123456789",
        "5415550123456789",
    )
    proven = 0
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        values = [f"+{code}{tail[:length]}" for tail in tails for length in range(3, 16)]
        flags = own_normal_form(pa.array(values)).to_pylist()
        fast = [value for value, flag in zip(values, flags, strict=True) if flag]
        assert [normalize("phone", value, country=country) for value in fast] == fast
        proven += len(fast)
    assert proven > 2_000


@bounded
@given(
    st.lists(st.none() | texts | st.sampled_from(["a", "b"]), max_size=12),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 12),
)
@example(["a"] * 12, b"k" * 32, 3)
def test_vector_pseudonyms_are_the_pseudonyms_whatever_the_batch(values: list[str | None], key: bytes, cut: int) -> None:
    """Each cell is `prf.pseudonym_under` of its value, in any batch, slice and repetition (soundness R28)."""
    hash_key = prf.pseudonym_key(key, population="p", kind="patient-id")
    expected = [None if value is None else prf.pseudonym_under(hash_key, value) for value in values]
    whole = pa.array(values, pa.string())
    assert column_hashes(whole, hash_key).to_pylist() == expected
    assert column_hashes(whole.slice(cut), hash_key).to_pylist() == expected[cut:]


@bounded
@given(texts.filter(bool), st.integers(0, 5), st.integers(0, 5))
def test_a_mask_never_shows_more_than_allowed(value: str, first: int, last: int) -> None:
    """At most keep_first + keep_last characters are shown; a value no longer than that is hidden whole, and no length shows."""
    shown = mask(pa.array([value]), Mask(keep_first=first, keep_last=last, character="▒"))[0].as_py()
    assume("▒" not in value)
    if len(value) <= first + last:
        assert shown == "▒▒▒▒"
    else:
        assert shown == value[:first] + "▒▒▒▒" + value[len(value) - last :]


@bounded
@given(
    st.lists(st.none() | INT64, min_size=1, max_size=6),
    st.integers(1, 10**6),
    st.integers(-(10**9), 10**9),
    st.integers(0, 10**9),
)
def test_a_bin_holds_its_values_and_generalising_twice_changes_nothing(values, width: int, lower: int, spread: int) -> None:
    """Bin ≤ value < bin + width within the declared bounds, the nearest declared bin beyond them, and g(g(x)) = g(x)."""
    declared = Column("c", ColumnType.INTEGER, lower=Fraction(lower), upper=Fraction(lower + width + spread))
    technique = GeneralizeWidth(width=Fraction(width))
    faults = RowFaults(PLACES)
    once = generalize(pa.array(values, pa.int64()), declared, technique, faults=faults)
    faults.raise_if_any()
    first, last = lower // width * width, (lower + width + spread) // width * width
    for value, kept in zip(values, once.to_pylist(), strict=True):
        assert kept == (None if value is None else min(max(value // width * width, first), last))
    assert generalize(once, declared, technique, faults=faults) == once


@bounded
@given(st.lists(st.none() | st.dates(), min_size=1, max_size=6), st.sampled_from(Period))
def test_periods_are_the_calendar_s(days: list[date | None], to: Period) -> None:
    """A day is kept as its own year, or as the first of its own quarter or month."""
    kept = generalize(
        pa.array(days, pa.date32()), Column("c", ColumnType.DATE), GeneralizePeriod(to=to), faults=RowFaults(PLACES)
    )
    first = {Period.YEAR: lambda day: day.year, Period.MONTH: lambda day: day.replace(day=1)}
    first[Period.QUARTER] = lambda day: date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    expected = [None if day is None else first[to](day) for day in days]
    assert kept.to_pylist() == expected


@bounded
@given(st.lists(st.none() | texts, min_size=1, max_size=6), st.integers(1, 8))
def test_prefixes_are_prefixes_and_prefixing_twice_changes_nothing(values: list[str | None], length: int) -> None:
    """A prefix is the first code points of its value, and g(g(x)) = g(x)."""
    technique = GeneralizePrefix(prefix=length)
    once = generalize(pa.array(values, pa.string()), Column("c", ColumnType.TEXT), technique, faults=RowFaults(PLACES))
    assert once.to_pylist() == [None if value is None else value[:length] for value in values]
    assert generalize(once, Column("c", ColumnType.TEXT), technique, faults=RowFaults(PLACES)) == once


names = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
years = st.integers(1, 9998).flatmap(lambda low: st.tuples(st.just(low), st.integers(low + 1, 9999)))
TECHNIQUES = {
    "text": st.one_of(
        st.just({"technique": "pseudonymize"}),
        st.fixed_dictionaries(
            {"technique": st.just("mask")}, optional={"keep_first": st.integers(0, 64), "character": st.just("#")}
        ),
        st.builds(lambda n: {"technique": "generalize", "prefix": n}, st.integers(1, 64)),
        st.builds(lambda key: {"technique": "encrypt", "key": key}, names),
        st.builds(lambda name: {"technique": "seal", "recipient": name}, names),
    ),
    "date": st.one_of(
        st.builds(lambda two: {"technique": "generalize", "to": "year", "lower": f"{two[0]:04}", "upper": two[1]}, years),
        st.builds(
            lambda two: {"technique": "generalize", "to": "month", "lower": f"{two[0]:04}-07", "upper": f"{two[1]:04}-02"}, years
        ),
    ),
    "decimal": st.builds(lambda n: {"technique": "generalize", "width": f"{n}.25"}, st.integers(1, 10**6)),
}


@bounded
@given(st.fixed_dictionaries(TECHNIQUES))
def test_policies_read_back_as_they_were_written(body: dict[str, dict[str, object]]) -> None:
    """`Policy.from_json(policy.as_json())` is the policy, through JSON text."""
    schema = Schema.from_json(
        [
            {"name": "text", "type": "text", "identifier": "id"},
            {"name": "date", "type": "date"},
            {"name": "decimal", "type": "decimal", "step": "0.25"},
        ]
    )
    policy = Policy.from_json(body, schema)
    again = Policy.from_json(json.loads(json.dumps(policy.as_json())), schema)
    assert again == policy
    assert again.stored(schema) == policy.stored(schema)


TYPED = {
    ColumnType.INTEGER: (pa.int64(), INT64),
    ColumnType.DECIMAL: (pa.int64(), INT64),
    ColumnType.BOOLEAN: (pa.bool_(), st.booleans()),
    ColumnType.DATE: (pa.date32(), st.dates()),
    ColumnType.DATETIME: (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.timezones())),
    ColumnType.CATEGORY: (pa.int16(), st.integers(0, 1)),
    ColumnType.TEXT: (pa.string(), texts),
}


@bounded
@given(st.sampled_from(sorted(TYPED)), st.data(), st.sampled_from(["0.01", "0.000001", "0.0000000001", "25", "0.5"]))
def test_what_is_encrypted_is_read_back_as_the_same_value(kind: ColumnType, data: st.DataObject, step: str) -> None:
    """The text in a cell, read again under the column's declaration, is the value that was encrypted."""
    arrow, values = TYPED[kind]
    declared = Column(
        "c",
        kind,
        step=Fraction(step) if kind is ColumnType.DECIMAL else None,
        categories=("F", "né") if kind is ColumnType.CATEGORY else None,
    )
    drawn = data.draw(values)
    if kind is ColumnType.DATETIME:
        assume(2 < drawn.year < 9999)
    array = pa.array([drawn, None], arrow)
    (plain, nothing) = plaintexts(array, declared)
    assert nothing is None
    assert cell_reader(declared)(plain) == drawn


@bounded
@given(st.text(st.sampled_from("aZ\ufb01\u00c5\uff11"), min_size=1, max_size=8))
def test_case_and_compatibility_are_kept_for_opaque_ids(value: str) -> None:
    """Opaque ids: NFC and trim only; what differs in case or by NFKC alone stays two people (soundness R28)."""
    writings = {value, value.swapcase(), unicodedata.normalize("NFKC", value)}
    forms = normal_forms(pa.array(sorted(writings)), kind="patient-id", country=None).to_pylist()
    assert len(set(forms)) == len({unicodedata.normalize("NFC", writing) for writing in writings})
