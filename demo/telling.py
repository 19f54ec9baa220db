"""How the story is told: chapters with their time, and claims that are checked before they are printed as true.

A claim that does not hold ends the story with exit code 1. Where the terminal can't draw (TERM=dumb, a pipe), it is
plain letters.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

_WIDTH = 100


class DoesNotHold(Exception):
    """A claim of the story is not so."""


class Teller:
    """Writes the story and keeps count of what was checked."""

    def __init__(self) -> None:
        """Begin."""
        self.console = Console(highlight=False)
        if not self.console.is_terminal or self.console.width > _WIDTH:
            self.console.width = _WIDTH
        self._plain = self.console.is_dumb_terminal or not self.console.is_terminal
        self._began = time.perf_counter()
        self._chapters = self.checked = 0

    @property
    def seconds(self) -> float:
        """Return how long the story has run."""
        return time.perf_counter() - self._began

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """Tell what belongs together; say at its end how long it took."""
        self._chapters += 1
        self.console.print(f"\n[bold cyan]{self._chapters}. {escape(title)}[/]")
        began = time.perf_counter()
        yield
        self.console.print(f"   [dim]({time.perf_counter() - began:.1f} s)[/]")

    def say(self, text: str) -> None:
        """Say something that needs no proof."""
        self._write(" ", escape(text))

    def holds(self, claim: str, *, so: bool) -> None:
        """Say a claim that was checked; end the story where it is not so."""
        if not so:
            self._write("[bold red]✗[/]", f"{escape(claim)} [bold red]- this does not hold[/]")
            raise DoesNotHold(claim)
        self.checked += 1
        self._write("[green]✓[/]", escape(claim))

    def show(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a small table."""
        table = Table(title=escape(title), title_justify="left", box=box.ASCII if self._plain else box.ROUNDED, pad_edge=False)
        for column in columns:
            table.add_column(escape(column))
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self.console.print(table, style="none")

    def quote(self, title: str, text: str) -> None:
        """Show a document as it came."""
        self.console.print(
            Panel(escape(text), title=escape(title), title_align="left", box=box.ASCII if self._plain else box.ROUNDED)
        )

    def _write(self, mark: str, text: str) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=3, justify="right")
        grid.add_column(overflow="fold")
        grid.add_row(mark, text)
        self.console.print(grid)
