"""Laws of de-identification, each quoted where it is checked."""

import json
import unicodedata
from datetime import UTC, date
from fractions import Fraction

import phonenumbers
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.crypto import prf, siv
from app.crypto.identifiers import normalize
from app.deidentification.encrypt import plaintexts
from app.deidentification.generalize import generalize
from app.deidentification.keyed_hash import column_hashes
from app.deidentification.mask import mask
from app.deidentification.normal_forms import normal_forms
from app.deidentification.phones import own_normal_form
from app.deidentification.policy import Policy
from app.deidentification.row_faults import RowFaults
from app.deidentification.shift_dates import shift_dates
from app.deidentification.suppress import suppress_cells
from app.deidentification.techniques import (
    GeneralizeEdges,
    GeneralizeEnds,
    GeneralizeHierarchy,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeRound,
    GeneralizeWidth,
    Mask,
    Period,
    ShiftDates,
    SuppressCells,
)
from app.deidentification.tokenize import tokenize
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


ids = st.sampled_from(["p1", " p1", "P1", "é", "e\u0301", "p2"])
SHIFT = prf.shift_key(b"k" * 32, population="p", kind="patient-id", max_days=40)


@bounded
@given(st.lists(st.none() | INT64, min_size=1, max_size=6), st.sets(INT64, min_size=1, max_size=5))
@example([0, 5, 9], {5, 9})
def test_a_value_lies_in_the_interval_that_is_stored(values: list[int | None], cuts: set[int]) -> None:
    """Interval i holds v exactly where edge i ≤ v < edge i + 1, the outermost two being open; null stays null."""
    edges = tuple(Fraction(cut) for cut in sorted(cuts))
    plain = Column("c", ColumnType.INTEGER)
    kept = generalize(pa.array(values, pa.int64()), plain, GeneralizeEdges(edges=edges), faults=RowFaults(PLACES))
    for value, place in zip(values, kept.to_pylist(), strict=True):
        assert place == (None if value is None else sum(edge <= value for edge in edges))


@bounded
@given(st.lists(st.none() | INT64, min_size=1, max_size=6), st.integers(1, 10**6), st.integers(-(10**9), 10**9))
def test_rounding_is_python_s_and_rounding_twice_changes_nothing(values: list[int | None], step: int, lower: int) -> None:
    """r(v) = round(v / step) · step, ties to the even multiple, within the rounded bounds; r(r(v)) = r(v)."""
    declared = Column("c", ColumnType.INTEGER, lower=Fraction(lower), upper=Fraction(lower + 10 * step))
    technique, faults = GeneralizeRound(round_to=Fraction(step)), RowFaults(PLACES)
    once = generalize(pa.array(values, pa.int64()), declared, technique, faults=faults)
    faults.raise_if_any()
    first, last = (round(Fraction(bound, step)) * step for bound in (lower, lower + 10 * step))
    for value, kept in zip(values, once.to_pylist(), strict=True):
        assert kept == (None if value is None else min(max(round(Fraction(value, step)) * step, first), last))
    assert generalize(once, declared, technique, faults=faults) == once


@bounded
@given(st.lists(st.none() | INT64, min_size=1, max_size=6), INT64, st.integers(1, 10**6), st.sets(INT64, max_size=3))
def test_ends_and_cells_are_what_they_say(values: list[int | None], low: int, spread: int, named: set[int]) -> None:
    """Coded: min(max(v, bottom), top). Suppressed: null exactly where v < below, v > above or v is named."""
    plain, high = Column("c", ColumnType.INTEGER), min(low + spread, 2**63 - 1)
    assume(low < high)
    array, ends = pa.array(values, pa.int64()), GeneralizeEnds(bottom=Fraction(low), top=Fraction(high))
    coded = generalize(array, plain, ends, faults=RowFaults(PLACES)).to_pylist()
    assert coded == [None if value is None else min(max(value, low), high) for value in values]
    stated = tuple(Fraction(value) for value in sorted(named | {value for value in values[:1] if value is not None}))
    left = suppress_cells(array, plain, SuppressCells(below=Fraction(low), above=Fraction(high), values=stated)).to_pylist()
    assert left == [value if value is not None and low <= value <= high and value not in stated else None for value in values]


@bounded
@given(st.lists(st.tuples(ids, st.none() | st.dates(date(2, 1, 1), date(9998, 1, 1))), min_size=1, max_size=8))
def test_dates_of_a_person_move_by_one_number_of_days(rows: list[tuple[str, date | None]]) -> None:
    """shifted(d) − d is one number of days for all rows of a normal form, at least 1 and at most max_days either way."""
    people = normal_forms(pa.array([who for who, _ in rows]), kind="patient-id", country=None)
    faults = RowFaults(PLACES)
    days, technique = pa.array([day for _, day in rows], pa.date32()), ShiftDates(max_days=40)
    moved = shift_dates(days, Column("c", ColumnType.DATE), technique, people=people, key=SHIFT, faults=faults).to_pylist()
    faults.raise_if_any()
    known: dict[str | None, int] = {}
    for (who, day), new in zip(rows, moved, strict=True):
        assert (new is None) == (day is None)
        if day is not None:
            shift = (new - day).days
            assert 1 <= abs(shift) <= 40
            assert known.setdefault(normalize("patient-id", who), shift) == shift


@bounded
@given(st.lists(st.none() | texts, min_size=1, max_size=8), st.binary(min_size=32, max_size=32))
def test_tokens_are_equal_exactly_where_texts_are_and_come_back(values: list[str | None], key: bytes) -> None:
    """token(a) = token(b) exactly where a = b, and opening a token gives its text; null stays null."""
    place = {"organisation": "o", "name": "n"}
    tokenizer = siv.Tokenizer(key, **place, version=1)
    tokens = tokenize(pa.array(values, pa.string()), Column("c", ColumnType.TEXT), tokenizer=tokenizer, faults=RowFaults(PLACES))
    opener = siv.Detokenizer({1: key}.get, **place)
    assert [None if token is None else opener.open(token) for token in tokens.to_pylist()] == values
    assert len(set(tokens.to_pylist())) == len(set(values))


@bounded
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([["x", "p"], ["y", "p"], ["z", "q"]]), min_size=1),
    st.lists(st.none() | st.sampled_from("abcdefg"), min_size=1, max_size=8),
    st.integers(1, 2),
)
def test_a_value_is_stored_as_its_ancestor(tree: dict[str, list[str]], values: list[str | None], level: int) -> None:
    """The label stored for v is its ancestor at the level, `unknown` where v is not in the tree; null stays null."""
    pairs = tuple(sorted((value, tuple(above)) for value, above in tree.items()))
    technique = GeneralizeHierarchy(hierarchy=pairs, level=level, unknown="?")
    kept = generalize(pa.array(values, pa.string()), Column("c", ColumnType.TEXT), technique, faults=RowFaults(PLACES))
    labels = technique.labels()
    expected = [None if value is None else tree[value][level - 1] if value in tree else "?" for value in values]
    assert [None if place is None else labels[place] for place in kept.to_pylist()] == expected


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
        st.builds(lambda key, version: {"technique": "tokenize", "key": key, "version": version}, names, st.integers(1, 9)),
        st.builds(lambda known: {"technique": "suppress", "cells": {"values": [*known]}}, st.sets(texts, min_size=1, max_size=3)),
        st.builds(lambda n: {"technique": "generalize", "hierarchy": {"a": ["b"] * n}, "level": n}, st.integers(1, 3)),
    ),
    "date": st.one_of(
        st.builds(lambda two: {"technique": "generalize", "to": "year", "lower": f"{two[0]:04}", "upper": two[1]}, years),
        st.builds(
            lambda two: {"technique": "generalize", "to": "month", "lower": f"{two[0]:04}-07", "upper": f"{two[1]:04}-02"}, years
        ),
        st.builds(
            lambda two: {"technique": "generalize", "to": "quarter", "lower": f"{two[0]:04}-Q4", "upper": f"{two[1]:04}-Q1"},
            years,
        ),
        st.builds(
            lambda days, first: {
                "technique": "shift_dates",
                "max_days": days,
                "lower": first.isoformat(),
                "outside": "refuse",
            },
            st.integers(1, 300),
            st.dates(date(2, 1, 1)),
        ),
        st.builds(lambda day: {"technique": "suppress", "cells": {"above": day.isoformat()}}, st.dates()),
        st.builds(lambda day: {"technique": "generalize", "edges": [day.isoformat()]}, st.dates()),
    ),
    "decimal": st.one_of(
        st.builds(lambda n: {"technique": "generalize", "width": f"{n}.25"}, st.integers(1, 10**6)),
        st.builds(lambda n: {"technique": "generalize", "round_to": f"{n}.5"}, st.integers(1, 10**6)),
        st.builds(lambda n: {"technique": "generalize", "edges": [f"-{n}.75", "0", f"{n}.25"]}, st.integers(1, 10**6)),
        st.builds(lambda n: {"technique": "generalize", "bottom": f"-{n}.25", "top": n}, st.integers(1, 10**6)),
        st.builds(lambda n: {"technique": "suppress", "cells": {"below": "0.25", "values": [n]}}, st.integers(1, 10**6)),
    ),
    "category": st.builds(lambda n: {"technique": "randomize", "epsilon": f"{n}.125"}, st.integers(0, 19)),
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
            {"name": "category", "type": "category", "categories": ["a", "b"]},
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
    if kind is ColumnType.DATETIME:
        drawn = drawn.astimezone(UTC)  # Python never calls times of two zones equal where a clock is put forward or back
    assert cell_reader(declared)(plain) == drawn


@bounded
@given(st.text(st.sampled_from("aZ\ufb01\u00c5\uff11"), min_size=1, max_size=8))
def test_case_and_compatibility_are_kept_for_opaque_ids(value: str) -> None:
    """Opaque ids: NFC and trim only; what differs in case or by NFKC alone stays two people (soundness R28)."""
    writings = {value, value.swapcase(), unicodedata.normalize("NFKC", value)}
    forms = normal_forms(pa.array(sorted(writings)), kind="patient-id", country=None).to_pylist()
    assert len(set(forms)) == len({unicodedata.normalize("NFC", writing) for writing in writings})
