"""Jobs: `/v1/jobs`, long work that was asked for with `Prefer: respond-async` or by a file sent in parts."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import CallerHere, Cursor, DeskHere, Limit, WatchHere
from app.api.problems import of_members
from app.api.routes import EdgeRoute
from app.api.watch import Watch
from app.operations import jobs
from app.operations.desk import Caller, Desk

router = APIRouter(route_class=EdgeRoute, prefix="/v1/jobs", tags=["jobs"])
STREAM_SECONDS = 900.0  # then the client connects again, as EventSource does by itself
QUIET_SECONDS = 15.0  # between two signs of life
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events `state` and `progress`, each with the job's document; the last one tells its end.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": 'id: 1\nevent: state\ndata: {"id": "…"}\n\n'}},
    }
}


@router.get("")
def list_jobs(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List the caller's jobs; the operator sees the states of all."""
    page = jobs.list_jobs(desk, caller, after=cursor, limit=limit)
    return page | {"items": [document(one) for one in page["items"]]}


@router.get("/{job}")
async def get_job(
    desk: DeskHere,
    caller: CallerHere,
    watch: WatchHere,
    job: str,
    wait: Annotated[int, Query(ge=0, le=60, description="Seconds to wait for its end.")] = 0,
) -> dict[str, Any]:
    """Return a job: state, progress in bytes, what it made or why it failed; with `wait`, as soon as it has its end."""
    seen, view = await _first(desk, caller, job)
    if wait and seen["state"] not in jobs.ENDS:
        until = time.monotonic() + wait
        with watch.seat(caller.id):
            while seen["state"] not in jobs.ENDS and (left := until - time.monotonic()) > 0 and not watch.closed:
                seen = await watch.change(job, seen, view=view, seconds=left) or (await _first(desk, caller, job))[0]
    return document(seen)


@router.get("/{job}/events", response_class=StreamingResponse, responses=_STREAM)
async def list_job_events(desk: DeskHere, caller: CallerHere, watch: WatchHere, job: str) -> StreamingResponse:
    """Stream the job's states and progress as server-sent events until its end."""
    seen, view = await _first(desk, caller, job)
    events = _events(watch, caller, job, seen, view)
    first = await anext(events)  # a seat that is not free is refused as a problem, not in the stream

    async def stream() -> AsyncIterator[bytes]:
        try:
            yield first
            async for event in events:
                yield event
        finally:
            await events.aclose()

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.post("/{job}:cancel")
def cancel_job(desk: DeskHere, caller: CallerHere, job: str) -> dict[str, Any]:
    """Cancel a job: a queued one ends, a running one stops soon and leaves nothing; one that has its end keeps it."""
    return document(jobs.cancel_job(desk, caller, job))


def document(shown: dict[str, Any]) -> dict[str, Any]:
    """Return a job's document as the API shows it: its problem is a problem document."""
    if shown.get("problem") is None:
        return shown
    return shown | {"problem": of_members(shown["problem"])}


async def _first(desk: Desk, caller: Caller, job: str) -> tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]]:
    """Return what the caller sees of the job now, and how it would see a later state."""
    seen = await run_in_threadpool(jobs.get_job, desk, caller, job)
    return seen, (dict if "progress" in seen else jobs.brief)


async def _events(
    watch: Watch, caller: Caller, job: str, seen: dict[str, Any], view: Callable[[dict[str, Any]], dict[str, Any]]
) -> AsyncGenerator[bytes]:
    until, number, state = time.monotonic() + STREAM_SECONDS, 0, None
    with watch.seat(caller.id):
        while True:
            number += 1
            name, state = "progress" if seen["state"] == state else "state", seen["state"]
            yield f"id: {number}\nevent: {name}\ndata: {json.dumps(document(seen))}\n\n".encode()
            now: dict[str, Any] | None = None
            while state not in jobs.ENDS and now is None:
                left = until - time.monotonic()
                if left <= 0 or watch.closed:
                    return
                now = await watch.change(job, seen, view=view, seconds=min(left, QUIET_SECONDS))
                if now is None:
                    yield b": still at it\n\n"
            if now is None:
                return
            seen = now
