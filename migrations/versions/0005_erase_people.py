"""Erase people, and let datasets expire: tombstones and retention."""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('erasures',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('population_id', sa.String(length=36), nullable=False),
    sa.Column('principal_id', sa.String(length=36), nullable=False),
    sa.Column('kind', sa.String(), nullable=True),
    sa.Column('tombstone', sa.String(length=64), nullable=True),
    sa.Column('key_version', sa.BigInteger(), nullable=True),
    sa.Column('ordinal', sa.BigInteger(), nullable=True),
    sa.Column('chain', sa.String(length=64), nullable=True),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('lease_until', sa.BigInteger(), nullable=False),
    sa.Column('outcome', sa.Text(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('erased_at', sa.BigInteger(), nullable=True),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['population_id'], ['populations.id'], name=op.f('fk_erasures_population_id_populations')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_erasures')),
    sa.UniqueConstraint('population_id', 'ordinal', name=op.f('uq_erasures_population_id_ordinal'))
    )
    with op.batch_alter_table('erasures', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_erasures_population_id'), ['population_id'], unique=False)
    # Plain ALTERs: a batch would drop and refill the table, and take its uploads along by their cascade.
    op.add_column('datasets', sa.Column('retention_days', sa.BigInteger(), nullable=True))
    op.add_column('datasets', sa.Column('expires_at', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column('datasets', 'expires_at')
    op.drop_column('datasets', 'retention_days')
    with op.batch_alter_table('erasures', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_erasures_population_id'))
    op.drop_table('erasures')
