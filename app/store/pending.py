"""What waits to be done, as tables: files on their way in, jobs and who runs them, events to be told. `tables` names them all."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Authenticated, Id, Table


class File(Authenticated, Table):
    """A file on its way in, in sealed frames until it is an upload: sent in parts, or waiting for a job."""

    __tablename__ = "files"
    __table_args__ = (sa.CheckConstraint("received >= 0 AND frames >= 0 AND parts >= 0", name="not_negative"),)
    moving = frozenset({"length", "received", "frames", "parts", "state", "lease_id", "lease_until", "expires_at", "reply"})
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id)
    dataset_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    principal_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"), index=True)
    upload_id: Mapped[str] = mapped_column(Id)  # the upload that it becomes: known beforehand, so that it becomes one once
    form: Mapped[str] = mapped_column(sa.Text)  # JSON: how the file is written and what is to become of it
    data_key_id: Mapped[str] = mapped_column(Id)
    wrapped: Mapped[bytes]
    length: Mapped[int | None]  # as promised; None where the end is not known yet
    received: Mapped[int] = mapped_column(default=0)  # bytes in committed frames: the offset to go on from
    frames: Mapped[int] = mapped_column(default=0)
    parts: Mapped[int] = mapped_column(default=0)  # requests that brought bytes
    state: Mapped[str]  # receiving, complete, ready, failed
    lease_id: Mapped[str | None] = mapped_column(Id)  # of the request that is bringing bytes, or of the worker that reads them
    lease_until: Mapped[datetime | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    reply: Mapped[str | None] = mapped_column(sa.Text)  # JSON: a problem document's members, where it could not become an upload
    created_at: Mapped[datetime]


class FileFrame(Table):
    """At most 1 MiB of a file, sealed."""

    __tablename__ = "file_frames"
    file_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("files.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    part: Mapped[int]
    last: Mapped[bool]
    sealed: Mapped[bytes]


class Job(Authenticated, Table):
    """Long work that was asked for: ids only. The engine keeps its own books; this row says who may look and what came of it."""

    __tablename__ = "jobs"
    moving = frozenset({"state", "attempts", "done", "total", "result", "problem", "cancelled", "started_at", "finished_at"})
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id, index=True)
    principal_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"), index=True)
    kind: Mapped[str]
    subject_id: Mapped[str] = mapped_column(Id, index=True)  # what it works on: a file
    state: Mapped[str]  # receiving (not acknowledged yet, and seen by nobody), queued, running, done, failed, cancelled
    attempts: Mapped[int] = mapped_column(default=0)  # turns begun; a worker whose turn is not the newest writes nothing
    done: Mapped[int] = mapped_column(default=0)  # progress, where it tells nothing about people
    total: Mapped[int | None]
    cancelled: Mapped[bool] = mapped_column(default=False)  # asked to stop; heeded at the next step
    result: Mapped[str | None] = mapped_column(sa.Text)  # path of what it made
    problem: Mapped[str | None] = mapped_column(sa.Text)  # JSON: members of a problem document
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Worker(Table):
    """A process that runs jobs, and when it was last heard of."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    seen_at: Mapped[datetime]


class Webhook(Authenticated, Table):
    """Where a principal wants to be told of events; its secrets are sealed."""

    __tablename__ = "webhooks"
    moving = frozenset({"state"})
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id, index=True)
    principal_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"), index=True)
    url: Mapped[str] = mapped_column(sa.Text)
    events: Mapped[str] = mapped_column(sa.Text)  # JSON: names of events
    secret: Mapped[bytes]
    earlier_secret: Mapped[bytes | None]  # signs as well until `earlier_until`
    earlier_until: Mapped[datetime | None]
    state: Mapped[str]  # active, failing, gone
    created_at: Mapped[datetime]


class Delivery(Authenticated, Table):
    """One event for one webhook, under an id that all tries share. It is sent signed, so it is believed only with its MAC."""

    __tablename__ = "deliveries"
    __table_args__ = (sa.Index("ix_deliveries_state_due_at", "state", "due_at"),)
    moving = frozenset({"state", "tries", "due_at", "lease_until", "last_status", "delivered_at"})
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    event: Mapped[str]
    body: Mapped[str] = mapped_column(sa.Text)
    state: Mapped[str]  # waiting, delivered, given-up
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    last_status: Mapped[int | None]
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
