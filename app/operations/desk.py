"""What an operation is given: the database, the keys, the clock, the noise; and who is asking.

`main` builds one `Desk`; nothing here is global. A `Caller` is what a verified token says.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from threading import BoundedSemaphore, Event

from app.clock import Clock
from app.crypto.keyring import Keyring
from app.crypto.signing import Signer
from app.noise.sampler import Sampler
from app.operations.anchors import Anchors
from app.operations.receiving import Receiving
from app.operations.remembered import Remembered
from app.outside.addresses import Reach
from app.outside.checkpoint_file import CheckpointFile
from app.outside.webhooks import Sender
from app.store.engine import Database
from app.table.apart.parsers import Parsers

OPERATOR, OWNER, PARTNER, ANALYST, SERVICE, AUDITOR = "operator", "owner", "partner", "analyst", "service", "auditor"
ROLES = (OPERATOR, OWNER, PARTNER, ANALYST, SERVICE, AUDITOR)


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's decisions that operations follow."""

    max_upload_bytes: int
    max_decoded_bytes: int
    max_epsilon: Fraction
    wait_for_deadline: bool
    shared_answers: bool
    paillier_minimum_bits: int
    daily_upload_bytes: int = 0  # quotas of one principal; 0: none (operations/quotas.py)
    uploads_per_principal: int = 0
    files_per_principal: int = 0
    key_recovery: timedelta = timedelta(days=30)  # in which a deleted key can be recovered
    file_kept: timedelta = timedelta(hours=24)  # after the last byte of a file that is sent piece by piece
    checkpoint_entries: int = (
        1000  # of an organisation's audit log: so many new ones, or so much time (operations/checkpoints.py)
    )
    checkpoint_every: timedelta = timedelta(minutes=10)
    backups_kept: timedelta | None = None  # by the operator, as receipts of erasure say (soundness R33); None: unknown


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything an operation may use."""

    database: Database
    keyring: Keyring = field(repr=False)
    signer: Signer = field(repr=False)
    clock: Clock
    sampler: Callable[[], Sampler]  # loaded at the first question: the noise library takes its time
    rules: Rules
    spool_folder: Path
    workers: Executor  # seals row groups, computes answers
    receiving: Receiving = field(default_factory=Receiving)
    parsers: Parsers = field(default_factory=Parsers)  # reads what was sent, in processes apart
    sender: Sender = field(default_factory=lambda: Sender(reach=Reach.PUBLIC))
    checkpoints: CheckpointFile | None = None  # where checkpoints of the audit log go outside the database
    large: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(1))  # whoever counts a whole table: one at a time
    remembered: Remembered = field(default_factory=Remembered)  # who asks (operations/standing.py)
    anchors: Anchors = field(default_factory=Anchors)  # what the database had come to, outside it
    outbox: Event = field(default_factory=Event)  # set when an event was committed here: whoever delivers looks at once


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal whose token was verified."""

    id: str
    organisation: str
    name: str
    role: str
    scopes: frozenset[str]
    may_create_populations: bool
    expires_at: datetime | None = None
