"""Lay the house: every table of version 0.1."""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('audit',
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('ordinal', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('principal_id', sa.String(length=36), nullable=True),
    sa.Column('action', sa.String(), nullable=False),
    sa.Column('object_id', sa.String(), nullable=True),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('organisation_id', 'ordinal', name=op.f('pk_audit'))
    )
    op.create_table('idempotency',
    sa.Column('principal_id', sa.String(length=36), nullable=False),
    sa.Column('key_digest', sa.String(length=64), nullable=False),
    sa.Column('fingerprint', sa.LargeBinary(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('reply', sa.LargeBinary(), nullable=True),
    sa.Column('resource_id', sa.String(length=36), nullable=True),
    sa.Column('lease_until', sa.BigInteger(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('principal_id', 'key_digest', name=op.f('pk_idempotency'))
    )
    with op.batch_alter_table('idempotency', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_idempotency_created_at'), ['created_at'], unique=False)

    op.create_table('key_encryption_keys',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('wrapped', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_key_encryption_keys'))
    )
    with op.batch_alter_table('key_encryption_keys', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_key_encryption_keys_organisation_id'), ['organisation_id'], unique=False)

    op.create_table('organisations',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_organisations')),
    sa.UniqueConstraint('name', name=op.f('uq_organisations_name'))
    )
    op.create_table('named_keys',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('public_key', sa.Text(), nullable=True),
    sa.Column('created_by', sa.String(length=36), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['organisation_id'], ['organisations.id'], name=op.f('fk_named_keys_organisation_id_organisations')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_named_keys')),
    sa.UniqueConstraint('organisation_id', 'name', name=op.f('uq_named_keys_organisation_id_name'))
    )
    op.create_table('populations',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('unit', sa.String(), nullable=False),
    sa.Column('accounting', sa.String(), nullable=False),
    sa.Column('total_epsilon', sa.BigInteger(), nullable=False),
    sa.Column('total_delta', sa.BigInteger(), nullable=False),
    sa.Column('total_rho', sa.BigInteger(), nullable=False),
    sa.Column('earlier_totals', sa.String(), nullable=False),
    sa.Column('spent_epsilon', sa.BigInteger(), nullable=False),
    sa.Column('spent_delta', sa.BigInteger(), nullable=False),
    sa.Column('spent_rho', sa.BigInteger(), nullable=False),
    sa.Column('created_by', sa.String(length=36), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.CheckConstraint('spent_delta >= 0 AND spent_delta <= total_delta', name=op.f('ck_populations_spent_delta')),
    sa.CheckConstraint('spent_epsilon >= 0 AND spent_epsilon <= total_epsilon', name=op.f('ck_populations_spent_epsilon')),
    sa.CheckConstraint('spent_rho >= 0 AND spent_rho <= total_rho', name=op.f('ck_populations_spent_rho')),
    sa.CheckConstraint('total_epsilon >= 0 AND total_delta >= 0 AND total_rho >= 0', name=op.f('ck_populations_total')),
    sa.ForeignKeyConstraint(['organisation_id'], ['organisations.id'], name=op.f('fk_populations_organisation_id_organisations')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_populations')),
    sa.UniqueConstraint('organisation_id', 'name', name=op.f('uq_populations_organisation_id_name'))
    )
    op.create_table('principals',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('role', sa.String(), nullable=False),
    sa.Column('may_create_populations', sa.Boolean(), nullable=False),
    sa.Column('created_by', sa.String(length=36), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('disabled', sa.Boolean(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['organisation_id'], ['organisations.id'], name=op.f('fk_principals_organisation_id_organisations')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_principals')),
    sa.UniqueConstraint('organisation_id', 'name', name=op.f('uq_principals_organisation_id_name'))
    )
    op.create_table('purpose_keys',
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('purpose', sa.String(), nullable=False),
    sa.Column('scope', sa.String(), nullable=False),
    sa.Column('version', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('kek_id', sa.String(length=36), nullable=False),
    sa.Column('wrapped', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['kek_id'], ['key_encryption_keys.id'], name=op.f('fk_purpose_keys_kek_id_key_encryption_keys')),
    sa.PrimaryKeyConstraint('organisation_id', 'purpose', 'scope', 'version', name=op.f('pk_purpose_keys'))
    )
    op.create_table('allowances',
    sa.Column('population_id', sa.String(length=36), nullable=False),
    sa.Column('principal_id', sa.String(length=36), nullable=False),
    sa.Column('epsilon', sa.BigInteger(), nullable=False),
    sa.Column('delta', sa.BigInteger(), nullable=False),
    sa.Column('rho', sa.BigInteger(), nullable=False),
    sa.Column('spent_epsilon', sa.BigInteger(), nullable=False),
    sa.Column('spent_delta', sa.BigInteger(), nullable=False),
    sa.Column('spent_rho', sa.BigInteger(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.CheckConstraint('epsilon >= 0 AND spent_epsilon >= 0', name=op.f('ck_allowances_epsilon')),
    sa.ForeignKeyConstraint(['population_id'], ['populations.id'], name=op.f('fk_allowances_population_id_populations')),
    sa.ForeignKeyConstraint(['principal_id'], ['principals.id'], name=op.f('fk_allowances_principal_id_principals')),
    sa.PrimaryKeyConstraint('population_id', 'principal_id', name=op.f('pk_allowances'))
    )
    op.create_table('datasets',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('population_id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('owner_id', sa.String(length=36), nullable=False),
    sa.Column('schema', sa.Text(), nullable=False),
    sa.Column('policy', sa.Text(), nullable=False),
    sa.Column('privacy_unit', sa.Text(), nullable=False),
    sa.Column('max_rows', sa.BigInteger(), nullable=False),
    sa.Column('frozen', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.CheckConstraint('max_rows > 0', name=op.f('ck_datasets_max_rows')),
    sa.ForeignKeyConstraint(['organisation_id'], ['organisations.id'], name=op.f('fk_datasets_organisation_id_organisations')),
    sa.ForeignKeyConstraint(['owner_id'], ['principals.id'], name=op.f('fk_datasets_owner_id_principals')),
    sa.ForeignKeyConstraint(['population_id'], ['populations.id'], name=op.f('fk_datasets_population_id_populations')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_datasets')),
    sa.UniqueConstraint('organisation_id', 'name', name=op.f('uq_datasets_organisation_id_name'))
    )
    with op.batch_alter_table('datasets', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_datasets_population_id'), ['population_id'], unique=False)

    op.create_table('grants',
    sa.Column('object_id', sa.String(length=36), nullable=False),
    sa.Column('principal_id', sa.String(length=36), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('rights', sa.String(), nullable=False),
    sa.Column('override_reason', sa.String(), nullable=True),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['principal_id'], ['principals.id'], name=op.f('fk_grants_principal_id_principals')),
    sa.PrimaryKeyConstraint('object_id', 'principal_id', name=op.f('pk_grants'))
    )
    op.create_table('ledger',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('population_id', sa.String(length=36), nullable=False),
    sa.Column('dataset_id', sa.String(length=36), nullable=True),
    sa.Column('tally_id', sa.String(length=36), nullable=True),
    sa.Column('principal_id', sa.String(length=36), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('purpose', sa.String(), nullable=True),
    sa.Column('epsilon', sa.BigInteger(), nullable=False),
    sa.Column('delta', sa.BigInteger(), nullable=False),
    sa.Column('rho', sa.BigInteger(), nullable=False),
    sa.Column('question_key', sa.String(length=64), nullable=True),
    sa.Column('data_version', sa.String(length=36), nullable=True),
    sa.Column('question', sa.Text(), nullable=True),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('lease_id', sa.String(length=36), nullable=True),
    sa.Column('lease_until', sa.BigInteger(), nullable=True),
    sa.Column('answer', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('answered_at', sa.BigInteger(), nullable=True),
    sa.CheckConstraint("kind <> 'answer' OR epsilon > 0 OR rho > 0", name=op.f('ck_ledger_paid')),
    sa.CheckConstraint('epsilon >= 0 AND delta >= 0 AND rho >= 0', name=op.f('ck_ledger_not_negative')),
    sa.ForeignKeyConstraint(['population_id'], ['populations.id'], name=op.f('fk_ledger_population_id_populations')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ledger')),
    sa.UniqueConstraint('question_key', 'epsilon', name=op.f('uq_ledger_question_key_epsilon'))
    )
    with op.batch_alter_table('ledger', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_ledger_dataset_id'), ['dataset_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_ledger_population_id'), ['population_id'], unique=False)

    op.create_table('tallies',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('organisation_id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('population_id', sa.String(length=36), nullable=False),
    sa.Column('key_owner_id', sa.String(length=36), nullable=False),
    sa.Column('definition', sa.Text(), nullable=False),
    sa.Column('deadline', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('contributors', sa.BigInteger(), nullable=False),
    sa.Column('sum', sa.Text(), nullable=True),
    sa.Column('closed_at', sa.BigInteger(), nullable=True),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['key_owner_id'], ['principals.id'], name=op.f('fk_tallies_key_owner_id_principals')),
    sa.ForeignKeyConstraint(['organisation_id'], ['organisations.id'], name=op.f('fk_tallies_organisation_id_organisations')),
    sa.ForeignKeyConstraint(['population_id'], ['populations.id'], name=op.f('fk_tallies_population_id_populations')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tallies')),
    sa.UniqueConstraint('organisation_id', 'name', name=op.f('uq_tallies_organisation_id_name'))
    )
    op.create_table('tokens',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('principal_id', sa.String(length=36), nullable=False),
    sa.Column('role', sa.String(), nullable=False),
    sa.Column('scopes', sa.String(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=True),
    sa.Column('verifier', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['principal_id'], ['principals.id'], name=op.f('fk_tokens_principal_id_principals')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tokens'))
    )
    with op.batch_alter_table('tokens', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_tokens_principal_id'), ['principal_id'], unique=False)

    op.create_table('contribution_marks',
    sa.Column('tally_id', sa.String(length=36), nullable=False),
    sa.Column('mark', sa.String(length=64), nullable=False),
    sa.ForeignKeyConstraint(['tally_id'], ['tallies.id'], name=op.f('fk_contribution_marks_tally_id_tallies')),
    sa.PrimaryKeyConstraint('tally_id', 'mark', name=op.f('pk_contribution_marks'))
    )
    op.create_table('contributions',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('tally_id', sa.String(length=36), nullable=False),
    sa.Column('principal_id', sa.String(length=36), nullable=False),
    sa.Column('ciphertexts', sa.Text(), nullable=False),
    sa.Column('reply', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['principal_id'], ['principals.id'], name=op.f('fk_contributions_principal_id_principals')),
    sa.ForeignKeyConstraint(['tally_id'], ['tallies.id'], name=op.f('fk_contributions_tally_id_tallies')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_contributions')),
    sa.UniqueConstraint('tally_id', 'principal_id', name=op.f('uq_contributions_tally_id_principal_id'))
    )
    op.create_table('heads',
    sa.Column('dataset_id', sa.String(length=36), nullable=False),
    sa.Column('epoch', sa.BigInteger(), nullable=False),
    sa.Column('data_version', sa.String(length=36), nullable=False),
    sa.Column('content', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_heads_dataset_id_datasets'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('dataset_id', name=op.f('pk_heads'))
    )
    op.create_table('uploads',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('dataset_id', sa.String(length=36), nullable=False),
    sa.Column('principal_id', sa.String(length=36), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.Column('rows', sa.BigInteger(), nullable=False),
    sa.Column('lease_until', sa.BigInteger(), nullable=False),
    sa.Column('manifest', sa.LargeBinary(), nullable=True),
    sa.Column('manifest_mac', sa.LargeBinary(), nullable=True),
    sa.Column('reply', sa.Text(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('finished_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_uploads_dataset_id_datasets'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['principal_id'], ['principals.id'], name=op.f('fk_uploads_principal_id_principals')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_uploads'))
    )
    with op.batch_alter_table('uploads', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_uploads_dataset_id'), ['dataset_id'], unique=False)

    op.create_table('row_groups',
    sa.Column('upload_id', sa.String(length=36), nullable=False),
    sa.Column('ordinal', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('generation', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('rows', sa.BigInteger(), nullable=False),
    sa.Column('data_key_id', sa.String(length=36), nullable=False),
    sa.Column('wrapped', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['upload_id'], ['uploads.id'], name=op.f('fk_row_groups_upload_id_uploads'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('upload_id', 'ordinal', 'generation', name=op.f('pk_row_groups'))
    )
    op.create_table('column_chunks',
    sa.Column('upload_id', sa.String(length=36), nullable=False),
    sa.Column('row_group', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('generation', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('column', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['upload_id', 'row_group', 'generation'], ['row_groups.upload_id', 'row_groups.ordinal', 'row_groups.generation'], name=op.f('fk_column_chunks_upload_id_row_group_generation_row_groups'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('upload_id', 'row_group', 'generation', 'column', name=op.f('pk_column_chunks'))
    )
    if op.get_bind().dialect.name == "postgresql":
        # Sealed bytes do not compress; keep them out of line and untouched.
        op.execute("ALTER TABLE column_chunks ALTER COLUMN sealed SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table('column_chunks')
    op.drop_table('row_groups')
    with op.batch_alter_table('uploads', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_uploads_dataset_id'))

    op.drop_table('uploads')
    op.drop_table('heads')
    op.drop_table('contributions')
    op.drop_table('contribution_marks')
    with op.batch_alter_table('tokens', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_tokens_principal_id'))

    op.drop_table('tokens')
    op.drop_table('tallies')
    with op.batch_alter_table('ledger', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_ledger_population_id'))
        batch_op.drop_index(batch_op.f('ix_ledger_dataset_id'))

    op.drop_table('ledger')
    op.drop_table('grants')
    with op.batch_alter_table('datasets', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_datasets_population_id'))

    op.drop_table('datasets')
    op.drop_table('allowances')
    op.drop_table('purpose_keys')
    op.drop_table('principals')
    op.drop_table('populations')
    op.drop_table('named_keys')
    op.drop_table('organisations')
    with op.batch_alter_table('key_encryption_keys', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_key_encryption_keys_organisation_id'))

    op.drop_table('key_encryption_keys')
    with op.batch_alter_table('idempotency', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_idempotency_created_at'))

    op.drop_table('idempotency')
    op.drop_table('audit')
