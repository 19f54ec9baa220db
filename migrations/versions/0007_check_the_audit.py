"""Check the audit log without a key: a chain of digests beside that of MACs, and signed checkpoints of it."""

import hashlib
import json
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def upgrade() -> None:
    op.create_table('checkpoints',
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('ordinal', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('made_at', sa.BigInteger(), nullable=False),
    sa.Column('document', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('organisation_id', 'ordinal', name=op.f('pk_checkpoints'))
    )
    op.add_column('audit', sa.Column('digest', sa.LargeBinary(), nullable=True))
    _chain(op.get_bind())
    with op.batch_alter_table('audit', schema=None) as batch_op:
        batch_op.alter_column('digest', existing_type=sa.LargeBinary(), nullable=False)


def _chain(connection: sa.Connection) -> None:
    """Give the entries that stand there their digests (docs/formats.md, audit entry)."""
    entries = connection.execute(sa.text(
        'SELECT organisation_id, ordinal, at, principal_id, action, object_id, detail FROM audit ORDER BY organisation_id, ordinal'
    )).all()
    before: dict[str, bytes] = {}
    for organisation, ordinal, at, principal, action, object_id, detail in entries:
        moment = (_EPOCH + timedelta(microseconds=int(at))).isoformat(timespec='microseconds').replace('+00:00', 'Z')
        told = {'organisation': organisation, 'ordinal': ordinal, 'at': moment, 'principal': principal,
                'action': action, 'object': object_id, 'detail': json.loads(detail)}
        # Names are ASCII, so this is their canonical order.
        canonical = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(',', ':')).encode()
        previous = before.get(organisation, bytes(32))
        before[organisation] = hashlib.sha256(b'tacit/audit-entry/1\0' + previous + canonical).digest()
        connection.execute(
            sa.text('UPDATE audit SET digest = :d WHERE organisation_id = :o AND ordinal = :n'),
            {'d': before[organisation], 'o': organisation, 'n': ordinal},
        )


def downgrade() -> None:
    op.drop_column('audit', 'digest')
    op.drop_table('checkpoints')
