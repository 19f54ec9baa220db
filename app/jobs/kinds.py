"""The kinds of jobs there are, by the name that stands in a job's row."""

from collections.abc import Mapping

from app.jobs.runner import Kind, Work
from app.operations.desk import Desk
from app.operations.jobs import INGEST_FILE


def ingest_file(desk: Desk, file_id: str, work: Work) -> str:
    """Make a complete file an upload; once, however often it is run."""
    from app.operations.file_ingest import ingest_file

    made = ingest_file(desk, file_id, progress=work.progress, stop=work.stop)
    return f"/v1/datasets/{made['dataset']}/uploads/{made['id']}"


KINDS: Mapping[str, Kind] = {INGEST_FILE: ingest_file}
