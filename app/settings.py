"""The environment as one frozen value. Every variable is `TACIT_` and the field's name in capitals.

Read by `main` and `__main__` only; the rest of the house is handed what it needs.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator may decide. Defaults are those of a single machine with SQLite."""

    model_config = SettingsConfigDict(env_prefix="TACIT_", frozen=True, extra="ignore", hide_input_in_errors=True)

    folder: Path = Path("var")  # database, root key and spool of an embedded service
    database_url: SecretStr | None = None  # may hold a password; default: SQLite in `folder`
    root_key: SecretStr | None = None  # base64 of 32 bytes; else the file below
    root_key_file: Path | None = None  # default: `folder`/root.key, mode 0600
    root_key_source: Literal["here", "vault", "aws-kms"] = "here"  # who unwraps the root key; here: it lies there in the open
    root_key_wrapped_file: Path | None = None  # default: `folder`/root.key.wrapped; what Vault or KMS unwraps
    vault_address: str = "https://127.0.0.1:8200"  # of HashiCorp Vault or OpenBao
    vault_token: SecretStr | None = None  # may be allowed `decrypt` on the one key, and nothing else
    vault_transit_mount: str = "transit"
    vault_transit_key: str = "tacit"
    vault_ca_file: Path | None = None  # certificates to trust; default: the system's
    aws_kms_key: str = "alias/tacit"
    aws_kms_endpoint: str | None = None  # default: that of the region
    aws_region: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    max_upload_bytes: int = 2 * 2**30  # as sent
    max_decoded_bytes: int = 16 * 2**30  # after decompression, and of Arrow columns
    max_epsilon: str = "10"  # the most that one question may cost
    answer_deadline: Literal["on", "off"] = "on"  # off: replies do not wait for the plan's deadline (soundness R20)
    answers: Literal["shared", "private"] = "shared"  # private: a second analyst pays the stored answer from the allowance (R18)
    noise: Literal["opendp", "diffprivlib"] = "opendp"
    paillier_minimum_bits: int = Field(default=3072, ge=2048, le=8192)
    file_hours: float = Field(default=24.0, gt=0)  # how long a file that is sent piece by piece waits for its next byte
    stalled_upload_seconds: float = 60.0  # a body that sends nothing for so long is given up
    database_patience_seconds: float = Field(default=10.0, gt=0)  # a writer waits so long for its turn, then it is 503
    stop_seconds: int = Field(default=30, ge=1)  # what runs at SIGTERM may take so long, then it is cut
    jobs: Literal["here", "workers"] = "here"  # workers: `serve` leaves jobs to `python -m app worker`
    jobs_at_once: int = Field(default=2, ge=1, le=64)  # in one process
    worker_silence_seconds: float = Field(default=30.0, ge=1.0)  # a worker unheard of for so long is taken for dead

    # Rates count in each process for itself, quotas in the database for all; 0 switches one off.
    rate_per_second: float = Field(default=200, ge=0)  # requests of one principal; twice as many at once
    identifiers_per_hour: int = Field(default=100_000, ge=0)  # that one principal may pseudonymise
    failed_tokens_per_minute: int = Field(default=20, ge=0)  # from one address
    daily_upload_bytes: int = Field(default=100 * 2**30, ge=0)  # of one principal in 24 hours, as sent
    uploads_per_principal: int = Field(default=4, ge=0)  # at once, of the 8 that a process receives
    files_per_principal: int = Field(default=100, ge=0)  # resumable uploads that are not finished

    checkpoints: Path | None = None  # file that checkpoints of the audit log are appended to; default: `folder`/checkpoints.jsonl
    checkpoint_entries: int = Field(default=1000, ge=1)  # one is due after so many entries, or
    checkpoint_minutes: float = Field(default=10.0, gt=0)  # after so long, if there are any
    key_recovery_days: float = Field(default=30.0, gt=0)  # a deleted key can be recovered for so long, then it is destroyed

    anchor: SecretStr | None = None  # file:/path, postgresql://… (shared by several processes) or off; default: `folder`/anchor
    scrub_bytes_per_second: int = Field(default=2 * 2**20, ge=0)  # of stored data that is verified in the background; 0: none

    webhooks: Literal["public", "loopback"] = "public"  # loopback: for development, also to this machine, by http too

    backup_days: int = Field(default=0, ge=0, le=36_500)  # how long backups are kept: receipts of erasure say so; 0: unknown

    def database(self) -> str:
        """Return the database's URL."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.folder / 'tacit.db').resolve()}"

    def jobs_database(self) -> str:
        """Return the URL of the job engine's own books: a file beside an embedded database, else a schema in the same one."""
        if self.database().startswith("sqlite"):
            return f"sqlite:///{(self.folder / 'jobs.sqlite').resolve()}"
        return self.database()

    def checkpoints_path(self) -> Path:
        """Return the file that checkpoints of the audit log are appended to."""
        return self.checkpoints or self.folder / "checkpoints.jsonl"

    def anchor_place(self) -> str:
        """Return where the anchor is: `off`, `file:…`, or the URL of another PostgreSQL database."""
        if self.anchor is not None:
            return self.anchor.get_secret_value()
        return f"file:{(self.folder / 'anchor').resolve()}"

    def root_key_path(self) -> Path:
        """Return where the root key's file lies."""
        return self.root_key_file or self.folder / "root.key"

    def root_key_wrapped_path(self) -> Path:
        """Return where the root key lies as Vault or KMS wrapped it."""
        return self.root_key_wrapped_file or self.folder / "root.key.wrapped"
