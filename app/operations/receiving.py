"""The uploads that this process is receiving at the moment, and the claims they came under: what its heartbeat speaks for (I15).

Safe to use from any thread. It dies with the process, and that is the point: nobody renews the leases of a dead one.
"""

import threading

Kept = tuple[str, str]  # where a claim stands: principal, digest of the Idempotency-Key


class Receiving:
    """Uploads by id."""

    __slots__ = ("_lock", "_uploads")

    def __init__(self) -> None:
        """Start with none."""
        self._uploads: dict[str, Kept | None] = {}
        self._lock = threading.Lock()

    def take(self, upload_id: str, claim: Kept | None) -> None:
        """Note that the upload is being received here."""
        with self._lock:
            self._uploads[upload_id] = claim

    def let_go(self, upload_id: str) -> None:
        """Note that it no longer is."""
        with self._lock:
            self._uploads.pop(upload_id, None)

    def uploads(self) -> dict[str, Kept | None]:
        """Return what is being received here."""
        with self._lock:
            return dict(self._uploads)

    def __repr__(self) -> str:
        return f"Receiving({len(self.uploads())})"
