"""Who may do what: the first line of every operation.

Promise: a foreign object is `NotFound`, one's own without the right is `Forbidden`; the two are never mixed up (threat C13).

Invariants
- Roles are fixed; rights on one object come from a grant whose MAC holds (soundness R25).
- An owner has every right on the datasets of its organisation, an operator on none of the data.
- Whoever wants something of a dataset's data is refused while it is in quarantine; who only looks at it is not.
- Who received an unprotected release of a population may not ask in it unless a grant overrides that visibly (soundness R6).
"""

import json

from app.errors import Forbidden, NotFound
from app.operations import quarantine
from app.operations.authority import believe
from app.operations.desk import OWNER, Caller, Desk
from app.store import datasets, grants, populations
from app.store.engine import Transaction
from app.store.tables import Dataset, Grant, Population

UPLOAD, QUERY, EXPORT, ENCRYPT, DECRYPT, PSEUDONYMIZE = "upload", "query", "export", "encrypt", "decrypt", "pseudonymize"
READ_SUBJECT, ERASE_SUBJECT = "read-subject", "erase-subject"
REWRAP, TOKENIZE, DETOKENIZE, SEAL, NEW_DATA_KEY = "rewrap", "tokenize", "detokenize", "seal", "new-data-key"


def require_role(caller: Caller, *roles: str) -> None:
    """Raise `Forbidden` unless the caller has one of the roles."""
    if caller.role not in roles:
        raise Forbidden(f"This needs the role {' or '.join(roles)}; ask the owner of the data.")


def require_scope(caller: Caller, operation: str) -> None:
    """Raise `Forbidden` unless the token's scopes name the operation; no scopes means all."""
    if caller.scopes and operation not in caller.scopes:
        raise Forbidden("This token was made for other operations; use one whose scopes name this one.")


def rights(desk: Desk, tx: Transaction, caller: Caller, object_id: str) -> frozenset[str]:
    """Return what a verified grant lets the caller do with the object."""
    grant = grants.find(tx, object_id, caller.id)
    return frozenset() if grant is None else frozenset(json.loads(believe(desk, grant).rights))


def grant_of(desk: Desk, tx: Transaction, caller: Caller, object_id: str) -> Grant | None:
    """Return the verified grant itself."""
    grant = grants.find(tx, object_id, caller.id)
    return None if grant is None else believe(desk, grant)


def dataset(desk: Desk, tx: Transaction, caller: Caller, dataset_id: str, right: str | None = None) -> Dataset:
    """Return the verified dataset if the caller may see it and has `right` on it (owners have all)."""
    found = datasets.find(tx, caller.organisation, dataset_id)
    if found is None:
        raise NotFound("There is no such dataset.")
    believe(desk, found)
    if caller.role == OWNER:
        return _open(desk, tx, found, right)
    have = rights(desk, tx, caller, found.id)
    if caller.role in {"operator", "auditor"} and right is None:
        return found
    if not have:
        raise NotFound("There is no such dataset.")
    if right is not None and right not in have:
        raise Forbidden(f"This needs the right {right} on the dataset; its owner can grant it.")
    return _open(desk, tx, found, right)


def _open(desk: Desk, tx: Transaction, found: Dataset, right: str | None) -> Dataset:
    """Return the dataset unless its data are wanted and it is closed."""
    if right is not None:
        quarantine.check(desk, tx, found.id)
    return found


def population(desk: Desk, tx: Transaction, caller: Caller, population_id: str) -> Population:
    """Return the verified population of the caller's organisation."""
    found = populations.find(tx, caller.organisation, population_id)
    if found is None:
        raise NotFound("There is no such population.")
    return believe(desk, found)


def population_with(desk: Desk, tx: Transaction, caller: Caller, population_id: str, right: str) -> Population:
    """Return the verified population if the caller has `right` on it; owners have all."""
    found = population(desk, tx, caller, population_id)
    if caller.role == OWNER:
        return found
    have = rights(desk, tx, caller, found.id)
    if not have:
        raise NotFound("There is no such population.")
    if right not in have:
        raise Forbidden(f"This needs the right {right} on the population; its owner can grant it.")
    return found
