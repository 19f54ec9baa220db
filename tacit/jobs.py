"""Jobs: long work that goes on at the service without a connection."""

import time
from collections.abc import Iterator

from tacit.calls import Caller, path
from tacit.transport import Document

ENDS = frozenset({"done", "failed", "cancelled"})
_LONGEST = 30  # seconds of one poll: proxies cut connections that are silent for a minute


class Jobs(Caller):
    """What a caller may ask of jobs; `Client` is one of these."""

    def get_job(self, job: str, *, wait: int = 0) -> Document:
        """Return a job: state, progress in bytes, what it made or why it failed; `wait` up to 60 seconds for its end."""
        return self._get(path("/v1/jobs", job), {"wait": wait or None})

    def list_jobs(self) -> Iterator[Document]:
        """Yield the caller's jobs; an operator sees the states of all."""
        return self._pages("/v1/jobs")

    def wait_job(self, job: str, *, seconds: float | None = None) -> Document:
        """Return a job once it has its end; TimeoutError after `seconds`, where they are given."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = _LONGEST if until is None else until - time.monotonic()
            told = self.get_job(job, wait=max(0, min(_LONGEST, int(left))))
            if told["state"] in ENDS:
                return told
            if left <= 0:
                raise TimeoutError(f"the job is {told['state']} still")

    def cancel_job(self, job: str) -> Document:
        """Cancel a job: it leaves nothing, unless it was done already."""
        return self._verb(path("/v1/jobs", job) + ":cancel", {})
