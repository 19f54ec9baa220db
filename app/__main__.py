"""The operator's commands: `python -m app init | serve | worker | migrate | rotate | token | …`; `--help` lists them.

Also `verify | acknowledge | backup | restore`, for a store that was damaged, rolled back or moved.
What shows a secret shows it once, on standard output; everything else speaks on standard error.
"""

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from app import log
from app.clock import SystemClock
from app.crypto import root_key
from app.crypto.aead import new_key
from app.crypto.keyring import Keyring
from app.errors import Sealed, TacitError
from app.main import close_desk, create_app, desk_over, open_desk, read_root_key, work
from app.operations import backups, checking, keychain, principals, purposes, replay, rotate, system, verification
from app.operations.desk import Desk
from app.operations.tombstones import Tombstone
from app.outside.checkpoint_file import CheckpointFile
from app.settings import Settings
from app.store import audit as store_audit
from app.store import grants, schema
from app.store.engine import Database

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
checks = typer.Typer(no_args_is_help=True, help="The audit log.")
cli.add_typer(checks, name="audit")


@cli.command()
def init(
    organisation: Annotated[str, typer.Option(help="Name of the first organisation.")] = "default",
    operator: Annotated[str, typer.Option(help="Name of its operator.")] = "operator",
) -> None:
    """Make root key, tables, keys and the first operator; print the operator's token, once."""
    settings = Settings()
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.root_key_source == "here" and settings.root_key is None and not settings.root_key_path().exists():
        root_key.create_root_key_file(settings.root_key_path())
        print(f"root key: {settings.root_key_path()} (keep a copy apart from the database)", file=sys.stderr)
    database, keyring = Database(settings.database()), Keyring(read_root_key(settings))
    schema.migrate(database)
    try:
        keychain.load(database, keyring)
    except Sealed as missing:
        if [fault.rule for fault in missing.faults] != [keychain.NOT_INITIALISED]:
            raise
        with database.write() as tx:
            keychain.lay(tx, keyring, SystemClock())
    _found(settings, database, keyring, organisation, operator)


@cli.command("organisation")
def new_organisation(name: str, operator: Annotated[str, typer.Option()] = "operator") -> None:
    """Make another organisation with its operator; print the operator's token, once."""
    settings = Settings()
    database, keyring = Database(settings.database()), Keyring(read_root_key(settings))
    keychain.load(database, keyring)
    _found(settings, database, keyring, name, operator)


@cli.command()
def token(organisation: str, operator: str = "operator") -> None:
    """Make a new token for an operator who lost the last one; print it, once."""
    desk = open_desk(Settings(), clock=SystemClock(), anchored=False)
    with desk.database.write() as tx:
        home = grants.organisation_named(tx, organisation)
        found = None if home is None else grants.principal_named(tx, home.id, operator)
        if found is None or found.role != "operator":
            raise typer.BadParameter("There is no such operator.")
        made = principals.add_token(desk, tx, found, scopes=[])
    print(made.reveal())
    close_desk(desk)


@cli.command()
def migrate(revision: str = "head") -> None:
    """Bring the database to this version's tables."""
    database = Database(Settings().database())
    schema.migrate(database, revision)
    print("The database is up to date." if revision == "head" else f"The database stands at {revision}.", file=sys.stderr)


@cli.command("rotate")
def rotate_keys(
    organisation: Annotated[str | None, typer.Option(help="Name of one organisation; all and the system's without it.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be done, and change nothing.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for uploads that began before.")] = 60.0,
    destroy_retired: Annotated[bool, typer.Option("--destroy-retired", help="Destroy old keys that nothing names.")] = False,
    purpose: Annotated[str | None, typer.Option(help="Make a new version of: signing, pepper, answers or webhooks.")] = None,
    root: Annotated[bool, typer.Option("--root", help="Replace the root key; keys below it stay.")] = False,
    new_root_key_file: Annotated[Path | None, typer.Option(help="With --root: where it is; it is made if absent.")] = None,
) -> None:
    """Replace keys while the service runs; broken off, the same command goes on."""
    if root != (new_root_key_file is not None):
        raise typer.BadParameter("--root and --new-root-key-file go together.")
    desk = open_desk(Settings(), clock=SystemClock(), anchored=False)
    if purpose is not None:
        act = purposes.end_earlier if destroy_retired else purposes.rotate_purpose
        said, ended = act(desk, purpose, dry_run=dry_run), True
    elif new_root_key_file is not None:
        said, ended = _rotate_root(desk, new_root_key_file, dry_run=dry_run), True
    else:
        homes = rotate.organisations(desk, organisation)
        said = {name: _rotate(desk, one, name, dry_run, destroy_retired, wait) for one, name in homes}
        ended = not any(one.get("uploads_under_way") or one.get("still_named") for one in said.values())
    close_desk(desk)
    print(json.dumps(said))
    raise typer.Exit(0 if ended else 2)


def _rotate(desk: Desk, organisation: str, name: str, dry_run: bool, destroy: bool, wait: float) -> dict[str, Any]:  # noqa: FBT001  one call above
    if destroy:
        return {} if dry_run else rotate.destroy_retired(desk, organisation)
    if dry_run:
        return {"would_rewrap": rotate.due(desk, organisation)}
    return rotate.rotate(
        desk, organisation, patience=wait, tell=lambda done, of: print(f"{name}: {done} of {of} keys", file=sys.stderr)
    )


def _rotate_root(desk: Desk, path: Path, *, dry_run: bool) -> dict[str, Any]:
    if not path.exists() and not dry_run:
        root_key.create_root_key_file(path)
    new = root_key.read_root_key_file(path) if path.exists() else new_key()
    count = rotate.rotate_root(desk, new, dry_run=dry_run)
    if not dry_run:
        print(
            "Every key hangs under the new root key now. Start each service with it (running ones go on until then), keep a copy"
            " apart from the database, then destroy the old one: with it, older backups still open.",
            file=sys.stderr,
        )
    return {"keys_under_the_root": count, "changed": not dry_run}


@cli.command()
def serve() -> None:
    """Serve the API on TACIT_HOST and TACIT_PORT until told to stop; SIGTERM drains."""
    import uvicorn

    from app.api.connection import serving

    settings = Settings()
    log.configure(sys.stderr, level=settings.log_level)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn drains, then raises the signal again: it ended well
    place = {"host": settings.host, "port": settings.port}
    uvicorn.run(create_app(settings), **serving(**place, timeout_graceful_shutdown=settings.stop_seconds))


@cli.command()
def worker() -> None:
    """Run jobs beside services over the same PostgreSQL until told to stop; SIGTERM drains."""
    settings = Settings()
    log.configure(sys.stderr, level=settings.log_level)
    if settings.database().startswith("sqlite"):
        raise Sealed("With SQLite the service runs its jobs itself; workers need PostgreSQL: set TACIT_DATABASE_URL.")
    stop = threading.Event()
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, lambda *_: stop.set())
    work(settings, stop)


@cli.command()
def openapi(path: Annotated[Path | None, typer.Argument(help="Where to write; standard output without it.")] = None) -> None:
    """Write the OpenAPI document."""
    from app.api.application import document

    text = document()
    if path is None:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")


@cli.command()
def tombstones() -> None:
    """Print the tombstones of everybody who was erased, a JSON object a line: to keep apart from the database, as a backup is."""
    desk = open_desk(Settings(), clock=SystemClock())
    for one in replay.all_tombstones(desk):
        print(json.dumps(one.as_json()))
    close_desk(desk)


@cli.command("replay-tombstones")
def replay_tombstones(file: Annotated[Path, typer.Argument(help="What `tombstones` printed.", exists=True)]) -> None:
    """Erase again, from a restored database that does not serve yet, whoever was erased since; exit with 1 if some are left."""
    desk = open_desk(Settings(), clock=SystemClock())
    lines = file.read_text(encoding="utf-8").splitlines()
    stones = [Tombstone.from_json(json.loads(line)) for line in lines if line.strip()]
    left = replay.replay_tombstones(desk, stones)
    close_desk(desk)
    print(json.dumps({"tombstones": len(stones), "not_compared": [one.id for one in left]}))
    raise typer.Exit(1 if left else 0)


@checks.command("verify")
def verify_audit(
    organisation: Annotated[str | None, typer.Option(help="Only this organisation.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Checkpoints kept outside; TACIT_CHECKPOINTS without it.")] = None,
) -> None:
    """Check audit logs and ledgers by MACs, digests and checkpoints; name the first bad entry, cut off ones too."""
    settings = Settings()
    if checkpoints is not None and not checkpoints.exists():
        raise typer.BadParameter("There is no such file of checkpoints.")
    desk = open_desk(settings, clock=SystemClock(), anchored=False)
    with desk.database.read() as tx:
        homes = [one for one in store_audit.organisations(tx) if organisation in {None, one.name}]
    if not homes:
        raise typer.BadParameter("There is no such organisation.")
    outside = CheckpointFile(checkpoints or settings.checkpoints_path())
    verdicts = [checking.verdict(desk, home, outside=outside.lines()) for home in homes]
    close_desk(desk)
    for verdict in verdicts:
        print(json.dumps(verdict))
    raise typer.Exit(0 if all(verdict["why"] is None for verdict in verdicts) else 1)


@cli.command()
def verify() -> None:
    """Check everything that is stored, also beside a service; close what is damaged; print what was found, and exit with 1."""
    desk = open_desk(Settings(), clock=SystemClock(), anchored=False)
    report = verification.verify(desk, say=lambda text: print(text, file=sys.stderr))
    close_desk(desk)
    print(json.dumps({"checked": report.checked, "bad": [one.as_json() for one in report.findings]}))
    raise typer.Exit(1 if report.findings else 0)


@cli.command()
def acknowledge(
    reason: Annotated[str, typer.Option(help="Why, for the audit log and the ledger.")],
    organisation: Annotated[str, typer.Option(help="Whose operator acknowledges.")] = "default",
    operator: Annotated[str, typer.Option()] = "operator",
    dataset: Annotated[str | None, typer.Option(help="Lift this dataset's quarantine instead.")] = None,
    in_spite: Annotated[bool, typer.Option("--in-spite", help="Though it does not verify.")] = False,
) -> None:
    """Let answers go on after a rollback; not beside a service that holds the anchor's file (POST /v1/system:acknowledge)."""
    desk = open_desk(Settings(), clock=SystemClock())
    with desk.database.read() as tx:
        home = grants.organisation_named(tx, organisation)
        found = None if home is None else grants.principal_named(tx, home.id, operator)
    if found is None:
        raise typer.BadParameter("There is no such operator.")
    caller = principals.acting(desk, found.id)
    print(json.dumps(system.acknowledge(desk, caller, reason=reason, dataset_id=dataset, in_spite=in_spite)))
    close_desk(desk)


@cli.command()
def backup(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Write the whole database into a folder, also beside a service. It holds no root key: keep that apart."""
    desk = open_desk(Settings(), clock=SystemClock(), anchored=False)
    manifest = backups.backup(desk, folder)
    close_desk(desk)
    print(json.dumps(manifest))
    print(f"The backup holds no root key; it opens only with {manifest['root_key']}. Keep a copy of that apart.", file=sys.stderr)


@cli.command()
def restore(folder: Annotated[Path, typer.Argument(help="What `backup` wrote.")]) -> None:
    """Put a backup into an empty database, SQLite or PostgreSQL, after checking it; answers wait for `acknowledge`."""
    settings = Settings()
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    manifest = backups.restore(folder, url=settings.database(), root_key=read_root_key(settings), workplace=settings.folder)
    print(json.dumps(manifest))
    print("Restored. Start the service; it answers nothing until an operator acknowledges the rollback.", file=sys.stderr)


def _found(settings: Settings, database: Database, keyring: Keyring, organisation: str, operator: str) -> None:
    desk = desk_over(settings, database, keyring, SystemClock())
    _, made = principals.found_organisation(desk, name=organisation, operator=operator)
    print(made.reveal())
    close_desk(desk)


def main() -> None:
    """Run a command; a refusal is one sentence on standard error and exit code 1."""
    try:
        cli()
    except TacitError as refused:
        print(refused.detail, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
