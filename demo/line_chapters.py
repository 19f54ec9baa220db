"""The chapters in which things go wrong on the partner's side, and the partner need not care."""

import hashlib
from typing import Any

import httpx2

from demo.foreign import Told, told_by_webhook
from demo.stage import Stage

_KILLED_AFTER = 3_000_000  # bytes that were sent


def send_over_a_bad_line(stage: Stage) -> None:
    """Send a file in pieces, kill the service on the way, and let the client go on by itself."""
    tell, partner, dataset = stage.teller, stage.cast.north.client, stage.ids["people"]
    with tell.chapter("A file is sent in pieces (tus 1.0.0); the service is killed with -9 on the way"):
        killing = _Killing(stage)
        report = partner.upload(dataset, stage.people_csv, resumable=True, mode="replace", progress=killing)
        tell.holds(f"it was killed after {killing.at / 1e6:.1f} MB; the client went on by itself", so=killing.done)
        digest = hashlib.sha256(stage.people_csv.read_bytes()).hexdigest()
        tell.holds("the signed receipt's digest is the file's", so=report["receipt"]["digest"] == f"sha-256:{digest}")
        states = sorted(one["state"] for one in partner.list_uploads(dataset))
        tell.holds(
            f"it took the place of all earlier rows: {report['rows']:,} are there", so=states == ["ready", "replaced", "replaced"]
        )


def leave_rows_out(stage: Stage) -> None:
    """Send a file with faults; have the faulty rows left out, and be told of them by place and rule."""
    tell, partner, dataset = stage.teller, stage.cast.north.client, stage.ids["diabetes"]
    with tell.chapter("Two rows are wrong; the partner asks to leave rows at fault out"):
        lines = stage.patients.as_csv().splitlines(keepends=True)
        wrong = [
            lines[1].replace(b",A,", b",?,").replace(b",B,", b",?,"),
            b"DIAB-1" + lines[2][lines[2].index(b",") : -2] + b",1,1\n",
        ]
        report = partner.upload(
            dataset, b"".join([lines[0], *wrong, *lines[3:40]]), media_type="text/csv", on_error="skip", max_rejected=10
        )
        rejected = partner.get_rejected(dataset, report["id"])["rejected"]
        tell.show("What was left out", ["row", "column", "rule"], [_place(one) for one in rejected])
        named = {member for one in rejected for member in one}
        tell.holds("it names rows, columns and rules, never a value", so=named <= {"row", "column", "rule"})
        tell.holds("they are the two", so=sorted(one["row"] for one in rejected) == [1, 2])
        tell.holds(f"the other {report['rows']} rows are there", so=report["rows"] == len(lines[3:40]))


def be_told(stage: Stage) -> None:
    """Upload without waiting; be told by a webhook."""
    tell, partner = stage.teller, stage.cast.south
    with tell.chapter("A partner does not wait: a job does it, and a signed webhook tells of its end"), Told() as receiver:
        stage.cast.owner.client.put_grant(stage.ids["diabetes"], partner.id, ["upload"])
        secret = partner.client.create_webhook(receiver.url, ["upload.ready", "upload.failed"])["secret"]
        headers = {"Authorization": f"Bearer {partner.token}", "Content-Type": "text/csv", "Prefer": "respond-async"}
        place = f"{stage.service.url}/v1/datasets/{stage.ids['diabetes']}/uploads"
        header, *rows = stage.patients.as_csv().splitlines(keepends=True)
        reply = httpx2.post(place, content=header + b"".join(rows[:50]), headers=headers, timeout=60)
        tell.holds("the reply is 202 and names a job", so=reply.status_code == httpx2.codes.ACCEPTED)
        job = partner.client.wait_job(reply.json()["id"], seconds=60)
        tell.holds(f"the job is {job['state']}", so=job["state"] == "done")
        event = told_by_webhook(receiver, secret)
        tell.holds(f"the library `standardwebhooks` verifies the message: {event['type']}", so=event["type"] == "upload.ready")


class _Killing:
    """Progress of an upload, on which the service is killed once and started again."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self.at, self.done = stage, 0, False

    def __call__(self, sent: int, _of: int | None) -> None:
        if not self.done and sent >= _KILLED_AFTER:
            self.at, self.done = sent, True
            self._stage.service.kill()
            self._stage.service.start()


def _place(one: dict[str, Any]) -> tuple[str, str, str]:
    return str(one["row"]), str(one.get("column") or "the whole row"), str(one["rule"])
