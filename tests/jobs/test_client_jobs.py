"""`Client` and `tacit job` over a real service: ask, wait, cancel."""

import json

import httpx2
import pytest
from typer.testing import CliRunner

from tacit import Problem
from tacit.cli.main import app
from tests.world import ROWS, World


@pytest.fixture
def waiting(new_database, tmp_path):
    """A world whose jobs nobody runs."""
    made = World(new_database("sqlite"), tmp_path, jobs="workers")
    yield made
    made.close()


def _defer(world):
    dataset = world.dataset(world.population())
    headers = {"Authorization": f"Bearer {world.tokens['partner']}", "Content-Type": "text/csv", "Prefer": "respond-async"}
    return httpx2.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=ROWS, headers=headers).json()["id"]


def test_the_client_waits_for_the_end(small_world):
    job = _defer(small_world)
    told = small_world.partner.wait_job(job, seconds=20)
    assert told["state"] == "done"
    assert small_world.partner.get_job(job) == told
    assert [one["id"] for one in small_world.partner.list_jobs()] == [job]
    with pytest.raises(Problem, match="not-found"):
        small_world.owner.get_job(job)


def test_the_client_gives_up_after_its_time_and_cancels(waiting):
    job = _defer(waiting)
    with pytest.raises(TimeoutError, match="queued"):
        waiting.partner.wait_job(job, seconds=0.3)
    assert waiting.partner.cancel_job(job)["state"] == "cancelled"
    assert waiting.partner.wait_job(job, seconds=5)["state"] == "cancelled"


def test_the_command_lists_shows_and_cancels(waiting):
    job = _defer(waiting)
    run = CliRunner(env={"TACIT_URL": waiting.url, "TACIT_TOKEN": waiting.tokens["partner"], "COLUMNS": "200"})
    listed = run.invoke(app, ["job", "list"])
    assert (listed.exit_code, job in listed.output, "queued" in listed.output) == (0, True, True)
    assert json.loads(run.invoke(app, ["job", "show", job]).output)["state"] == "queued"
    assert run.invoke(app, ["job", "cancel", job]).output == f"Job {job} is cancelled.\n"
    assert run.invoke(app, ["job", "show", "00000000-0000-7000-8000-000000000000"]).exit_code == 1
