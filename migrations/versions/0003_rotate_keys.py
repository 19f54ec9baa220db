"""Rotate keys: a key-encryption key that wraps nothing any more says since when."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('key_encryption_keys', sa.Column('retired_at', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column('key_encryption_keys', 'retired_at')  # in place: a copy of the table would be referred to meanwhile
