"""Every table, as the migrations make them (docs/data-model.md draws them).

Invariants
- Money for privacy is an integer number of 10⁻⁹ (`BigInteger`), never null, never a float (design §5).
- Rows that give rights or fix a guarantee are `Authenticated` (app/store/base.py).
- Nothing here is readable that came from a person's row: `sealed` columns hold sealed bytes only.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Authenticated, Id, Table
from app.store.checkpoints import Checkpoint as Checkpoint
from app.store.closed import QuarantinedDataset as QuarantinedDataset
from app.store.closed import StoreState as StoreState
from app.store.erased import Erasure as Erasure
from app.store.pending import Delivery as Delivery
from app.store.pending import File as File
from app.store.pending import FileFrame as FileFrame
from app.store.pending import Job as Job
from app.store.pending import Webhook as Webhook
from app.store.pending import Worker as Worker


class Organisation(Table):
    """What everything belongs to."""

    __tablename__ = "organisations"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]


class KeyEncryptionKey(Table):
    """A KEK of one organisation (or of the system), wrapped by the root key."""

    __tablename__ = "key_encryption_keys"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id, index=True)
    wrapped: Mapped[bytes]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]  # since when a newer one wraps everything in its place; told, never relied on


class PurposeKey(Table):
    """A durable key for one purpose, random, wrapped, versioned (soundness R24)."""

    __tablename__ = "purpose_keys"
    organisation_id: Mapped[str] = mapped_column(Id, primary_key=True)
    purpose: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kek_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("key_encryption_keys.id"))
    wrapped: Mapped[bytes]
    created_at: Mapped[datetime]


class Principal(Authenticated, Table):
    """Somebody who may call: one role in one organisation."""

    __tablename__ = "principals"
    __table_args__ = (sa.UniqueConstraint("organisation_id", "name"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("organisations.id"))
    name: Mapped[str]
    role: Mapped[str]
    may_create_populations: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime]
    disabled: Mapped[bool] = mapped_column(default=False)


class Token(Table):
    """A bearer token; `verifier` is the HMAC of soundness R26, bound to every other column."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    principal_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"), index=True)
    role: Mapped[str]
    scopes: Mapped[str]
    expires_at: Mapped[datetime | None]
    verifier: Mapped[bytes]
    created_at: Mapped[datetime]


class Population(Authenticated, Table):
    """A set of people with one unit of privacy and one ledger (soundness R1, R4)."""

    __tablename__ = "populations"
    __table_args__ = (
        sa.UniqueConstraint("organisation_id", "name"),
        sa.CheckConstraint("total_epsilon >= 0 AND total_delta >= 0 AND total_rho >= 0", name="total"),
        sa.CheckConstraint("spent_epsilon >= 0 AND spent_epsilon <= total_epsilon", name="spent_epsilon"),
        sa.CheckConstraint("spent_delta >= 0 AND spent_delta <= total_delta", name="spent_delta"),
        sa.CheckConstraint("spent_rho >= 0 AND spent_rho <= total_rho", name="spent_rho"),
    )
    moving = frozenset({"spent_epsilon", "spent_delta", "spent_rho"})
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("organisations.id"))
    name: Mapped[str]
    unit: Mapped[str]
    accounting: Mapped[str]
    total_epsilon: Mapped[int]
    total_delta: Mapped[int] = mapped_column(default=0)
    total_rho: Mapped[int] = mapped_column(default=0)
    earlier_totals: Mapped[str] = mapped_column(default="[]")  # soundness R2: shown in later certificates
    spent_epsilon: Mapped[int] = mapped_column(default=0)
    spent_delta: Mapped[int] = mapped_column(default=0)
    spent_rho: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]


class Allowance(Authenticated, Table):
    """What one principal may spend of a population's total."""

    __tablename__ = "allowances"
    __table_args__ = (sa.CheckConstraint("epsilon >= 0 AND spent_epsilon >= 0", name="epsilon"),)
    moving = frozenset({"spent_epsilon", "spent_delta", "spent_rho"})
    population_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("populations.id"), primary_key=True)
    principal_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"), primary_key=True)
    epsilon: Mapped[int]
    delta: Mapped[int] = mapped_column(default=0)
    rho: Mapped[int] = mapped_column(default=0)
    spent_epsilon: Mapped[int] = mapped_column(default=0)
    spent_delta: Mapped[int] = mapped_column(default=0)
    spent_rho: Mapped[int] = mapped_column(default=0)


class Dataset(Authenticated, Table):
    """A table about people: schema, policy, contribution bounds."""

    __tablename__ = "datasets"
    __table_args__ = (sa.UniqueConstraint("organisation_id", "name"), sa.CheckConstraint("max_rows > 0", name="max_rows"))
    later = {"retention_days": None, "expires_at": None}  # noqa: RUF012  as `moving`
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("organisations.id"))
    population_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("populations.id"), index=True)
    name: Mapped[str]
    owner_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"))
    schema: Mapped[str] = mapped_column(sa.Text)
    policy: Mapped[str] = mapped_column(sa.Text)
    privacy_unit: Mapped[str] = mapped_column(sa.Text, default="null")
    max_rows: Mapped[int]
    frozen: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    retention_days: Mapped[int | None]  # of each upload, from its acceptance on
    expires_at: Mapped[datetime | None]  # of the whole dataset


class Grant(Authenticated, Table):
    """Rights of one principal on one dataset, key or population."""

    __tablename__ = "grants"
    object_id: Mapped[str] = mapped_column(Id, primary_key=True)
    principal_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"), primary_key=True)
    kind: Mapped[str]
    rights: Mapped[str]
    override_reason: Mapped[str | None]  # soundness R6: an analyst right for someone who received an unprotected release


class Head(Authenticated, Table):
    """What a dataset is now: the one signed list that questions open (soundness R25)."""

    __tablename__ = "heads"
    dataset_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int]
    data_version: Mapped[str] = mapped_column(Id)
    content: Mapped[str] = mapped_column(sa.Text)


class Upload(Table):
    """One accepted, refused or running upload. Its manifest is under a MAC of its own (soundness R23)."""

    __tablename__ = "uploads"
    __table_args__ = (sa.Index("ix_uploads_principal_id_created_at", "principal_id", "created_at"),)  # quotas
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    principal_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"))
    state: Mapped[str]
    generation: Mapped[int] = mapped_column(default=1)
    rows: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime]
    manifest: Mapped[bytes | None]
    manifest_mac: Mapped[bytes | None]
    reply: Mapped[str | None] = mapped_column(sa.Text)
    sent_bytes: Mapped[int] = mapped_column(default=0)  # as sent, before decompression: what a quota counts
    mode: Mapped[str] = mapped_column(default="append")
    rejected: Mapped[str | None] = mapped_column(sa.Text)  # JSON: rows, columns and rules that were left out, never a value
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class RowGroup(Table):
    """At most 65,536 rows of an upload and their wrapped data key."""

    __tablename__ = "row_groups"
    upload_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rows: Mapped[int]
    data_key_id: Mapped[str] = mapped_column(Id)
    wrapped: Mapped[bytes]


class ColumnChunk(Table):
    """One column of one row group, sealed."""

    __tablename__ = "column_chunks"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["upload_id", "row_group", "generation"],
            ["row_groups.upload_id", "row_groups.ordinal", "row_groups.generation"],
            ondelete="CASCADE",
        ),
    )
    upload_id: Mapped[str] = mapped_column(Id, primary_key=True)
    row_group: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    column: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sealed: Mapped[bytes]


class LedgerEntry(Table):
    """One debit, or one release outside differential privacy. The answer is kept sealed in the entry that paid for it."""

    __tablename__ = "ledger"
    __table_args__ = (
        sa.UniqueConstraint("question_key", "epsilon"),
        sa.CheckConstraint("epsilon >= 0 AND delta >= 0 AND rho >= 0", name="not_negative"),
        sa.CheckConstraint("kind <> 'answer' OR epsilon > 0 OR rho > 0", name="paid"),
    )
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    population_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("populations.id"), index=True)
    dataset_id: Mapped[str | None] = mapped_column(Id, index=True)
    tally_id: Mapped[str | None] = mapped_column(Id)
    principal_id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str]
    purpose: Mapped[str | None]
    epsilon: Mapped[int]
    delta: Mapped[int] = mapped_column(default=0)
    rho: Mapped[int] = mapped_column(default=0)
    question_key: Mapped[str | None] = mapped_column(sa.String(64))
    data_version: Mapped[str | None] = mapped_column(Id)
    question: Mapped[str | None] = mapped_column(sa.Text)
    state: Mapped[str]
    lease_id: Mapped[str | None] = mapped_column(Id)
    lease_until: Mapped[datetime | None]
    answer: Mapped[bytes | None]
    created_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class NamedKey(Authenticated, Table):
    """A key that services use by name, or the public key of a recipient (kind `recipient`)."""

    __tablename__ = "named_keys"
    __table_args__ = (sa.UniqueConstraint("organisation_id", "name"),)
    later = {"state": "active", "newest_version": 1, "min_version": 1, "destroy_at": None}  # noqa: RUF012  as `moving`
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("organisations.id"))
    name: Mapped[str]
    kind: Mapped[str]
    public_key: Mapped[str | None] = mapped_column(sa.Text)
    created_by: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="active")  # active, deleted (with a time to recover it in)
    newest_version: Mapped[int] = mapped_column(default=1)  # what is made is made under this one
    min_version: Mapped[int] = mapped_column(default=1)  # what was made under earlier ones is not opened
    destroy_at: Mapped[datetime | None]  # of a deleted key: until then it can be recovered


class Tally(Authenticated, Table):
    """A sum that nobody can read until its key owner opens it."""

    __tablename__ = "tallies"
    __table_args__ = (sa.UniqueConstraint("organisation_id", "name"),)
    moving = frozenset({"state", "sum", "closed_at", "contributors"})
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("organisations.id"))
    name: Mapped[str]
    population_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("populations.id"))
    key_owner_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"))
    definition: Mapped[str] = mapped_column(sa.Text)
    deadline: Mapped[datetime]
    created_at: Mapped[datetime]
    state: Mapped[str]
    contributors: Mapped[int] = mapped_column(default=0)
    sum: Mapped[str | None] = mapped_column(sa.Text)
    closed_at: Mapped[datetime | None]


class Contribution(Table):
    """One contributor's ciphertexts; the newest of a contributor stands."""

    __tablename__ = "contributions"
    __table_args__ = (sa.UniqueConstraint("tally_id", "principal_id"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tally_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("tallies.id"))
    principal_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("principals.id"))
    ciphertexts: Mapped[str] = mapped_column(sa.Text)
    reply: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime]


class ContributionMark(Table):
    """Digest of min(c, n² − c): no ciphertext enters a tally twice, replaced ones included (soundness R38)."""

    __tablename__ = "contribution_marks"
    tally_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("tallies.id"), primary_key=True)
    mark: Mapped[str] = mapped_column(sa.String(64), primary_key=True)


class IdempotencyRecord(Table):
    """A reply kept for 24 hours under the caller's key; fingerprint is an HMAC, the reply is sealed (soundness R32)."""

    __tablename__ = "idempotency"
    principal_id: Mapped[str] = mapped_column(Id, primary_key=True)
    key_digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    fingerprint: Mapped[bytes]
    state: Mapped[str]
    reply: Mapped[bytes | None]
    resource_id: Mapped[str | None] = mapped_column(Id)
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(index=True)


class AuditEntry(Table):
    """What was done, chained by MACs within one organisation, and by digests that anybody can compute."""

    __tablename__ = "audit"
    organisation_id: Mapped[str] = mapped_column(Id, primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    principal_id: Mapped[str | None] = mapped_column(Id)
    action: Mapped[str]
    object_id: Mapped[str | None]
    detail: Mapped[str] = mapped_column(sa.Text, default="{}")
    mac: Mapped[bytes]
    digest: Mapped[bytes]
