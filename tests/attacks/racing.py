"""Processes that race, each with its own desk over the shared database, as a second server would have: D1, and one key (R32)."""

import hashlib
import io
import os
import signal
from pathlib import Path
from typing import Any

import app.noise.opendp_source  # noqa: F401  loaded once by the fork server, not eight times
from app.clock import SystemClock
from app.errors import BudgetExhausted, TacitError, Unavailable
from app.main import close_desk, open_desk
from app.operations import answer, datasets, ingest, populations, principals, tallies
from app.operations.desk import Caller, Desk
from app.operations.once import Claim
from app.settings import Settings
from tests.attacks.laid_bare import count_question
from tests.world import POLICY, ROOT_KEY, ROWS, SCHEMA, UNIT


def race(url: str, folder: str, token: str, *, names: list[str], number: int, tries: int, start: Any, results: Any) -> None:
    """Ask `tries` questions that nobody else asks, on each dataset in turn; report how many were accepted and refused."""
    settings = Settings(folder=Path(folder), database_url=url, root_key=ROOT_KEY, anchor="off", answer_deadline="off")
    desk = open_desk(settings, clock=SystemClock())
    caller = principals.authenticate(desk, token)
    answer.price_query(desk, caller, names[0], count_question(0))  # everything is loaded before the gun
    outcome = []
    for dataset in names:
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


class _Bytes:
    """A body that lies in memory."""

    def __init__(self, content: bytes) -> None:
        self._rest, self._digest = io.BytesIO(content), hashlib.sha256(content).digest()

    def read(self, size: int, /) -> bytes:
        return self._rest.read(size)

    def digest(self) -> bytes:
        return self._digest


def act(desk: Desk, callers: dict[str, Caller], kind: str, things: dict[str, Any], claim: Claim | None) -> dict[str, Any]:
    """Do one thing that creates or spends."""
    if kind == "upload":
        form = ingest.Form(media_type="text/csv", content_encoding=None)
        return ingest.upload(desk, callers["partner"], things["dataset"], body=_Bytes(ROWS), form=form, claim=claim)
    if kind == "ask":
        return answer.ask(desk, callers["analyst"], things["dataset"], count_question(0), claim=claim)
    if kind == "create_population":
        named = {"name": things["name"], "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}
        return populations.create_population(desk, callers["owner"], **named, claim=claim)
    if kind == "create_dataset":
        body = {"name": things["name"], "population": things["population"], "max_rows": 10}
        body |= {"schema": SCHEMA, "policy": POLICY, "privacy_unit": UNIT}
        return datasets.create_dataset(desk, callers["owner"], body=body, claim=claim)
    if kind == "contribute":
        sent = {"key_id": things["key_id"], "ciphertexts": things["ciphertexts"], "replaces": None}
        return tallies.contribute(desk, callers["partner"], things["tally"], **sent, claim=claim)
    assert kind == "close_tally"
    return tallies.close_tally(desk, callers["owner"], things["tally"], claim=claim)


def race_under_one_key(
    url: str, folder: str, tokens: dict[str, str], *, courses: list[tuple[str, dict[str, Any]]], start: Any, results: Any
) -> None:
    """Do each thing at the same moment as the others and under the same key; report each reply, or the code of the refusal."""
    settings = Settings(folder=Path(folder), database_url=url, root_key=ROOT_KEY, anchor="off", answer_deadline="off")
    desk = open_desk(settings, clock=SystemClock())
    callers = {role: principals.authenticate(desk, token) for role, token in tokens.items()}
    outcome: list[Any] = []
    for kind, things in courses:
        start.wait(120)
        try:
            outcome.append(act(desk, callers, kind, things, Claim(kind, b"the same request")))
        except TacitError as refused:
            outcome.append(refused.code)
    results.put(outcome)
    close_desk(desk)


def die_unanswered(url: str, folder: str, token: str, *, name: str, claim: Claim) -> None:
    """Create a population and be killed between the commit and the reply."""
    desk = open_desk(Settings(folder=Path(folder), database_url=url, root_key=ROOT_KEY, anchor="off"), clock=SystemClock())
    act(desk, {"owner": principals.authenticate(desk, token)}, "create_population", {"name": name}, claim)
    os.kill(os.getpid(), signal.SIGKILL)
