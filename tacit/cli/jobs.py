"""`tacit job`: look at work that goes on at the service, and cancel it."""

from typing import Annotated, Any

import typer

from tacit.cli.console import connect, new_app, out, print_json, print_table

app = new_app("Look at long work that goes on at the service, and cancel it.")
Job = Annotated[str, typer.Argument(help="Id of the job.")]


@app.command("list")
def list_jobs() -> None:
    """List your jobs; an operator sees the states of all."""
    with connect() as client:
        print_table(["job", "kind", "state", "progress", "made"], [_line(job) for job in client.list_jobs()])


@app.command()
def show(job: Job, wait: Annotated[int, typer.Option(min=0, max=60, help="Seconds to wait for its end.")] = 0) -> None:
    """Show a job as JSON."""
    with connect() as client:
        print_json(client.get_job(job, wait=wait))


@app.command()
def cancel(job: Job) -> None:
    """Cancel a job: it leaves nothing, unless it was done already."""
    with connect() as client:
        told = client.cancel_job(job)
    out.print(f"Job {told['id']} is {told['state']}{' and will stop' if told['state'] == 'running' else ''}.", markup=False)


def _line(job: dict[str, Any]) -> list[Any]:
    progress = job.get("progress") or {}
    share = f"{100 * progress['done'] // progress['total']} %" if progress.get("total") else None
    return [job.get("id"), job.get("kind"), job.get("state"), share, job.get("result")]
