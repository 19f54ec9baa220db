"""What makes two writings the same person, and what does not (R3, R28)."""

import pytest

from app.crypto.identifiers import WHITESPACE, normalize, normalizer
from app.errors import Invalid


@pytest.mark.parametrize(
    ("kind", "value", "country", "normal"),
    [
        ("patient-id", " 0041 ", None, "0041"),
        ("patient-id", "A1", None, "A1"),
        ("patient-id", "a1", None, "a1"),
        ("patient-id", "Anne\u0301", None, "Ann\u00e9"),
        ("patient-id", "\u00a0x y\u3000", None, "x y"),
        ("patient-id", "\ufb01", None, "\ufb01"),  # no NFKC: the ligature is not "fi"
        ("email", " Ann.B+x@EXAMPLE.Com", None, "ann.b+x@example.com"),
        ("email", "ann@localhost", None, "ann@localhost"),
        ("email", "ann@Bücher.DE", None, "ann@xn--bcher-kva.de"),
        ("email", "ann@XN--bcher-kva.de", None, "ann@xn--bcher-kva.de"),
        ("email", "ann@straße.de", None, "ann@xn--strae-oqa.de"),  # not strasse.de, which is another domain
        ("email", "Жанна@ПРИМЕР.рф", None, "Жанна@xn--e1afmkfd.xn--p1ai"),
        ("phone", "020 7946 0018", "GB", "+442079460018"),
        ("phone", "+44 (0)20 7946 0018", "US", "+442079460018"),
        ("phone", "+44 20 7946 0018 ext. 5", "GB", "+442079460018;ext=5"),
        ("phone", "06 698 12345", "IT", "+390669812345"),  # Italy keeps its zero
    ],
)
def test_normal_forms(kind: str, value: str, country: str | None, normal: str) -> None:
    assert normalize(kind, value, country=country) == normal


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("patient-id", empty) for empty in ("", " ", WHITESPACE, "\u2003")],
        ("patient-id", "new \U0010fffd\u0378"),  # unassigned: its normal form is not fixed yet
        ("patient-id", "\ud800"),
        *[("email", wrong) for wrong in ("a", "@x.org", "a@", "a@b@c", "a@.org", "a@x..org", "a@x.org.", "a b@x.org")],
        *[
            ("email", wrong)
            for wrong in ("Ann <ann@x.org>", '"a"@x.org', "ann@x_y.org", "ann@-x.org", "ann@x。org", "a" * 65 + "@x.org")
        ],
        *[("email", "ann@" + "a" * 64 + ".org"), ("email", "ann@" + "a." * 127 + "org"), ("email", "a\u00a0b@x.org")],
        *[("phone", wrong) for wrong in ("12", "hello", "020 7946 0018 or 0019", "+999 123 456 7890")],
    ],
)
def test_r3_what_has_no_normal_form(kind: str, value: str) -> None:
    assert normalize(kind, value, country="GB") is None


@pytest.mark.parametrize("country", [None, "", "gb", "XX", "England"])
def test_r28_phones_need_a_country(country: str | None) -> None:
    with pytest.raises(Invalid):
        normalize("phone", "020 7946 0018", country=country)


def test_whitespace_is_what_unicode_calls_white_space() -> None:
    assert len(WHITESPACE) == len(set(WHITESPACE)) == 25
    assert normalize("id", "\x1cx\ufeff") == "\x1cx\ufeff"


def test_every_other_label_is_opaque() -> None:
    assert {normalizer(kind) for kind in ("patient-id", "Email", "e-mail", "")} == {"opaque/1"}
    assert (normalizer("email"), normalizer("phone")) == ("email/1", "phone/1")
