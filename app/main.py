"""Builds the service: the only place that sees everything.

`create_app(settings)` opens the database, the keys and the noise, and hands them to the operations as one `Desk`; imports of the
heavy libraries wait for the first request that needs them, so that the process is ready within two seconds.
"""

import functools
import logging
import os
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from pydantic import SecretStr

from app.clock import Clock, SystemClock
from app.crypto.keyring import Keyring
from app.crypto.signing import Signer
from app.errors import Fault, Sealed, TacitError, Unavailable
from app.jobs.kinds import KINDS
from app.jobs.port import Jobs
from app.jobs.runner import Kind
from app.noise.sampler import Sampler, source
from app.operations import anchoring, keychain
from app.operations.anchors import Anchors
from app.operations.authority import AUTHORITY
from app.operations.desk import Desk, Rules
from app.outside.addresses import Reach
from app.outside.anchor_table import TableAnchor
from app.outside.anchors import Anchor, FileSeen, open_file
from app.outside.checkpoint_file import CheckpointFile
from app.outside.key_sources import GivenKey, KeyFile, KeySource, KmsKey, TransitKey
from app.outside.webhooks import Sender
from app.settings import Settings
from app.store import schema
from app.store.engine import Database
from app.table.apart.parsers import Parsers

if TYPE_CHECKING:
    from app.api.sealed import Door

Furnished = tuple[Desk, Jobs]
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0  # seconds between two tries to get the root key
_LOG = logging.getLogger("app.start")
_T = TypeVar("_T")
THREADS = 100  # of operations: more than writers may wait (store/engine.py), so that reading goes on while they do


def create_app(
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    parsers: Parsers | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> FastAPI:
    """Return the service, ready to be served; `parsers` that are handed in stay the caller's to close.

    `kinds` of jobs are those of the house unless others are given.
    """
    from app.api.application import build
    from app.api.body_stream import UPLOADS_AT_ONCE
    from app.api.rates import Rates
    from app.api.sealed import Door

    settings, clock, door = settings or Settings(), clock or SystemClock(), Door()
    ours = parsers is None

    def opened() -> Furnished:
        desk = open_desk(settings, clock=clock, parsers=parsers)
        return desk, open_jobs(settings, desk, kinds=kinds)

    furniture: Furnished | None = None
    try:
        furniture = opened()
    except Sealed as why:
        door.shut(why, again_in=FIRST_PAUSE)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        if furniture is not None:
            with _at_work(*furniture, parsers=ours, scrubbing=settings.scrub_bytes_per_second):
                yield
            return
        with _unsealing(app, door, opened, parsers=ours, scrubbing=settings.scrub_bytes_per_second):
            yield

    rates = Rates.of(
        requests_per_second=settings.rate_per_second,
        identifiers_per_hour=settings.identifiers_per_hour,
        failures_per_minute=settings.failed_tokens_per_minute,
    )
    each = settings.uploads_per_principal or UPLOADS_AT_ONCE
    stalled = settings.stalled_upload_seconds
    desk, jobs = furniture or (None, None)
    return build(desk, lifespan=lifespan, stalled_after=stalled, rates=rates, uploads_each=each, work=jobs, door=door)


@contextmanager
def _at_work(desk: Desk, jobs: Jobs, *, parsers: bool, scrubbing: int) -> Iterator[None]:
    """Do what a service does beside answering, for the time of a block; then close what was opened."""
    from app.operations import checkpoints, deliveries, erase, files, janitor, scrub

    try:
        if not anchoring.is_stopped(desk):
            janitor.sweep(desk, alone=desk.database.embedded)
            files.sweep(desk, alone=desk.database.embedded)
            erase.sweep(desk, alone=desk.database.embedded)
        desk.parsers.start()
        swept, scrubbed = janitor.at_work(desk, also=lambda: _sweep(desk)), scrub.at_work(desk, bytes_per_second=scrubbing)
        with swept, deliveries.at_work(desk), checkpoints.at_work(desk), scrubbed:
            jobs.launch()
            yield
            jobs.shutdown()
    finally:
        close_desk(desk, parsers=parsers)


@contextmanager
def _unsealing(app: FastAPI, door: "Door", opened: Callable[[], Furnished], *, parsers: bool, scrubbing: int) -> Iterator[None]:
    """Try to open what a sealed service needs, in a thread of its own, and let everybody in once it is there."""
    from app.api.application import furnish

    stop = threading.Event()

    def unseal() -> None:
        while (furniture := patiently(opened, stop, tell=lambda why, pause: door.shut(why, again_in=pause))) is not None:
            try:
                with _at_work(*furniture, parsers=parsers, scrubbing=scrubbing):
                    furnish(app, *furniture)
                    door.open()
                    _LOG.info("unsealed")
                    stop.wait()
            except TacitError:  # the database went away just then: all of it again
                _LOG.warning("sealed", extra={"code": "database-unavailable"})
                stop.wait(FIRST_PAUSE)

    thread = threading.Thread(target=unseal, name="tacit-unseal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def patiently(
    opened: Callable[[], _T], stop: threading.Event, *, tell: Callable[[Sealed, float], None] = lambda *_: None
) -> _T | None:
    """Return what could be opened in the end; None when told to stop. The log says by a rule what is missing, never a value."""
    pause = FIRST_PAUSE
    while not stop.is_set():
        try:
            return opened()
        except Sealed as why:
            missing = why
        except Unavailable:
            missing = Sealed("The database does not answer.", faults=[Fault("database-unavailable")])
        tell(missing, pause)
        _LOG.warning("sealed", extra={"code": missing.faults[0].rule if missing.faults else missing.code})
        stop.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return None


def open_jobs(settings: Settings, desk: Desk, *, kinds: Mapping[str, Kind] | None = None, works_here: bool | None = None) -> Jobs:
    """Return the jobs of the desk's database; nothing runs before they are launched."""
    return Jobs(
        desk,
        url=settings.jobs_database(),
        kinds=KINDS if kinds is None else kinds,
        works_here=settings.jobs == "here" if works_here is None else works_here,
        silence=settings.worker_silence_seconds,
        at_once=settings.jobs_at_once,
    )


def work(settings: Settings, stop: threading.Event, *, kinds: Mapping[str, Kind] | None = None) -> None:
    """Run jobs in this process until `stop` is set; then let running ones end, or hand them back."""
    from app.operations import checkpoints, janitor, scrub

    try:
        desk = open_desk(settings, clock=SystemClock())
    except Sealed:
        later = patiently(lambda: open_desk(settings, clock=SystemClock()), stop)
        if later is None:
            return
        desk = later
    jobs = open_jobs(settings, desk, kinds=kinds, works_here=True)
    desk.parsers.start()
    swept, scrubbed = janitor.at_work(desk, also=lambda: _sweep(desk)), scrub.at_work(desk, bytes_per_second=0)
    with swept, checkpoints.at_work(desk), scrubbed:
        jobs.launch(at_once=True)
        stop.wait()
        jobs.shutdown()
    close_desk(desk)


def _sweep(desk: Desk) -> None:
    from app.operations import erase, file_jobs, files, named_keys, retention

    files.sweep(desk, alone=False)
    file_jobs.sweep(desk)
    erase.sweep(desk, alone=False)
    retention.sweep(desk)
    named_keys.destroy_deleted(desk)


def open_desk(settings: Settings, *, clock: Clock, parsers: Parsers | None = None, anchored: bool = True) -> Desk:
    """Open database, keys and anchor; `Sealed` or `Unavailable` say what to do when something is missing.

    `anchored`: not for commands that run beside a service, which holds the anchor's file; what they write it anchors later.
    """
    if settings.checkpoints is not None and not settings.checkpoints.parent.is_dir():
        raise Unavailable("The folder that TACIT_CHECKPOINTS names a file in does not exist: make it, or name another file.")
    with ExitStack() as if_refused:
        database = Database(settings.database(), patience=settings.database_patience_seconds)
        if_refused.callback(database.close)
        schema.check_revision(database)
        keyring = Keyring(read_root_key(settings))
        keychain.load(database, keyring)
        keychain.lay_missing(database, keyring, clock)
        anchor = open_anchor(settings, held=anchored)
        if anchor is not None:
            if_refused.callback(anchor.close)
        anchors = Anchors(anchor, keyring.purpose_key(AUTHORITY, organisation=keychain.SYSTEM, scope=""))
        desk = desk_over(settings, database, keyring, clock, parsers=parsers, anchors=anchors)
        if anchored:
            anchoring.start(desk)
        if_refused.pop_all()
    return desk


def open_anchor(settings: Settings, *, held: bool = True) -> Anchor | None:
    """Return the anchor that the settings name; None for `off`. Not `held`: only looked at, where it is a file."""
    place = settings.anchor_place()
    if place == "off":
        return None
    if place.startswith("file:"):
        path = Path(re.sub(r"^file:(//)?", "", place))
        return open_file(path) if held else FileSeen(path)
    if place.startswith(("postgresql://", "postgres://")) and place != settings.database():
        return TableAnchor(place)
    raise Unavailable("TACIT_ANCHOR is file:/path, postgresql://… of another database than the service's own, or off.")


def desk_over(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    clock: Clock,
    *,
    parsers: Parsers | None = None,
    anchors: Anchors | None = None,
) -> Desk:
    """Lay everything on the desk."""
    spool = settings.folder / "spool" if database.embedded else Path(tempfile.gettempdir()) / f"tacit-spool-{os.getuid()}"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Desk(
        database=database,
        keyring=keyring,
        signer=Signer(keyring.purpose_key("signing", organisation=keychain.SYSTEM, scope="")),
        clock=clock,
        sampler=functools.partial(_sampler, settings.noise),
        rules=Rules(
            max_upload_bytes=settings.max_upload_bytes,
            max_decoded_bytes=settings.max_decoded_bytes,
            max_epsilon=Fraction(settings.max_epsilon),
            wait_for_deadline=settings.answer_deadline == "on",
            shared_answers=settings.answers == "shared",
            paillier_minimum_bits=settings.paillier_minimum_bits,
            daily_upload_bytes=settings.daily_upload_bytes,
            uploads_per_principal=settings.uploads_per_principal,
            files_per_principal=settings.files_per_principal,
            file_kept=timedelta(hours=settings.file_hours),
            checkpoint_entries=settings.checkpoint_entries,
            checkpoint_every=timedelta(minutes=settings.checkpoint_minutes),
            backups_kept=timedelta(days=settings.backup_days) if settings.backup_days else None,
            key_recovery=timedelta(days=settings.key_recovery_days),
        ),
        spool_folder=spool,
        sender=Sender(reach=Reach(settings.webhooks)),
        workers=ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2), thread_name_prefix="tacit-worker"),
        parsers=parsers or Parsers(),
        checkpoints=CheckpointFile(settings.checkpoints_path()),
        anchors=anchors or Anchors(),
    )


def close_desk(desk: Desk, *, parsers: bool = True) -> None:
    """Let running work end and close the database; `parsers`: end the processes that parse, too."""
    if parsers:
        desk.parsers.close()
    desk.workers.shutdown(wait=True)
    desk.anchors.close()
    desk.database.close()


def read_root_key(settings: Settings) -> bytes:
    """Return the root key from where it is kept."""
    return key_source(settings).read()


def key_source(settings: Settings) -> KeySource:
    """Return what knows the root key: Vault or KMS where they are chosen, else the environment, else its file."""
    if settings.root_key_source == "vault":
        token = settings.vault_token or SecretStr("")
        return TransitKey(
            address=settings.vault_address,
            token=token.get_secret_value,
            wrapped=settings.root_key_wrapped_path(),
            mount=settings.vault_transit_mount,
            key=settings.vault_transit_key,
            authorities=settings.vault_ca_file,
        )
    if settings.root_key_source == "aws-kms":
        wrapped = settings.root_key_wrapped_path()
        return KmsKey(
            key_id=settings.aws_kms_key, wrapped=wrapped, region=settings.aws_region, endpoint=settings.aws_kms_endpoint
        )
    return KeyFile(settings.root_key_path()) if settings.root_key is None else GivenKey(settings.root_key.get_secret_value)


@functools.lru_cache(maxsize=2)
def _sampler(name: Literal["opendp", "diffprivlib"]) -> Sampler:
    return source(name)
