"""DBOS Transact, the engine that keeps the queue: the one module that knows it (docs/decisions/0008).

What it is trusted with: that a job enqueued once is started at least once, by one worker at a time, through kill -9. What became
of a job stands in our own table; so its books hold ids and states, no argument but a job's id and no result at all.

Invariants
- JSON, never pickle. `application_version` is ours: DBOS's own is a hash of the code, and a new release would strand old jobs.
- Nothing leaves the machine: no Conductor, no telemetry; its lines go through app/log.py, which drops their text.
- DBOS is one per process: a second engine in the same process enqueues and resumes, and leaves the running to the first.
- A workflow that ends by `HandedBack` has no outcome: it stays with this worker until we, or who sees us gone, resume it.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions

from app.errors import Unavailable

VERSION = "1"  # changes only when workflows change so much that an older worker must not go on with them
SCHEMA = "tacit_jobs"  # in PostgreSQL; made by the first launch
_APPLICATION, _QUEUE, _WORKFLOW = "tacit", "jobs", "tacit.job"
_ONE_PER_PROCESS = threading.Lock()


class Engine:
    """The queue of one database, and, once launched, this process as one of its workers."""

    def __init__(self, url: str, *, worker_id: str, work: Callable[[str], None], at_once: int) -> None:
        """Prepare; nothing is opened yet. `work(job_id)` runs a job in a thread, at most `at_once` of them."""
        theirs = logging.getLogger("dbos")
        theirs.setLevel(logging.WARNING)
        if not theirs.handlers:
            theirs.addHandler(logging.NullHandler())  # else it adds one that prints to the console
        self._url, self._work, self._at_once = url, work, at_once
        self.worker_id = worker_id
        self.launched = False
        self._client = DBOSClient(
            system_database_url=url,
            dbos_system_schema=SCHEMA,
            serializer=DBOSPortableJSONSerializer(),
            application_name=_APPLICATION,
            system_database_pool_size=4,
            retry_connection_errors=False,
            lazy=True,
        )

    def launch(self) -> None:
        """Bring the engine's tables up to date and begin to work; `Unavailable` while another engine of this process works."""
        if not _ONE_PER_PROCESS.acquire(blocking=False):
            raise Unavailable("Another service of this process runs the jobs.")
        try:
            self._launch()
        except BaseException:
            DBOS.destroy(destroy_registry=True)
            _ONE_PER_PROCESS.release()
            raise
        self.launched = True

    def _launch(self) -> None:
        os.environ.pop("DBOS__CLOUD", None)  # would turn its Conductor on
        config: DBOSConfig = {
            "name": _APPLICATION,
            "system_database_url": self._url,
            "dbos_system_schema": SCHEMA,
            "application_version": VERSION,
            "executor_id": self.worker_id,
            "serializer": DBOSPortableJSONSerializer(),
            "enable_otlp": False,
            "use_listen_notify": False,
            "sys_db_pool_size": 8,
            "scheduler_polling_interval_sec": 3600.0,  # nothing is scheduled
            "log_level": "WARNING",
        }
        DBOS(config=config)
        work = self._work

        def job(job_id: str) -> None:
            work(job_id)

        DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)(job)  # turns are counted in our own table
        DBOS.launch()
        DBOS.register_queue(_QUEUE, worker_concurrency=self._at_once, polling_interval_sec=0.2, on_conflict="always_update")

    def enqueue(self, job_id: str) -> None:
        """Put a job into the queue; a job that is known already stays where it is."""
        options: EnqueueOptions = {
            "queue_name": _QUEUE,
            "workflow_name": _WORKFLOW,
            "workflow_id": job_id,
            "app_version": VERSION,
        }
        self._client.enqueue(options, job_id)

    def unknown(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that the engine never heard of."""
        if not job_ids:
            return []
        known = self._client.list_workflows(workflow_ids=list(job_ids), load_input=False, load_output=False)
        return sorted(set(job_ids) - {one.workflow_id for one in known})

    def held(self) -> dict[str, list[str]]:
        """Return the jobs that workers hold, by worker."""
        found: dict[str, list[str]] = {}
        for one in self._client.list_workflows(status="PENDING", load_input=False, load_output=False):
            found.setdefault(one.executor_id or "", []).append(one.workflow_id)
        return found

    def requeue(self, job_ids: Iterable[str]) -> None:
        """Let jobs whose worker is gone be taken by another."""
        for job_id in job_ids:
            self._client.resume_workflow(job_id, queue_name=_QUEUE)

    def close(self, *, patience: int = 0) -> None:
        """Take no more jobs, wait up to `patience` seconds for those that run, and hand back what is left."""
        if self.launched:
            DBOS.destroy(workflow_completion_timeout_sec=patience, destroy_registry=True)
            _ONE_PER_PROCESS.release()
            self.launched = False
            self.requeue(self.held().get(self.worker_id, []))
        self._client.destroy()
