"""The chapters in which nobody has to believe the service."""

import io
import json
from typing import Any

from demo import tables
from demo.question_chapters import QUESTION
from demo.stage import Stage
from tacit import Problem, Unreachable
from tacit.certificate import KeySet, VerificationFailed, verify

_KILLED_AFTER = 4  # pieces of 1 MiB


def verify_offline(stage: Stage) -> None:
    """Hold the answer's certificate against the pinned keys; then change it."""
    tell = stage.teller
    with tell.chapter("The certificate is verified offline, and a changed one is refused"):
        path = stage.service.folder / "certificate.json"
        path.write_text(json.dumps(stage.answers["people"].certificate), encoding="utf-8")
        pinned = KeySet.from_json(stage.key_set, source="pinned in chapter 1")
        held = verify(path.read_bytes(), pinned)
        tell.holds(
            f"a good {held.type}, held against keys {held.source}; no request was made", so=held.type == "release-certificate"
        )
        tell.holds(
            "a certificate with one digit changed is refused",
            so=_is_refused(_changed(stage.answers["people"].certificate), pinned),
        )


def kill_and_return(stage: Stage) -> None:
    """Kill the service in the middle of an upload; see that nothing was lost and nothing half done is there."""
    tell, cast, service = stage.teller, stage.cast, stage.service
    with tell.chapter("The service is killed with -9, in the middle of another upload"):
        before = _rows(stage)
        lost = _upload_until_killed(stage)
        tell.holds("the partner is told that no reply came", so=lost)
        tell.say(f"Started again: ready after {service.start():.1f} s.")
        answer = cast.analyst.client.ask(stage.ids["people"], QUESTION)
        tell.holds("the same answer, for nothing", so=answer.rows() == stage.answers["people"].rows() and answer.repeated)
        ready = [one for one in cast.north.client.list_uploads(stage.ids["people"]) if one["state"] == "ready"]
        tell.holds(
            "both first uploads are there, the broken one left nothing", so=[one["rows"] for one in ready] == [tables.PEOPLE]
        )
        tell.holds(f"{len(before):,} exported rows of both tables are byte for byte the same", so=_rows(stage) == before)
        left = cast.analyst.client.price(stage.ids["people"], QUESTION)["remaining"]["allowance"]["epsilon"]
        tell.holds(f"the budget is where it was: {left} left", so=left == "0")
        report = cast.north.client.upload(stage.ids["people"], stage.people_csv)
        tell.holds(f"and sending the file again works: {report['rows']:,} rows more", so=report["rows"] == tables.PEOPLE)


def _upload_until_killed(stage: Stage) -> bool:
    """Send the people again and kill the service on the way; say whether the client noticed."""
    file = _Killing(stage.people_csv.read_bytes(), stage)
    try:
        stage.cast.north.client.upload(stage.ids["people"], file, media_type="text/csv")
    except (Unreachable, Problem):
        return file.killed
    return False


class _Killing(io.RawIOBase):
    """A file on a slow line: after a few pieces of it, the service is killed."""

    def __init__(self, data: bytes, stage: Stage) -> None:
        super().__init__()
        self._data, self._stage, self._pieces = io.BytesIO(data), stage, 0
        self.killed = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        self._pieces += 1
        if self._pieces == _KILLED_AFTER:
            self._stage.service.kill()
            self.killed = True
        return self._data.read(size)


def _rows(stage: Stage) -> list[bytes]:
    """Return the exported rows of both tables, as the service writes them."""
    lines: list[bytes] = []
    for name in ("people", "diabetes"):
        out = io.BytesIO()
        stage.cast.owner.client.export_rows(stage.ids[name], out, purpose="to compare before and after", format="csv")
        lines += out.getvalue().splitlines()[1:]
    return lines


def _changed(certificate: dict[str, Any]) -> bytes:
    text = json.dumps(certificate)
    place = text.index('"groups"')
    digit = next(index for index in range(place, len(text)) if text[index].isdigit())
    return (text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :]).encode()


def _is_refused(document: bytes, keys: KeySet) -> bool:
    try:
        verify(document, keys)
    except VerificationFailed:
        return True
    return False
