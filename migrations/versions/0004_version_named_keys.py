"""Rotate, retire and delete named keys: what a key's row says beyond its name."""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The values of rows made before stand outside their MAC (app/store/base.py: `later`), so that they keep it.
    op.add_column('named_keys', sa.Column('state', sa.String(), nullable=False, server_default='active'))
    op.add_column('named_keys', sa.Column('newest_version', sa.BigInteger(), nullable=False, server_default='1'))
    op.add_column('named_keys', sa.Column('min_version', sa.BigInteger(), nullable=False, server_default='1'))
    op.add_column('named_keys', sa.Column('destroy_at', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for column in ('destroy_at', 'min_version', 'newest_version', 'state'):
        op.drop_column('named_keys', column)
