"""What a dataset's techniques need beside its schema: named keys, recipients, a person, a key of the population, noise.

Invariants
- A policy that names a key, a version or a recipient that is not there, or of another kind, is refused with its place.
- Dates are shifted by person: only where the unit is one. The key is the population's own, made with its first such column.
- Noise out of the source's range is refused when the dataset is defined, never when rows arrive.
"""

from app.deidentification.members import escape
from app.deidentification.policy import Policy
from app.deidentification.randomize import calibrate
from app.deidentification.techniques import Encrypt, Randomize, Seal, ShiftDates, Tokenize
from app.errors import Fault, Invalid
from app.operations import keychain
from app.operations.desk import Caller, Desk
from app.store import keys, tables
from app.store.engine import Transaction
from app.table.schema import Schema


def check(tx: Transaction, caller: Caller, policy: Policy, *, unit: str) -> None:
    """Check what a policy needs of the store: keys by name, and a person to shift dates by."""
    _check_keys(tx, caller, policy)
    for name, technique in policy.techniques.items():
        if isinstance(technique, ShiftDates) and unit != "person":
            raise Invalid(
                "Dates are shifted by person, and this population has none.",
                faults=[Fault("shift-needs-person", pointer=f"/policy/{escape(name)}/technique")],
            )


def lay_keys(desk: Desk, tx: Transaction, population: tables.Population, policy: Policy) -> None:
    """Make the population's key for shifts of dates with its first column of them."""
    if policy.shifts():
        keychain.create_missing(
            tx, desk.keyring, desk.clock, keychain.SHIFTS, organisation=population.organisation_id, scope=population.id
        )


def check_noise(desk: Desk, schema: Schema, policy: Policy) -> None:
    """Check that the noise of each randomized number is within its source's range; loads the library, so outside of writes."""
    for column in schema.columns:
        technique = policy.techniques[column.name]
        if not isinstance(technique, Randomize) or column.grid is None:
            continue
        try:
            calibrate(column, technique, noise=desk.sampler())
        except Invalid:
            raise Invalid(
                "The noise that this column needs is out of the sampler's range; state a larger epsilon, or narrower bounds.",
                faults=[Fault("noise-out-of-range", pointer=f"/policy/{escape(column.name)}/epsilon")],
            ) from None


def _check_keys(tx: Transaction, caller: Caller, policy: Policy) -> None:
    for column, technique in policy.techniques.items():
        match technique:
            case Encrypt(key=name):
                member, kind, what = "key", "encryption", "a key for encryption"
            case Tokenize(key=name):
                member, kind, what = "key", "tokenization", "a key for tokens"
            case Seal(recipient=name):
                member, kind, what = "recipient", "recipient", "a recipient"
            case _:
                continue
        key = keys.named(tx, caller.organisation, name, hold=True)  # nobody deletes it meanwhile
        if key is None or key.kind != kind or key.state != "active":
            fault = Fault("unknown-key", pointer=f"/policy/{escape(column)}/{member}")
            raise Invalid(f"The policy names {what} that does not exist; create it under /v1/keys first.", faults=[fault])
        if isinstance(technique, Tokenize) and technique.version not in keychain.versions(tx, caller.organisation, key.id):
            fault = Fault("unknown-key-version", pointer=f"/policy/{escape(column)}/version")
            raise Invalid("The policy names a version that the key does not have.", faults=[fault])
