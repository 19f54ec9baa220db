"""Answers as rows and frames; a tally from a partner's and a key owner's side."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from tacit import tallies
from tacit.answers import Answer
from tacit.paillier import private
from tacit.paillier.encoding import TotalOutOfRange, ValueOutOfRange
from tacit.transport import Document

BODY = {
    "id": "a1",
    "dataset": "d",
    "version": "v",
    "question": {},
    "unit": "person",
    "columns": ["sex", "n", "mean_hours"],
    "groups": [
        {
            "key": {"sex": "F"},
            "values": [
                {"value": "10771", "interval": ["10760", "10782"]},
                {"value": "36.4", "interval": ["36.1", "36.7"]},
            ],
        },
        {"key": {"sex": None}, "values": [{"value": "-2", "interval": ["-13", "9"]}, {"value": None, "interval": ["0", "99"]}]},
    ],
    "noise": [{"as": "n", "mechanism": "discrete-laplace", "scale": "4"}],
    "cost": {"epsilon": "0.5"},
    "remaining": {"population": {"epsilon": "9.5"}, "allowance": {"epsilon": "1.5"}},
    "repeated": False,
    "certificate": {"type": "release-certificate"},
}


def test_an_answer_gives_rows_with_exact_numbers(client, service):
    service.on("POST", "/v1/datasets/d/queries", status=201, body=BODY)
    answer = client.ask("d", {"select": [{"count": {}, "as": "n"}]}, epsilon=0.5)
    assert service.last.json == {"select": [{"count": {}, "as": "n"}], "epsilon": "0.5"}
    assert answer.keys == ["sex"]
    assert answer.rows()[0] == {
        "sex": "F",
        "n": 10771,
        "n_low": 10760,
        "n_high": 10782,
        "mean_hours": Decimal("36.4"),
        "mean_hours_low": Decimal("36.1"),
        "mean_hours_high": Decimal("36.7"),
    }
    assert answer.rows()[1]["mean_hours"] is None
    assert (answer.id, answer.cost, answer.repeated) == ("a1", {"epsilon": "0.5"}, False)
    assert answer.remaining["allowance"] == {"epsilon": "1.5"}
    assert answer.certificate == {"type": "release-certificate"}


def test_an_answer_gives_a_frame(client, service):
    service.on("GET", "/v1/datasets/d/queries/a1", body=BODY)
    frame = client.get_answer("d", "a1").frame()
    assert list(frame.columns) == ["sex", "n", "n_low", "n_high", "mean_hours", "mean_hours_low", "mean_hours_high"]
    assert frame["n"].tolist() == [10771, -2]
    assert frame["mean_hours"][0] == 36.4
    assert math.isnan(frame["mean_hours"][1])
    assert frame["mean_hours_high"].tolist() == [36.7, 99.0]
    assert frame.attrs["cost"] == {"epsilon": "0.5"}


def test_one_group_without_keys_and_values_without_interval():
    group = {"key": {}, "values": [{"value": "5", "interval": None}]}
    answer = Answer(Document(BODY | {"columns": ["n"], "groups": [group]}))
    assert answer.rows() == [{"n": 5, "n_low": None, "n_high": None}]
    assert len(answer.frame()) == 1


@pytest.fixture(scope="module")
def key():
    return private.generate(2048)


@pytest.fixture
def tally(key):
    return {
        "id": "t",
        "public_key": key.public.as_jwk(),
        "measures": {"revenue": {"lower": "-10", "upper": "1000", "scale": "0.01"}, "ages": {"bins": 2, "upper": 100}},
        "roster": ["p1", "p2", "p3"],
    }


def test_three_partners_contribute_and_the_key_owner_opens_the_total(client, service, key, tally):
    service.on("GET", "/v1/tallies/t", body=tally)
    service.on("POST", "/v1/tallies/t/contributions", status=201, body={"id": "c"})
    for revenue, ages in (("12.34", [1, 2]), (-10, [0, 100]), (0.5, [3, 4])):
        client.contribute("t", {"revenue": revenue, "ages": ages}, fingerprint=key.public.key_id)
    sent = [seen.json for seen in service.seen if seen.method == "POST"]
    assert {body["key_id"] for body in sent} == {key.public.key_id}
    assert [body["replaces"] for body in sent] == [None] * 3
    columns = [
        [key.public.from_wire(text) for text in column] for column in zip(*(body["ciphertexts"] for body in sent), strict=True)
    ]
    total = {
        "contributors": 3,
        "ciphertexts": [key.public.to_wire(key.public.rerandomise(key.public.add(column))) for column in columns],
    }
    assert tallies.opened(tally, total, key=key) == {"ages": (4, 106), "revenue": Fraction("2.84")}
    with pytest.raises(TotalOutOfRange):
        tallies.opened(tally, total | {"contributors": 1}, key=key)


def test_r39_nothing_is_sent_to_a_key_of_another_fingerprint(client, service, key, tally):
    service.on("GET", "/v1/tallies/t", body=tally)
    other = private.generate(2048)
    for wrong in (other.public.key_id, "", key.public.key_id[:-1]):
        with pytest.raises(tallies.WrongKey, match="nothing was sent"):
            client.contribute("t", {"revenue": 1, "ages": [1, 2]}, fingerprint=wrong)
    assert {seen.method for seen in service.seen} == {"GET"}
    with pytest.raises(tallies.WrongKey, match="another key"):
        tallies.opened(tally, {"ciphertexts": [], "contributors": 0}, key=other)


def test_p10_a_weak_key_is_refused_on_this_side_too(client, service, key, tally):
    weak = private.generate(1024, minimum_bits=1024).public
    service.on("GET", "/v1/tallies/t", body=tally | {"public_key": weak.as_jwk()})
    with pytest.raises(ValueError, match="at least 2048 bits"):
        client.contribute("t", {"revenue": 1, "ages": [1, 2]}, fingerprint=weak.key_id)


def test_p6_a_value_outside_the_bounds_is_not_sent(client, service, key, tally):
    service.on("GET", "/v1/tallies/t", body=tally)
    with pytest.raises(ValueOutOfRange, match="revenue"):
        client.contribute("t", {"revenue": 1001, "ages": [1, 2]}, fingerprint=key.public.key_id)
    assert {seen.method for seen in service.seen} == {"GET"}


def test_a_layout_of_the_future_is_not_guessed(client, service, key, tally):
    service.on("GET", "/v1/tallies/t", body=tally | {"layout": 2})
    with pytest.raises(ValueError, match="does not know"):
        client.contribute("t", {"revenue": 1, "ages": [1, 2]}, fingerprint=key.public.key_id)
