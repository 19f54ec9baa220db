"""Anchor the store: which datasets are closed, whether the database was ever anchored, whether changes are stopped."""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('quarantine',
    sa.Column('dataset_id', sa.String(length=36), nullable=False),
    sa.Column('place', sa.Text(), nullable=False),
    sa.Column('found_by', sa.String(), nullable=False),
    sa.Column('found_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('dataset_id', name=op.f('pk_quarantine'))
    )
    op.create_table('store_state',
    sa.Column('id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('anchored', sa.Boolean(), nullable=False),
    sa.Column('read_only', sa.Boolean(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_store_state'))
    )


def downgrade() -> None:
    op.drop_table('store_state')
    op.drop_table('quarantine')
