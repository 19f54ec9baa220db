"""What counts as an entity of each kind, and what does not; every value is made up, reserved for examples, or from a registry."""

import pytest

from app.crypto import prf
from app.crypto.identifiers import normalizer
from app.deidentification.policy import Policy
from app.deidentification.redaction.find import find, normal_form
from app.deidentification.redaction.kinds import Kind
from app.deidentification.redaction.redact import Redactor, redact
from app.deidentification.redaction.technique import RedactText, Replacement
from app.errors import Invalid
from app.table.arrow import pa
from app.table.schema import ColumnType, Schema
from tests.unit.crypto.test_golden_vectors import cases

KEY = b"k" * 32
KEYS = {kind.domain: prf.pseudonym_key(KEY, population="p", kind=kind.domain) for kind in Kind}

TRUE = {
    Kind.EMAIL: [
        "ann@example.com",
        "Ann.B+tag@mail.example.co.uk",
        "a_b-c%d@example.org",
        "ünal@exämple.org",
        "x@xn--exmple-cua.example",
        "o'hara@example.com",
    ],
    Kind.URL: [
        "https://example.com",
        "http://example.org:8080/a/b?c=d#e",
        "HTTPS://Example.com/(x)",
        "ftp://example.net/file.txt",
        "www.example.com/path",
        "https://user@example.com/?mail=ann@example.com",
    ],
    Kind.IBAN: [  # the registry's examples
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB29NWBK60161331926819",
        "gb29 nwbk 6016 1331 9268 19",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NL91ABNA0417164300",
        "NO93 8601 1117 947",
        "ES91 2100 0418 4502 0005 1332",
        "CH93 0076 2011 6238 5295 7",
        "MT84MALT011000012345MTLCAST001S",
        "SC18SSCB11010000000000001497USD",
    ],
    Kind.CARD: [  # the networks' test numbers
        "4111111111111111",
        "4111 1111 1111 1111",
        "4012-8888-8888-1881",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "4000 0000 0000 0000 006",
    ],
    Kind.NATIONAL_ID: [
        "123-45-6789",
        "123 45 6789",
        "AB123456C",
        "AB 12 34 56 C",
        "ab 12 34 56 c",
        "QQ123456C",
        "86095742719",
        "86 095 742 719",
        "12345678Z",
        "12.345.678-Z",
        "X1234567L",
        "Y-1234567-X",
        "255081416802538",
        "2 55 08 14 168 025 38",
        "1 85 05 2A 006 084 35",
    ],
    Kind.IP: [
        "192.0.2.1",
        "255.255.255.255",
        "2001:db8::1",
        "2001:0db8:0000:0000:0000:ff00:0042:8329",
        "fe80::dead:beef",
        "::ffff:192.0.2.1",
    ],
    Kind.DATE: [
        "2024-05-03",
        "2024/5/3",
        "2024.05.03",
        "3.5.2024",
        "03.05.2024",
        "05/31/2024",
        "31/05/2024",
        "31-5-2024",
        "03.05.24",
        "3/5/24",
        "3. 5. 2024",
        "3 May 2024",
        "May 3, 2024",
        "May 3rd",
        "the 3rd of May 2024",
        "3. März 2024",
        "3 mars 2024",
        "1er février 2024",
        "3 de mayo de 2024",
        "3 maggio 2024",
        "3 maart 2024",
        "3 de março de 2024",
        "DECEMBER 2024",
        "2024 Dec 3",
        "03-MAR-2024",
        "Mar-03-2024",
        "3 Mai '24",
    ],
    Kind.PHONE: [
        "+1 201 555 0123",
        "+12015550123",
        "+1 (201) 555-0123",
        "+1.201.555.0123",
        "+44 (0)20 7946 0018",
        "+44 7700 900123",
        "+49 30 23125 000",
        "+49 (30) 23125-000",
        "0049 30 23125 000",
        "+33 1 99 00 12 34",
    ],
}
FALSE = {
    Kind.EMAIL: ["ann@", "@example.com", "ann@localhost", "a @ b.com", "ann at example dot com", "ann@example.c", "@handle"],
    Kind.URL: ["example.com", "http:// nothing", "and/or", "xhttp://", "C://", "www.", "file.txt"],
    Kind.IBAN: [
        "DE88370400440532013000",
        "DE8937040044053201300",
        "XX89370400440532013000",
        "GB29NWBK60161331926818",
        "DE89370400440532013000X",
    ],
    Kind.CARD: [
        "4111111111111112",
        "1111111111111117",
        "411111111111111",
        "0.4111111111111111",
        "41111111111111111111111111",
        "7992739871300000",
    ],
    Kind.NATIONAL_ID: [
        "000-45-6789",
        "666-45-6789",
        "123-00-6789",
        "123-45-0000",
        "123-45-67890",
        "123456789",
        "BG123456C",
        "AB123456E",
        "AO123456C",
        "86095742710",
        "12345678901",
        "12345678A",
        "X1234567T",
        "255081416802539",
        "255131416802538",
    ],
    Kind.IP: ["1.2.3.4.5", "256.1.1.1", "1.2.3", "v1.2.3.4", "12:30:45", "00:1A:2B:3C:4D:5E", "std::vector", "a[1::2]", "::"],
    Kind.DATE: [
        "31/31/2024",
        "2024-13-01",
        "2024-05-32",
        "5.2024",
        "1.2.3",
        "1.2.24",
        "may",
        "in May",
        "12345-05-03",
        "06.12.34.56.78",
        "March of the 400",
    ],
    Kind.PHONE: ["+0 123 456", "+999 123 456 789", "+1 201", "020 7946 0018", "12345678", "+", "1+20155501"],
}


def column(texts, **members):
    return redact(pa.array(texts, pa.string()), RedactText(**members), keys=KEYS).to_pylist()


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in TRUE.items() for value in values])
def test_entities_are_found_by_themselves_and_in_sentences(kind, value):
    begin = len(value) - len(value.removeprefix("the "))
    sentence, wanted = (
        f"Note: {value}, then more ({value}).",
        f"Note: {value[:begin]}[{kind}], then more ({value[:begin]}[{kind}]).",
    )
    assert column([sentence, value[begin:]]) == [wanted, f"[{kind}]"]
    assert column([sentence], find=(kind,)) == [wanted]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in FALSE.items() for value in values])
def test_what_only_looks_like_an_entity_stays(kind, value):
    assert column([value, f"so {value} it"], find=(kind,)) == [value, f"so {value} it"]


NATIONAL = [
    ("US", "(201) 555-0123"),
    ("US", "201-555-0123"),
    ("US", "1-201-555-0123"),
    ("US", "2015550123"),
    ("GB", "020 7946 0018"),
    ("GB", "07700 900123"),
    ("DE", "(030) 23125 000"),
    ("DE", "030/23125000"),
    ("DE", "030 / 231 25 000"),
    ("DE", "(030) - 23125000"),
    ("FR", "01 99 00 12 34"),
    ("FR", "06.12.34.56.78"),
    ("ES", "612 34 56 78"),
]


@pytest.mark.parametrize(("country", "number"), NATIONAL)
def test_national_numbers_are_found_where_their_country_is_named(country, number):
    assert column([f"call {number}."], country=country, find=(Kind.PHONE,)) == ["call [phone]."]
    assert column([f"call {number}, 12 times"], country=country) == ["call [phone], 12 times"]
    assert column([f"call {number}."], find=(Kind.PHONE,)) == [f"call {number}."]


def test_two_numbers_side_by_side_are_two():
    assert column(["030 1234567 030 7654321"], country="DE") == ["[phone] [phone]"]
    assert column(["030 1234567/030 7654321"], country="DE") == ["[phone]/[phone]"]
    assert column(["06 12 34 56 78 06 12 34 56 79"], country="FR") == ["[phone] [phone]"]
    assert column(["order 7 020 7946 0018"], country="GB") == ["order 7 [phone]"]
    assert column(["1234 4111 1111 1111 1111"]) == ["1234 [card]"]
    assert column(["3.5.2024-4.5.2024 or 12.05.24-13.05.24"]) == ["[date]-[date] or [date]-[date]"]
    assert column(["10.0.0.1-10.0.0.9"]) == ["[ip]-[ip]"]
    assert column(["ann@example.com,bob@example.com/c@example.com"]) == ["[email],[email]/[email]"]


def test_kinds_take_their_turns():
    """A URL keeps the address inside it, an IBAN the digits of a card; without the first, the second is found."""
    assert column(["https://example.com/?m=ann@example.com"]) == ["[url]"]
    assert column(["https://example.com/?m=ann@example.com"], find=(Kind.EMAIL,)) == ["https://example.com/?m=[email]"]
    assert column(["mailto:ann@example.com?subject=x"]) == ["mailto:[email]?subject=x"]
    assert column(["https://192.0.2.1/x on 192.0.2.1"]) == ["[url] on [ip]"]
    assert column(["see (https://example.com/a_(b)). And <https://example.com>!"]) == ["see ([url]). And <[url]>!"]


def test_typesetters_spaces_and_hyphens_count_as_plain_ones():
    assert column(["+33\u202f1\u00a099\u00a000\u00a012\u00a034", "4111\u20111111\u20111111\u20111111"]) == ["[phone]", "[card]"]


def test_text_without_entities_and_nulls_stay_as_they_are():
    same = ["", "no digit", "3 of 4 beds", "é\u00a0–\t12 %", " 1 ", None, "[email]", "\ufeffx 5"]
    assert column(same) == same
    untouched = pa.array(["none here", None])
    assert redact(untouched, RedactText(), keys=KEYS) is untouched
    assert column([]) == []


NORMAL = [
    (Kind.EMAIL, ["Ann@Example.COM", "ann@example.com"], "ann@example.com"),
    (Kind.URL, ["HTTPS://Example.com/A", "https://example.com/A"], "https://example.com/A"),
    (Kind.IBAN, ["gb29 nwbk 6016 1331 9268 19", "GB29NWBK60161331926819"], "GB29NWBK60161331926819"),
    (Kind.CARD, ["4111-1111-1111-1111", "4111111111111111"], "4111111111111111"),
    (Kind.NATIONAL_ID, ["ab 12 34 56 c", "AB123456C"], "gb-nino:AB123456C"),
    (Kind.NATIONAL_ID, ["123 45 6789", "123-45-6789"], "us-ssn:123456789"),
    (Kind.IP, ["2001:0DB8:0:0:0:0:0:1", "2001:db8::1"], "2001:db8::1"),
    (Kind.DATE, ["3 May 2024", "May 3rd, 2024", "2024-05-03", "3.5.2024", "03.05.24", "31/05/2024"][:5], "2024-05-03"),
    (Kind.DATE, ["May 2024", "mai 2024"], "2024-05"),
    (Kind.DATE, ["May 3", "3. Mai"], "--05-03"),
    (Kind.PHONE, ["+44 (0)20 7946 0018", "0044 20 7946 0018", "020 7946 0018"], "+442079460018"),
]


@pytest.mark.parametrize(("kind", "writings", "form"), NORMAL)
def test_two_writings_of_one_entity_have_one_pseudonym(kind, writings, form):
    assert {normal_form(kind, writing, "GB") for writing in writings} == {form}
    shown = set(column(writings, replace=Replacement.PSEUDONYM, country="GB"))
    expected = prf.pseudonym_under(KEYS[kind.domain], form).hex()
    assert shown == {f"[{kind}:{expected}]"}


def test_the_country_says_which_of_day_and_month_comes_first():
    assert [normal_form(Kind.DATE, "5/6/2024", country) for country in ("US", "GB", None)] == [
        "2024-05-06",
        "2024-06-05",
        "2024-06-05",
    ]


def test_addresses_and_numbers_share_the_pseudonyms_of_identifier_columns():
    """R28: the domain is population ‖ kind ‖ normaliser; other kinds have domains that no column can declare."""
    wanted = prf.pseudonym(KEY, population="p", kind="email", value="ANN@example.com").hex()
    assert column(["to ann@example.com"], replace=Replacement.PSEUDONYM) == [f"to [email:{wanted}]"]
    wanted = prf.pseudonym(KEY, population="p", kind="phone", value="020 7946 0018", country="GB").hex()
    assert column(["+44 20 7946 0018"], replace=Replacement.PSEUDONYM) == [f"[phone:{wanted}]"]
    assert {kind.domain for kind in Kind} & {"iban", "card", "date", "url", "ip"} == set()
    with pytest.raises(Invalid):
        Schema.from_json([{"name": "c", "type": "text", "identifier": Kind.IBAN.domain}])


@pytest.mark.parametrize("case", cases("redacted"))
def test_texts_are_redacted_as_ever(case):
    """Golden vectors: these were written once; a new rule of a normal form is a new normaliser, so a new domain (R28)."""
    key, text, country = bytes.fromhex(case["key"]), case["text"], case["country"]
    keys = {kind.domain: prf.pseudonym_key(key, population=case["population"], kind=kind.domain) for kind in Kind}
    found = find(text, tuple(Kind), country)
    assert [(one.kind, one.kind.domain) for one in found] == [(one["kind"], one["domain"]) for one in case["found"]]
    for one, was in zip(found, case["found"], strict=True):
        assert normal_form(one.kind, text[one.start : one.end], country) == was["normalized"]
        assert normalizer(one.kind.domain) == was["normalizer"]
    assert Redactor(RedactText(replace=Replacement.PSEUDONYM, country=country), keys).text(text) == case["redacted"]
    assert Redactor(RedactText(country=country), keys).text(text) == case["by_type"]


def test_what_has_no_normal_form_shows_its_type_alone():
    technique = RedactText(replace=Replacement.PSEUDONYM)
    too_long = f"{'x' * 40}@{'y' * 63}.{'y' * 63}.{'y' * 63}.{'y' * 63}.example.com"  # a domain of more than 253 characters
    assert normal_form(Kind.EMAIL, too_long, None) is None
    assert Redactor(technique, KEYS).text(f"to {too_long} now") == "to [email] now"


def test_a_redactor_prints_nothing():
    assert repr(Redactor(RedactText(), KEYS)) == "Redactor()"


SCHEMA = Schema.from_json([{"name": "notes", "type": "text"}, {"name": "n", "type": "integer"}])


def policy(**members):
    return Policy.from_json({"notes": {"technique": "redact_text", **members}, "n": {"technique": "keep"}}, SCHEMA)


def test_a_policy_is_read_with_its_defaults_and_in_the_order_of_kinds():
    assert policy().techniques["notes"] == RedactText(find=tuple(Kind), replace=Replacement.TYPE)
    asked = policy(find=["phone", "email"], replace="pseudonym", country="GB")
    assert asked.techniques["notes"] == RedactText(find=(Kind.EMAIL, Kind.PHONE), replace=Replacement.PSEUDONYM, country="GB")
    assert Policy.from_json(asked.as_json(), SCHEMA) == asked
    assert asked.text_domains() == {"email", "phone"}
    assert policy(find=["card"], replace="pseudonym").text_domains() == {"text/card"}
    assert policy().text_domains() == frozenset()


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"find": []}, ("list-of-kinds", "/policy/notes/find")),
        ({"find": "email"}, ("list-of-kinds", "/policy/notes/find")),
        ({"find": ["email", "name"]}, ("unknown-kind", "/policy/notes/find")),
        ({"find": ["email", 3]}, ("unknown-kind", "/policy/notes/find")),
        ({"find": ["email", "email"]}, ("kind-twice", "/policy/notes/find")),
        ({"replace": "mask"}, ("type-or-pseudonym", "/policy/notes/replace")),
        ({"replace": None}, ("type-or-pseudonym", "/policy/notes/replace")),
        ({"country": "XX"}, ("unknown-country", "/policy/notes/country")),
        ({"country": "gb"}, ("unknown-country", "/policy/notes/country")),
        ({"names": True}, ("names-not-available", "/policy/notes/names")),
        ({"kinds": ["email"]}, ("unknown-member", "/policy/notes/kinds")),
    ],
)
def test_a_policy_is_refused_with_its_places(members, fault):
    with pytest.raises(Invalid) as refused:
        policy(**members)
    assert [(one.rule, one.pointer) for one in refused.value.faults] == [fault]


def test_only_text_is_redacted():
    with pytest.raises(Invalid) as refused:
        Policy.from_json({"notes": {"technique": "keep"}, "n": {"technique": "redact_text"}}, SCHEMA)
    assert [(one.rule, one.pointer) for one in refused.value.faults] == [("redact-needs-text", "/policy/n/technique")]


def test_a_redacted_column_is_text_and_not_asked_about():
    """R14: where and group_by only on keep and generalize."""
    (notes, _) = policy().stored(SCHEMA)
    assert (notes.type, notes.arrow_type, notes.technique) == (ColumnType.TEXT, "string", "redact_text")
    assert not notes.queryable
    assert not notes.groupable
