"""`tacit risk` prints how easily rows are told apart; `tacit export --k` what bringing them to k has cost."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tacit.cli.console import RefusedHere, connect, err, find, print_json, print_table

Quasi = Annotated[
    list[str] | None, typer.Option("--quasi", "-q", metavar="COLUMN", help="Quasi-identifier; repeated, or with commas.")
]
Sensitive = Annotated[list[str] | None, typer.Option("--sensitive", "-s", metavar="COLUMN", help="Column nobody should learn.")]
K = Annotated[int | None, typer.Option("--k", min=2, help="Rows brought to k: so many share what is shown.")]
L = Annotated[int | None, typer.Option("--l", min=2, help="With --k: so many values of each sensitive column in a class.")]


def risk(
    *,
    dataset: Annotated[str, typer.Argument(help="Name or id of the dataset.")],
    purpose: Annotated[str, typer.Option(help="Why; it is written into the audit log and the ledger.")],
    quasi: Quasi = None,
    sensitive: Sensitive = None,
    population_size: Annotated[int | None, typer.Option(min=1, help="People in the population the rows were drawn from.")] = None,
    sampling_fraction: Annotated[str | None, typer.Option(help="Or the share of it that is in the dataset.")] = None,
    threshold: Annotated[list[str] | None, typer.Option(help="Count rows with a risk above this; may be repeated.")] = None,
    k: K = None,
    l: L = None,  # noqa: E741 - the field's own letter
    json: Annotated[bool, typer.Option("--json", help="Print the service's reply as JSON.")] = False,
) -> None:
    """Show how easily rows are told apart: an exact report for the owner, an unprotected release."""
    if l is not None and k is None:
        raise RefusedHere("--l belongs to --k.")
    with connect() as client:
        told = client.risk_report(
            find(dataset, client.list_datasets()),
            columns(quasi),
            purpose=purpose,
            sensitive=columns(sensitive),
            thresholds=threshold or None,
            population_size=population_size,
            sampling_fraction=sampling_fraction,
            at_k=None if k is None else {"k": k, **({} if l is None else {"l": l})},
        )
    if json:
        print_json(told)
    else:
        _print(told)


def columns(given: list[str] | None) -> list[str]:
    """Return the columns of an option that is repeated, or holds several with commas."""
    return [name.strip() for part in given or [] for name in part.split(",") if name.strip()]


def print_loss(lost: Mapping[str, Any], *, aside: bool = False) -> None:
    """Print what bringing rows to k has cost; aside: where it does not mix with what a program reads."""
    if aside:
        err.print(
            f"{lost['classes']:,} classes of {lost['smallest_class']:,} rows or more; {lost['suppressed_rows']:,} of"
            f" {lost['rows']:,} rows left out. Information lost (NCP, 0 to 1): {lost['ncp']}.",
            markup=False,
        )
        return
    by_column = [(f"lost of {name}", value) for name, value in lost["ncp_by_column"].items()]
    print_table(
        ["information loss", ""],
        [
            ("rows left out", f"{lost['suppressed_rows']:,} of {lost['rows']:,}"),
            ("NCP, 0 nothing to 1 all", lost["ncp"]),
            ("generalised information loss", lost["generalised_information_loss"]),
            ("discernibility", lost["discernibility"]),
            ("average class size / k", lost["normalised_average_class_size"]),
            *by_column,
        ],
    )


def _print(told: Mapping[str, Any]) -> None:
    people = [] if told["k_people"] is None else [("people in the smallest class", told["k_people"])]
    print_table(
        ["risk of being told apart", ""],
        [
            ("rows, classes", f"{told['rows']:,} in {told['classes']:,}"),
            ("k: rows in the smallest class", told["k"]),
            *people,
            ("average class size", told["average_class_size"]),
            ("sample uniques", f"{told['sample_uniques']['rows']:,} rows, share {told['sample_uniques']['share']}"),
            *_attacks(told),
        ],
    )
    sizes = [(_band(one), one["classes"], one["rows"]) for one in told["class_sizes"]]
    print_table(["rows in a class", "classes", "rows"], sizes)
    if told["prosecutor"]:
        at_risk = [(one["threshold"], one["rows"], one["share"]) for one in told["prosecutor"]["at_risk"]]
        print_table(["prosecutor risk above", "rows", "share"], at_risk)
    if told["sensitive"]:
        names = ("column", "values", "distinct_l", "entropy_l", "t", "distance")
        titles = ["sensitive", *(name.replace("_", " ") for name in names[1:])]
        print_table(titles, [[one[name] for name in names] for one in told["sensitive"]])
    if told["information_loss"]:
        print_loss(told["information_loss"])
    if "absent" in told["journalist"]:
        err.print(f"No journalist risk. {told['journalist']['absent']}", markup=False)


def _attacks(told: Mapping[str, Any]) -> list[tuple[str, Any]]:
    rows = [
        (f"{name} risk: highest, average", f"{told[name]['highest']}, {told[name]['average']}")
        for name in ("prosecutor", "journalist")
        if told[name] and "highest" in told[name]
    ]
    marketer = told["marketer"]
    rows.append(("marketer risk against the table", marketer["against_the_table"]))
    if marketer["against_the_population"] is not None:
        rows.append(("marketer risk against the population", marketer["against_the_population"]))
    return rows


def _band(one: Mapping[str, Any]) -> str:
    if one["most"] is None:
        return f"{one['least']} or more"
    return str(one["least"]) if one["least"] == one["most"] else f"{one['least']} to {one['most']}"
