"""A file sent in pieces that each stay sent: tus 1.0.0, as the service's `/v1/files` speaks it.

    POST (how long, for which dataset, how written) → PATCH … PATCH → GET until the file has become an upload

Promises
- A cut connection or a service that is started again costs the bytes on the line and nothing else: the client asks for the offset
  and goes on from there. It gives up once `patience` seconds went by in which no byte more arrived.
- A refusal is raised at once, and never asked again: only a wrong offset, another request on the same file, a rate, and a service
  that is away are waited for, with jitter, and as long as `Retry-After` says.
- The receipt is compared with what was sent: one for other bytes is `ReceiptMismatch`.
- Memory: one piece of 1 MiB.
"""

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tacit.payload import Payload, Progress
from tacit.problems import Problem, Unreachable
from tacit.transport import Call, Document, Transport, new_key, wait_before

FROM = 16 << 20  # bytes from which on a source that can be read again is sent this way by itself
PIECE = 32 << 20
WAIT = 30
TUS = {"Tus-Resumable": "1.0.0"}
_WAITED_FOR = frozenset({423, 429, 502, 503, 504})


class ReceiptMismatch(ValueError):
    """The service signed for other bytes than were sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One file on its way. `began` is told the file's id; `resume` is such an id from an earlier run."""

    transport: Transport
    dataset: str
    body: Payload
    said: Mapping[str, str]  # what goes into Upload-Metadata besides the dataset and the file's type
    key: str | None = None
    progress: Progress | None = None
    began: Callable[[str], None] | None = None
    resume: str | None = None
    patience: float = 120.0
    sleep: Callable[[float], None] = field(default=time.sleep)

    @classmethod
    def of(cls, transport: Transport, dataset: str, body: Payload, said: Mapping[str, object], **more: Any) -> "Sending":
        """Prepare to send; what is None is left unsaid. ValueError for what can be read only once."""
        if not body.rewinds:
            raise ValueError("what can be read only once can't be sent again in pieces: write it to a file first")
        stated = {name: str(value) for name, value in said.items() if value is not None}
        return cls(transport=transport, dataset=dataset, body=body, said=stated, patience=transport.patience, **more)

    def run(self) -> Document:
        """Send what is missing, wait for the end, and return the upload's reply; `Problem` if it was refused."""
        place, offset = self._begun()
        while True:
            self._send_from(place, offset)
            told = self._ended(place)
            if told["state"] != "receiving":
                break
            offset = int(told["received"])
        if told["state"] == "failed":
            raise Problem.from_reply(int(told["problem"].get("status", 422)), told["problem"], retry_after=None)
        return self._checked(Document(told["upload"]))

    def _begun(self) -> tuple[str, int]:
        if self.resume is not None:
            place = f"/v1/files/{self.resume}"
            try:
                told = self.transport.send(Call(method="GET", path=place)) or Document()
                if told["state"] != "failed":
                    return place, int(told["received"])
            except Problem as gone:
                if gone.status not in {404, 410}:
                    raise
        stated = {"dataset": self.dataset, "filetype": self.body.media_type, **self.said}
        if self.body.encoding:
            stated["encoding"] = self.body.encoding
        pairs = ",".join(f"{name} {b64encode(value.encode()).decode('ascii')}".strip() for name, value in stated.items())
        headers = {**TUS, "Upload-Length": str(self.body.size), "Upload-Metadata": pairs}
        reply = self.transport.reply(Call(method="POST", path="/v1/files", headers=headers, key=self.key or new_key()))
        place = str(reply.headers["Location"])
        if self.began is not None:
            self.began(place.rsplit("/", 1)[1])
        return place, int(reply.headers.get("Upload-Offset", 0))

    def _offset(self, place: str) -> int:
        return int(self.transport.reply(Call(method="HEAD", path=place, headers=TUS)).headers["Upload-Offset"])

    def _send_from(self, place: str, offset: int) -> None:
        size, waited, tries = self.body.size or 0, 0.0, 0
        while offset < size:
            before = offset
            try:
                offset = self._piece(place, offset)
            except (Problem, Unreachable) as broken:
                if isinstance(broken, Problem) and not _worth_waiting(broken):
                    raise
                tries += 1
                wait = wait_before(broken, tries)
                if waited + wait > self.patience:
                    raise
                self.sleep(wait)
                waited += wait
                offset = self._asked(place, offset, broken)
            if offset > before:
                waited, tries = 0.0, 0

    def _asked(self, place: str, offset: int, broken: Problem | Unreachable) -> int:
        """Return where to go on; where that can't be asked yet, as before."""
        try:
            return self._offset(place)
        except Unreachable:
            return offset
        except Problem as refused:
            if _worth_waiting(refused):
                return offset
            raise refused from broken

    def _piece(self, place: str, offset: int) -> int:
        length = min(PIECE, (self.body.size or 0) - offset)
        headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        headers["Content-Length"] = str(length)
        call = Call(
            method="PATCH",
            path=place,
            headers=headers,
            repeatable=False,
            body=lambda: self.body.pieces(self.progress, start=offset, length=length),
        )
        return int(self.transport.reply(call).headers["Upload-Offset"])

    def _ended(self, place: str) -> Document:
        """Wait until the file has come to an end, or wants more bytes."""
        call, tries, waited = Call(method="GET", path=place, params={"wait": WAIT}), 0, 0.0
        while True:
            try:
                told = self.transport.send(call) or Document()
            except (Problem, Unreachable) as broken:
                tries += 1
                wait = wait_before(broken, tries)
                if (isinstance(broken, Problem) and not _worth_waiting(broken)) or waited + wait > self.patience:
                    raise
                self.sleep(wait)
                waited += wait
                continue
            if told["state"] != "complete":
                return told
            tries, waited = 0, 0.0

    def _checked(self, reply: Document) -> Document:
        receipt = reply.get("receipt")
        if self.body.digest is None or not isinstance(receipt, Mapping) or "digest" not in receipt:
            return reply
        sent = b64decode(self.body.digest.split(":")[1]).hex()
        if not hmac.compare_digest(str(receipt["digest"]).encode(), f"sha-256:{sent}".encode()):
            raise ReceiptMismatch("the receipt is not for the bytes that were sent: was the file changed meanwhile?")
        return reply


def _worth_waiting(problem: Problem) -> bool:
    return problem.status in _WAITED_FOR or problem.code in {"wrong-offset", "request-timeout", "client-gone"}
