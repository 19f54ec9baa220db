"""A process of the race of threat D1: its own desk over the shared database, as a second server would have."""

from pathlib import Path
from typing import Any

import app.noise.opendp_source  # noqa: F401  loaded once by the fork server, not eight times
from app.clock import SystemClock
from app.errors import BudgetExhausted, Unavailable
from app.main import close_desk, open_desk
from app.operations import answer, principals
from app.settings import Settings
from tests.attacks.laid_bare import count_question
from tests.world import ROOT_KEY


def race(url: str, folder: str, token: str, *, datasets: list[str], number: int, tries: int, start: Any, results: Any) -> None:
    """Ask `tries` questions that nobody else asks, on each dataset in turn; report how many were accepted and refused."""
    settings = Settings(folder=Path(folder), database_url=url, root_key=ROOT_KEY, answer_deadline="off")
    desk = open_desk(settings, clock=SystemClock())
    caller = principals.authenticate(desk, token)
    answer.price_query(desk, caller, datasets[0], count_question(0))  # everything is loaded before the gun
    outcome = []
    for dataset in datasets:
        accepted = refused = 0
        start.wait(120)
        for one in range(tries):
            while True:
                try:
                    answer.ask(desk, caller, dataset, count_question(number * tries + one), claim=None)
                    accepted += 1
                except BudgetExhausted:
                    refused += 1
                except Unavailable:
                    continue
                break
        outcome.append((accepted, refused))
    results.put(outcome)
    close_desk(desk)
