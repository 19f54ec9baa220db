"""Laws of redaction, each quoted where it is checked. Whoever the entities seem to be of, nobody is: all are made up."""

import itertools
import re
import string
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.deidentification.redaction.find import find
from app.deidentification.redaction.kinds import Kind
from app.deidentification.redaction.national_ids import is_dni, is_nir, is_tax_id
from app.deidentification.redaction.payments import luhn, mod_97
from app.deidentification.redaction.redact import Redactor, redact
from app.deidentification.redaction.technique import RedactText, Replacement
from app.table.arrow import pa

bounded = settings(deadline=None, max_examples=150, database=None)
KEYS = {kind.domain: f"{kind:x<64}".encode() for kind in Kind}
COUNTRIES = st.sampled_from([None, "US", "GB", "DE", "FR", "ES"])

digits = st.text(string.digits, min_size=4, max_size=14)
words = st.text(string.ascii_lowercase, min_size=1, max_size=8)
marks = ["+", "(0)", ".", ",", "-", "/", " ", "  ", ":", "::", "\u00a0", "\u2011", "\n", "'"]
shreds = ["1", "11", "12", "3", "2024", "+49", "00", "may", "of", "é", "x", "AB", "DE89", "www.", "http://x", "[email]", "a@b.co"]
bits = st.sampled_from([*marks, *shreds, "4111 1111 1111 1111", "020 7946 0018", "10.0.0.1"])
scraps = st.lists(st.one_of(bits, words, digits), max_size=12).map("".join)
texts = st.one_of(scraps, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))


def _checked(number: str, holds, *, last: str = string.digits) -> str:
    """Return a number with the last character that makes it hold."""
    return next((number + one for one in last if holds(number + one)), "")


def _iban(country: str, bban: str) -> str:
    return next(iban for check in range(2, 99) if mod_97(iban := f"{country}{check:02}{bban}"))


def _nir(number: str) -> str:
    return next((number + f"{key:02}" for key in range(1, 98) if is_nir(number + f"{key:02}")), "")


def _spaced(number: str, *groups: int) -> str:
    parts, at = [], 0
    for group in groups:
        parts.append(number[at : at + group])
        at += group
    return " ".join(parts)


fixed = lambda length: st.text(string.digits, min_size=length, max_size=length)  # noqa: E731  a strategy by length
planted = {
    Kind.EMAIL: st.builds("{}.{}@{}.example.com".format, words, words, words),
    Kind.URL: st.builds("https://{}.example.org/{}?{}=1".format, words, words, words),
    Kind.IBAN: st.one_of(
        fixed(18).map(lambda bban: _iban("DE", bban)),
        fixed(14).map(lambda rest: _spaced(_iban("GB", "NWBK" + rest), 4, 4, 4, 4, 4, 2)),
    ),
    Kind.CARD: fixed(14)
    .map(lambda rest: _checked("4" + rest, luhn))
    .flatmap(lambda card: st.sampled_from([card, _spaced(card, 4, 4, 4, 4), _spaced(card, 4, 4, 4, 4).replace(" ", "-")])),
    Kind.NATIONAL_ID: st.one_of(
        st.builds("{}-{:02}-{:04}".format, st.integers(700, 899), st.integers(1, 99), st.integers(1, 9999)),
        st.builds("AB {:02} {:02} {:02} C".format, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
        fixed(8).map(lambda number: _checked(number, is_dni, last=string.ascii_uppercase)),
        st.permutations("123456789").map(lambda p: _checked("".join(p) + p[0], is_tax_id)).filter(bool),
        st.builds("1{:02}0575{:03}{:03}".format, st.integers(0, 99), st.integers(1, 300), st.integers(1, 999)).map(_nir),
    ),
    Kind.IP: st.one_of(st.ip_addresses(v=4, network="203.0.113.0/24"), st.ip_addresses(v=6, network="2001:db8::/32")).map(str),
    Kind.DATE: st.one_of(
        st.dates()
        .filter(lambda day: 1900 < day.year < 2100)
        .flatmap(
            lambda day: st.sampled_from([day.isoformat(), f"{day:%d.%m.%Y}", f"{day:%m/%d/%Y}", f"{day.day} {day:%B} {day.year}"])
        )
    ),
    Kind.PHONE: st.builds(
        lambda form, number: form.format(number),
        st.sampled_from(
            ["+44 7700 900{:03}", "+1 201 555 0{:03}", "+1-201-555-0{:03}", "+49 30 23125 {:03}", "+33 1 99 00 1{:03}"]
        ),
        st.integers(100, 999),
    ),
}
entities = st.sampled_from(sorted(planted)).flatmap(lambda kind: st.tuples(st.just(kind), planted[kind]))


@bounded
@given(st.lists(st.none() | texts, max_size=6), COUNTRIES, st.sampled_from(Replacement))
@example(["3 March 2024", None, "", "a 1", "no digit at all", "AB 12 34 56 C"], "GB", Replacement.TYPE)
def test_a_column_is_redacted_as_each_of_its_texts(values, country, replace) -> None:
    """The vector path returns, value for value, what the plain one returns for the whole text; null stays null."""
    technique = RedactText(country=country, replace=replace)
    one = Redactor(technique, KEYS)
    expected = [None if value is None else one.text(value) for value in values]
    assert redact(pa.array(values, pa.string()), technique, keys=KEYS).to_pylist() == expected
    assert redact(pa.array([*values, "x"], pa.string()).slice(1), technique, keys=KEYS).to_pylist() == [*expected, "x"][1:]


@bounded
@given(texts, COUNTRIES)
@example("1.2.3.4.5.6.2024", None)  # what a date takes frees the address before it
def test_redacting_twice_changes_nothing(value, country) -> None:
    """r(r(x)) = r(x) for replacement by type."""
    one = Redactor(RedactText(country=country), KEYS)
    once = one.text(value)
    assert one.text(once) == once


@bounded
@given(texts, COUNTRIES, st.sets(st.sampled_from(Kind), min_size=1))
def test_nothing_but_what_was_found_changes(value, country, kinds) -> None:
    """Outside the spans that were found, every character stands as it stood; spans are in order, apart, and of asked kinds."""
    asked = tuple(kind for kind in Kind if kind in kinds)
    spans = find(value, asked, country)
    assert all(one.kind in kinds and one.start < one.end for one in spans)
    assert all(left.end <= right.start for left, right in itertools.pairwise(spans))
    kept, at = [], 0
    for one in spans:
        kept.append(value[at : one.start])
        at = one.end
    pattern = re.compile(r"\[(?:" + "|".join(re.escape(kind) for kind in kinds) + r")\]")
    shown = Redactor(RedactText(find=asked, country=country), KEYS).text(value)
    assert len(shown) == sum(map(len, kept)) + len(value) - at + sum(len(one.kind) + 2 for one in spans)
    for part in [*kept, value[at:]]:
        assert shown.startswith(part)
        shown = pattern.sub("", shown[len(part) :], count=1) if shown[len(part) :].startswith("[") else shown[len(part) :]
    assert shown == ""


@bounded
@given(
    scraps,
    st.sampled_from(["", " ", "(", ": ", "\n", "\u00a0", "»"]),
    entities,
    st.sampled_from(["", " ", ")", ", ", ".\n"]),
    scraps,
    COUNTRIES,
)
def test_no_planted_entity_survives(before, opening, entity, closing, after, country) -> None:
    """Whatever stands before and behind, an entity set off by a space or a mark is not in the output."""
    _, value = entity
    text = f"{before} {opening}{value}{closing} {after}"
    shown = redact(pa.array([text]), RedactText(country=country), keys=KEYS)[0].as_py()
    rest = text.replace(value, "", 1)
    assert value not in shown or value in rest


@bounded
@given(entities, COUNTRIES)
def test_an_entity_by_itself_is_of_its_kind(entity, country) -> None:
    """An entity in a sentence of its own is replaced by its kind, whole."""
    kind, value = entity
    assert Redactor(RedactText(country=country), KEYS).text(f"it is {value}, they say.") == f"it is [{kind}], they say."


@bounded
@given(entities, words, COUNTRIES)
def test_equal_entities_have_equal_pseudonyms_and_keys_decide(entity, word, country) -> None:
    """Equal for equal normal forms in any text of the population; unrelated under another key."""
    kind, value = entity
    technique = RedactText(replace=Replacement.PSEUDONYM, country=country)
    pattern = re.compile(rf"\[{kind}:[0-9a-f]{{32}}\]")
    (first,) = pattern.findall(Redactor(technique, KEYS).text(f"{word} {value}"))
    (second,) = pattern.findall(Redactor(technique, KEYS).text(f"({value})"))
    other = Redactor(technique, {domain: key[::-1] for domain, key in KEYS.items()}).text(f"({value})")
    assert first == second
    assert first not in other


HOSTILE = [
    "1a",
    "a@",
    "a@a.",
    "1",
    "1 ",
    "00 ",
    "4111 1111 1111 1112 ",
    "20 7946 0018 ",
    "+1 ",
    "1.",
    "12/",
    "1:",
    "a:",
    "http://",
    "DE89 ",
    "1 may ",
    "=@",
]


@pytest.mark.parametrize("length", [8_192, pytest.param(262_144, marks=pytest.mark.slow)])
@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_texts_take_time_that_grows_as_they_do(unit, length) -> None:
    """No text is slow: four times the length takes about four times as long; a quadratic search would take sixteen."""
    technique = RedactText(country="DE", replace=Replacement.PSEUDONYM)
    redact(pa.array([unit * 9]), technique, keys=KEYS)  # loads what is loaded once

    def spent(length: int) -> float:
        text = pa.array([("@ 1 :: may " + unit * length)[:length]])  # hints of every kind come first
        began = time.process_time()
        redact(text, technique, keys=KEYS)
        return time.process_time() - began

    short = min(spent(length) for _ in range(3))
    assert min(spent(4 * length) for _ in range(2)) < 10 * short + 0.1
