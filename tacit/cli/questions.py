"""`tacit ask`, `tacit price`, `tacit budget`: private answers beside their intervals and their price."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from tacit.answers import Answer
from tacit.cli.bars import Told, bars
from tacit.cli.console import RefusedHere, amount, connect, find, out, print_json, print_table, read_json

_CONDITION = re.compile(r"\s*([^\s<>=!]+)\s*(>=|<=|!=|==|=|<|>)\s*(.+?)\s*")

Dataset = Annotated[str, typer.Option("--dataset", "-d", help="Name or id of the dataset.")]
Question = Annotated[str | None, typer.Argument(help="The question: a JSON file, inline JSON, or - for standard input.")]
Count = Annotated[bool, typer.Option("--count", help="Count rows, as n.")]
Mean = Annotated[list[str] | None, typer.Option("--mean", metavar="COLUMN", help="Mean of a column; may be repeated.")]
Sum = Annotated[list[str] | None, typer.Option("--sum", metavar="COLUMN", help="Sum of a column; may be repeated.")]
GroupBy = Annotated[
    list[str] | None, typer.Option("--group-by", metavar="COLUMN", help="Answer for each value; may be repeated.")
]
Where = Annotated[list[str] | None, typer.Option("--where", metavar="'born >= 1970'", help="Only such rows; repeated: all hold.")]
Sql = Annotated[str | None, typer.Option("--sql", metavar="'SELECT …'", help="The question in SQL; see docs/privacy.md.")]
Epsilon = Annotated[str | None, typer.Option("--epsilon", "-e", help="What to pay.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's reply as JSON.")]


def ask(
    *,
    dataset: Dataset,
    question: Question = None,
    sql: Sql = None,
    count: Count = False,
    mean: Mean = None,
    sum: Sum = None,  # noqa: A002 - the option's name
    group_by: GroupBy = None,
    where: Where = None,
    epsilon: Epsilon = None,
    json: AsJson = False,
    certificate: Annotated[Path | None, typer.Option(help="Save the signed certificate in this file.")] = None,
) -> None:
    """Ask a question, pay for it, and print the answer with its intervals."""
    body = build(question, sql=sql, count=count, mean=mean, sum=sum, group_by=group_by, where=where, epsilon=epsilon)
    with connect() as client:
        answer = client.ask(find(dataset, client.list_datasets()), body)
    if certificate is not None:
        import json as json_module

        certificate.write_text(json_module.dumps(answer.certificate, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if json:
        print_json(answer.document)
    else:
        _print(answer)


def price(
    *,
    dataset: Dataset,
    question: Question = None,
    sql: Sql = None,
    count: Count = False,
    mean: Mean = None,
    sum: Sum = None,  # noqa: A002 - the option's name
    group_by: GroupBy = None,
    where: Where = None,
    epsilon: Epsilon = None,
) -> None:
    """Say what a question would cost and how exact it would be; nothing is spent."""
    body = build(question, sql=sql, count=count, mean=mean, sum=sum, group_by=group_by, where=where, epsilon=epsilon)
    with connect() as client:
        print_json(client.price(find(dataset, client.list_datasets()), body))


def budget(
    population: Annotated[str | None, typer.Argument(help="Id of the population, or its name if you may list them.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Instead: the population of this dataset.")] = None,
    json: AsJson = False,
) -> None:
    """Show what of a population's privacy budget is spent and left."""
    if (population is None) == (dataset is None):
        raise RefusedHere("Name a population, or --dataset: one of the two.")
    with connect() as client:
        if dataset is not None:
            target = str(client.get_dataset(find(dataset, client.list_datasets()))["population"])
        else:
            target = find(str(population), client.list_populations())
        found = client.budget(target)
    if json:
        print_json(found)
        return
    left = [(f"left of {whose}", amount(money)) for whose, money in found.get("remaining", {}).items()]
    print_table(["budget", ""], [("total", amount(found.get("total"))), ("spent", amount(found.get("spent"))), *left])


def build(
    question: str | None,
    *,
    sql: str | None,
    count: bool,
    mean: list[str] | None,
    sum: list[str] | None,  # noqa: A002 - the option's name
    group_by: list[str] | None,
    where: list[str] | None,
    epsilon: str | None,
) -> dict[str, Any]:
    """Make the question's body from JSON or from the options; `--epsilon` may stand beside JSON."""
    select: list[dict[str, Any]] = [{"count": {}, "as": "n"}] if count else []
    select += [{"mean": {"column": column}, "as": f"mean_{column}"} for column in mean or []]
    select += [{"sum": {"column": column}, "as": f"sum_{column}"} for column in sum or []]
    if [question is not None, sql is not None, bool(select)].count(True) != 1:
        raise RefusedHere("Give a question as JSON, with --sql, or with --count, --mean and --sum: one of the three.")
    if not select and (group_by or where):
        raise RefusedHere("--group-by and --where belong to --count, --mean and --sum; write them into the question.")
    if sql is not None:
        body: Any = {"sql": sql}
    elif question is not None:
        body = read_json(question)
        if not isinstance(body, dict):
            raise RefusedHere("A question is a JSON object.")
    else:
        body = {"select": select}
        if where:
            body["where"] = {"and": [condition(text) for text in where]}
        if group_by:
            body["group_by"] = group_by
    return body if epsilon is None else {**body, "epsilon": epsilon}


def condition(text: str) -> dict[str, Any]:
    """Read `born >= 1970`."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise RefusedHere("Write a condition as: --where 'column >= value' (with >=, <=, >, <, =, !=).")
    column, operator, value = match.groups()
    unquoted = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
    truth = {"true": True, "false": False}.get(value)
    return {"column": column, "op": "=" if operator == "==" else operator, "value": unquoted if truth is None else truth}


def _print(answer: Answer) -> None:
    rows = answer.rows()
    names = [name for name in answer.columns if name not in answer.keys]
    plain = [name for name in names if not any(isinstance(row[name], dict) for row in rows)]
    drawn = {name: bars([_told(row, name) for row in rows]) for name in plain}
    if plain or answer.keys:
        columns = [*answer.keys, *(title for name in plain for title in (name, "95 % interval", "")[: 2 + any(drawn[name])])]
        print_table(columns, [_line(answer, row, place, drawn) for place, row in enumerate(rows)])
    for name in names:
        if name not in plain:
            for row in rows:
                _print_histogram(answer, row, name)
    paid = "nothing: it was answered before" if answer.repeated else amount(answer.cost)
    left = "; ".join(f"{whose}: {amount(money)}" for whose, money in answer.remaining.items())
    out.print(f"Cost {paid}. Left: {left}. Answer {answer.id}.", markup=False)


def _line(answer: Answer, row: dict[str, Any], place: int, drawn: dict[str, list[str]]) -> list[Any]:
    cells = [row[key] for key in answer.keys]
    for name, each in drawn.items():
        cells += [_value(row[name]), _interval(row, name), *([each[place]] if any(each) else [])]
    return cells


def _print_histogram(answer: Answer, row: dict[str, Any], name: str) -> None:
    group = ", ".join(f"{key}: {row[key]}" for key in answer.keys)
    told = [(row[name][label], row[f"{name}_low"][label], row[f"{name}_high"][label]) for label in row[name]]
    lines = zip(row[name], told, bars(told), strict=True)
    print_table(
        [f"{name} {group}".strip(), "rows", "95 % interval", ""],
        [[label, value, f"{low} … {high}", bar] for label, (value, low, high), bar in lines],
    )


def _told(row: dict[str, Any], name: str) -> Told:
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


def _value(value: Any) -> Any:
    return "unknown" if value is None else value


def _interval(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None else f"{low} … {high}"
