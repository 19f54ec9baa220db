# ruff: noqa: E501 — a question reads better in a long line
"""SQL means what the JSON form means, and what it does not know it refuses by name (issue text; threats D4, I18)."""

import contextlib

import pytest
from dp_tables import CAP, people, visits
from hypothesis import given
from hypothesis import strategies as st

from app import errors
from app.dp import sql
from app.dp.json_form import read

TABLE = people(partitions=2)


def asked(text, table=TABLE):
    return read({"sql": text, "epsilon": "1"}, table, cap=CAP, name="visits")


def same(text, body):
    return asked(text) == read(body | {"epsilon": "1"}, TABLE, cap=CAP)


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("SELECT COUNT(*) FROM visits", {"select": [{"count": {}}]}),
        (
            "select sex, count(*) as n, avg(hours) as mean_hours from visits where born >= 1970 group by sex;",
            {
                "select": [{"count": {}, "as": "n"}, {"mean": {"column": "hours"}, "as": "mean_hours"}],
                "where": {"column": "born", "op": ">=", "value": 1970},
                "group_by": ["sex"],
            },
        ),
        ("SELECT COUNT(hours), SUM(income) FROM Visits", {"select": [{"count": {"column": "hours"}}, {"sum": {"column": "income"}}]}),
        ("SELECT COUNT(DISTINCT patient_id) FROM visits", {"select": [{"count_people": {}}]}),
        ("SELECT VAR_POP(hours), STDDEV_POP(hours) FROM visits", {"select": [{"variance": {"column": "hours"}}, {"stddev": {"column": "hours"}}]}),
        ("SELECT MEDIAN(hours), MIN(hours), MAX(hours) FROM visits", {"select": [{word: {"column": "hours"}} for word in ("median", "min", "max")]}),
        (
            "SELECT PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY hours) AS p FROM visits",
            {"select": [{"quantile": {"column": "hours", "q": "0.9"}, "as": "p"}]},
        ),
        (
            "SELECT COUNT(*) FROM visits WHERE NOT (sex IN ('F', 'M') OR hours BETWEEN 3 AND 7) AND 5 < hours AND income <> -3.5",
            {
                "select": [{"count": {}}],
                "where": {
                    "and": [
                        {"not": {"or": [
                            {"column": "sex", "op": "in", "value": ["F", "M"]},
                            {"column": "hours", "op": "between", "value": [3, 7]},
                        ]}},
                        {"column": "hours", "op": ">", "value": 5},
                        {"column": "income", "op": "!=", "value": "-3.5"},
                    ]
                },
            },
        ),
        (
            "SELECT COUNT(*) FROM visits WHERE well AND zip IS NOT NULL AND day >= DATE '2020-02-29' -- a remark",
            {
                "select": [{"count": {}}],
                "where": {
                    "and": [
                        {"column": "well", "op": "=", "value": True},
                        {"not": {"column": "zip", "op": "is_null"}},
                        {"column": "day", "op": ">=", "value": "2020-02-29"},
                    ]
                },
            },
        ),
        ('SELECT "sex", COUNT(*) FROM visits WHERE "HOURS" = 1 GROUP BY "sex"', None),
        (
            "SELECT DATE_TRUNC('month', day), COUNT(*) FROM visits GROUP BY DATE_TRUNC('month', day), sex",
            {"select": [{"count": {}}], "group_by": [{"column": "day", "part": "month"}, "sex"]},
        ),
        ("SELECT SEX, COUNT(*) FROM visits GROUP BY Sex", {"select": [{"count": {}}], "group_by": ["sex"]}),
    ],
)  # fmt: skip
def test_d4_sql_reads_to_the_question_that_json_writes(text, body):
    if body is None:
        with pytest.raises(errors.Invalid):
            asked(text)
    else:
        assert same(text, body)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SELECT COUNT(*) FROM visits HAVING COUNT(*) > 3", "HAVING"),
        ("SELECT COUNT(*) FROM visits ORDER BY 1", "ORDER BY"),
        ("SELECT COUNT(*) FROM visits LIMIT 1", "LIMIT"),
        ("SELECT COUNT(*) FROM visits OFFSET 1", "OFFSET"),
        ("SELECT DISTINCT sex FROM visits", "DISTINCT"),
        ("SELECT COUNT(*) FROM visits JOIN others ON true", "Joins"),
        ("SELECT COUNT(*) FROM visits, others", "Joins"),
        ("WITH t AS (SELECT 1) SELECT COUNT(*) FROM visits", "WITH"),
        ("SELECT COUNT(*) FROM (SELECT * FROM visits) AS t", "Subqueries"),
        ("SELECT COUNT(*) FROM visits UNION SELECT COUNT(*) FROM visits", "UNION"),
        ("SELECT hours + 1 FROM visits", "ADD"),
        ("SELECT SUM(hours * 2) FROM visits", "MUL"),
        ("SELECT SUM(DISTINCT hours) FROM visits", "DISTINCT"),
        ("SELECT COUNT(DISTINCT sex) FROM visits", "privacy id"),
        ("SELECT STDDEV(hours) FROM visits", "STDDEV_POP"),
        ("SELECT COUNT(*) OVER () FROM visits", "Window"),
        ("SELECT COUNT(*) FILTER (WHERE well) FROM visits", "FILTER"),
        ("SELECT SUM(CASE WHEN well THEN 1 END) FROM visits", "CASE"),
        ("SELECT COUNT(*) FROM visits WHERE zip LIKE '1%'", "LIKE"),
        ("SELECT COUNT(*) FROM visits WHERE hours = born", "compared with a value"),
        ("SELECT COUNT(*) FROM visits WHERE hours IN (SELECT 1)", "IN takes a list"),
        ("SELECT COUNT(*) FROM visits WHERE EXISTS (SELECT 1)", "EXISTS"),
        ("SELECT COUNT(*) FROM visits WHERE lower(sex) = 'f'", "LOWER"),
        ("SELECT COUNT(*) FROM visits GROUP BY ROLLUP (sex)", "ROLLUP"),
        ("SELECT COUNT(*) FROM visits GROUP BY 1", "LITERAL"),
        ("SELECT sex AS s, COUNT(*) FROM visits GROUP BY sex", "AS"),
        ("SELECT COUNT(*) INTO t FROM visits", "INTO"),
        ("SELECT COUNT(*) FROM visits FOR UPDATE", "FOR UPDATE"),
        ("SELECT * FROM visits", "STAR"),
        ("SELECT COUNT(*) FROM visits GROUP BY DATE_TRUNC('day', day)", "DATE_TRUNC"),
        ("SELECT COUNT(*) FROM visits GROUP BY hours + 1", "ADD"),
        ("DELETE FROM visits", "DELETE"),
        ("DROP TABLE visits", "DROP"),
        ("INSERT INTO visits VALUES (1)", "INSERT"),
        ("SELECT PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY hours DESC) FROM visits", "ascending"),
        ("SELECT COUNT(*) FROM visits WHERE sex IS TRUE", "IS"),
    ],
)
def test_what_is_not_answered_is_refused_by_name(text, word):
    with pytest.raises(errors.UnsupportedQuestion) as refused:
        asked(text)
    assert word in refused.value.detail


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("SELECT", "from-names-the-dataset"),
        ("SELECT COUNT(* FROM visits", "sql-syntax"),
        ("SELECT COUNT(*) FROM visits; SELECT COUNT(*) FROM visits", "one-statement"),
        (";", "one-statement"),
        ("", "sql-text"),
        (5, "sql-text"),
        ("SELECT COUNT(*) FROM visits -- " + "x" * 10_000, "sql-text"),
        ("SELECT COUNT(*) FROM people", "from-names-the-dataset"),
        ("SELECT COUNT(*) FROM visits v", "from-names-the-dataset"),
        ("SELECT COUNT(*) FROM other.visits", "from-names-the-dataset"),
        ("SELECT COUNT(*)", "from-names-the-dataset"),
        ("SELECT sex, COUNT(*) FROM visits", "column-not-grouped"),
        ("SELECT SUM(nobodys) FROM visits", "unknown-column"),
        ("SELECT COUNT(*) FROM visits WHERE patient_id = 'x'", "privacy-id-not-queryable"),
        ("SELECT COUNT(DISTINCT patient_id) FROM visits WHERE phone = 'x'", "column-not-queryable"),
    ],
)
def test_faults_have_rules_and_show_nothing_of_the_text(text, rule):
    with pytest.raises(errors.Invalid) as refused:
        asked(text)
    assert rule in [fault.rule for fault in refused.value.faults]
    assert "nobodys" not in refused.value.detail


def test_sql_and_json_together_are_refused():
    with pytest.raises(errors.Invalid) as refused:
        read(
            {"sql": "SELECT COUNT(*) FROM visits", "group_by": ["sex"], "epsilon": "1"},
            TABLE,
            cap=CAP,
        )
    assert refused.value.faults[0].rule == "sql-or-select"


def test_a_row_has_no_people_to_count():
    with pytest.raises(errors.UnsupportedQuestion):
        asked("SELECT COUNT(DISTINCT patient_id) FROM visits", visits())


@given(
    st.text(max_size=300) | st.from_regex(r"SELECT [A-Z(*) ,]{0,40} FROM visits( WHERE [a-z0-9=<>'() ]{0,60})?", fullmatch=True)
)
def test_i18_whatever_is_sent_is_a_question_or_a_refusal(text):
    """Law: `read` returns a question or raises a refusal; nothing else."""
    with contextlib.suppress(errors.Refused):
        asked(text)


@pytest.mark.attack("I18")
def test_i18_nesting_without_end_is_refused():
    for text in (
        "SELECT COUNT(*) FROM visits WHERE " + "(" * 4_000 + "well" + ")" * 4_000,
        "SELECT " + "-" * 9_000,
        "NOT " * 2_400,
    ):
        with pytest.raises(errors.Refused):
            sql.read(text, TABLE, name="visits")
