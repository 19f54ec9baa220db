"""Every error has one problem row, and every row an error; codes are stable words; statuses are those of the threat model."""

import re

import pytest

from app import errors
from app.api import problems


def _tree(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _coded():
    return [kind for kind in _tree(errors.TacitError) if "code" in vars(kind) and kind.__module__.startswith("app.")]


def test_every_error_has_exactly_one_row():
    assert set(problems.TABLE) == set(_coded())


def test_leaves_without_a_code_do_not_exist():
    assert [kind for kind in _tree(errors.TacitError) if not kind.__subclasses__() and "code" not in vars(kind)] == []


def test_codes_are_unique_kebab_words():
    codes = [kind.code for kind in _coded()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


def test_statuses_are_those_of_the_threat_model():
    allowed = {400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422, 423, 429, 460, 500, 503}
    assert {row.status for row in problems.TABLE.values()} <= allowed
    assert [kind for kind, row in problems.TABLE.items() if row.status == 500] == [problems.Internal]
    assert [kind for kind, row in problems.TABLE.items() if row.status == 429] == [errors.RateLimited]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.BudgetExhausted, 409),
        (errors.QueryFailed, 503),
        (errors.StillComputing, 503),
        (errors.Integrity, 503),
        (errors.RowsRefused, 422),
        (errors.NotFound, 404),
        (errors.TooLarge, 413),
    ],
)
def test_named_statuses(kind, status):
    assert problems.row(kind).status == status


def test_statuses_follow_the_tree():
    """An unavailable service is never blamed on the caller, and a refusal never on the service."""
    for kind, row in problems.TABLE.items():
        if issubclass(kind, errors.Unavailable):
            assert row.status == 503
        elif issubclass(kind, errors.Refused):
            assert 400 <= row.status < 500
        if issubclass(kind, errors.Conflict):
            assert row.status == 409


def test_rows_are_told_apart():
    titles = [row.title for row in problems.TABLE.values()]
    assert len(titles) == len(set(titles))
    assert all(row.remedy.endswith(".") for row in problems.TABLE.values())
