"""What the commands share: where the service is, how refusals are said, and how tables are printed.

Invariants
- URL and token come from TACIT_URL and TACIT_TOKEN; there is no option for a token, because other people on the machine can
  read a command line.
- A refusal prints as its sentence on standard error and exits with 1; a traceback is never shown, nor local variables.
- What a program would read goes to standard output, the rest to standard error.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from tacit.client import Client
from tacit.problems import Problem, Unreachable

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_IDS = frozenset({"id", "job", "webhook"})
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Sentences(TyperGroup):
    """A group of commands that says what went wrong in a sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; print refusals, wrong values and missing files, and exit with 1."""
        try:
            return super().invoke(ctx)
        except (Problem, Unreachable) as refused:
            said = str(refused)
        except (ValueError, OSError, ImportError) as wrong:
            said = str(wrong)
        except Exception as wrong:
            if not type(wrong).__module__.startswith("tacit."):
                raise
            said = str(wrong)
        err.print(said, style="red", markup=False)
        raise typer.Exit(1)


class RefusedHere(Exception):
    """The command itself refuses; the sentence says what to do."""


def new_app(help: str) -> typer.Typer:  # noqa: A002 - Typer's own word
    """Make a group of commands."""
    return typer.Typer(
        cls=Sentences, help=help, no_args_is_help=True, pretty_exceptions_show_locals=False, pretty_exceptions_enable=False
    )


def connect() -> Client:
    """Return a client for TACIT_URL and TACIT_TOKEN."""
    import os

    url, token = os.environ.get("TACIT_URL"), os.environ.get("TACIT_TOKEN")
    if not url or not token:
        raise RefusedHere("Set TACIT_URL and TACIT_TOKEN (whoever invited you has told you both).")
    return Client(url, token)


def find(named: str, listed: Iterable[Mapping[str, Any]]) -> str:
    """Return the id of what was named by id or by name."""
    if _ID.fullmatch(named):
        return named
    ids = [str(item["id"]) for item in listed if item.get("name") == named]
    if len(ids) != 1:
        raise RefusedHere(
            "There is nothing of that name that you may see." if not ids else "Several have that name: give the id."
        )
    return ids[0]


def read_json(given: str) -> Any:
    """Read JSON given inline, as a file's name, or as `-` for standard input; numbers with decimals stay text."""
    if given == "-":
        text = sys.stdin.read()
    elif given.lstrip().startswith(("{", "[")):
        text = given
    else:
        text = Path(given).read_text(encoding="utf-8")
    try:
        return json.loads(text, parse_float=str)
    except ValueError:
        raise RefusedHere("That is not JSON.") from None


def print_json(value: object) -> None:
    """Print JSON for a program or a person."""
    out.print_json(json.dumps(value, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; what a service sent is never read as markup, and an id is never cut."""
    table = Table()
    for column in columns:
        table.add_column(escaped(column), overflow="fold", no_wrap=column in _IDS)
    for row in rows:
        table.add_row(*("" if cell is None else escaped(str(cell)) for cell in row))
    out.print(table)


def escaped(text: str) -> str:
    """Return text that Rich prints as it is, without control characters that could steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text).replace("[", r"\[")


def amount(money: Mapping[str, Any] | None) -> str:
    """Write a budget or a cost in a line: `ε 0.5`."""
    signs = {"epsilon": "ε", "delta": "δ", "rho": "ρ"}
    return ", ".join(f"{signs.get(name, name)} {value}" for name, value in (money or {}).items())
