"""`Client`: one method for each operation of the service's API, version 1.

Invariants
- A method returns the JSON object of the reply as a `Document` (a dict with its `etag`), an iterator that turns pages by itself
  for lists, or nothing. Refusals are `Problem`, silence is `Unreachable`.
- Every call that creates or spends carries an Idempotency-Key, made for the call and kept for its retries; give `idempotency_key`
  to repeat a call across restarts of your program. Calls that only look or compute carry none.
- Money for privacy and exact values go as text; a number given for one is written as the decimal it prints as.
- The client's methods may be called from many threads. The token shows in no repr.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tacit.answers import Answer
from tacit.calls import Body, path
from tacit.disclosure import Disclosure
from tacit.jobs import Jobs
from tacit.rows import Rows
from tacit.subjects import Subjects
from tacit.transport import Document
from tacit.webhooks import Webhooks

if TYPE_CHECKING:
    from tacit.paillier.encoding import Values


class Client(Rows, Disclosure, Jobs, Webhooks, Subjects):
    """A caller of one Tacit service, under one token."""

    # Who I am, and who else there is

    def get_me(self) -> Document:
        """Return the caller: id, organisation, role, rights."""
        return self._get("/v1/me")

    def create_principal(self, name: str, role: str, *, idempotency_key: str | None = None, **more: Any) -> Document:
        """Make a principal: owner (by an operator), partner, analyst, service, auditor."""
        return self._post("/v1/principals", {"name": name, "role": role, **more}, idempotency_key)

    def list_principals(self) -> Iterator[Document]:
        """Yield the principals of the organisation."""
        return self._pages("/v1/principals")

    def delete_principal(self, principal: str) -> None:
        """Disable a principal and its tokens."""
        self._delete(path("/v1/principals", principal))

    def create_token(self, principal: str, *, idempotency_key: str | None = None, **more: Any) -> Document:
        """Make a token, shown in this reply and never again; `expires_at`, `scopes` as the service knows them."""
        return self._post(path("/v1/principals", principal, "tokens"), more, idempotency_key)

    def delete_token(self, principal: str, token: str) -> None:
        """Revoke a token by its public id."""
        self._delete(path("/v1/principals", principal, "tokens", token))

    # Populations: who the people are, and how much may be told about them

    def create_population(
        self, name: str, *, unit: str, accounting: str, total: Body, idempotency_key: str | None = None, **more: Any
    ) -> Document:
        """Declare a population, its unit of privacy and its total budget, such as `{"epsilon": "10"}`."""
        body = {"name": name, "unit": unit, "accounting": accounting, "total": _money(total), **more}
        return self._post("/v1/populations", body, idempotency_key)

    def list_populations(self) -> Iterator[Document]:
        """Yield the populations that the caller may see."""
        return self._pages("/v1/populations")

    def get_population(self, population: str) -> Document:
        """Return a population."""
        return self._get(path("/v1/populations", population))

    def update_population(self, population: str, changes: Body, *, if_match: str | None = None) -> Document:
        """Raise the total (`{"total": …, "reason": …}`): a new promise, audited, shown in later certificates."""
        return self._patch(path("/v1/populations", population), changes, if_match)

    def set_allowance(self, population: str, principal: str, **allowance: Any) -> Document | None:
        """Give an analyst a part of the budget, such as `epsilon="2"`."""
        return self._put(path("/v1/populations", population, "allowances", principal), _money(allowance))

    def budget(self, population: str) -> Document:
        """Return total, spent and what is left."""
        return self._get(path("/v1/populations", population, "budget"))

    def ledger(self, population: str) -> Iterator[Document]:
        """Yield the entries of the ledger: what was paid, and what left unprotected."""
        return self._pages(path("/v1/populations", population, "ledger"))

    def pseudonymize(self, population: str, items: Iterable[Body], *, kind: str, country: str | None = None) -> Document:
        """Return the datasets' pseudonyms of `[{"reference", "text"}]`, identifiers of the named kind (phones need a country)."""
        body = {"kind": kind, "items": [dict(item) for item in items], **({"country": country} if country else {})}
        return self._verb(path("/v1/populations", population) + ":pseudonymize", body)

    def put_population_grant(self, population: str, principal: str, rights: Sequence[str]) -> Document | None:
        """Give a service rights: `pseudonymize` as the population's datasets do, `read-subject`, `erase-subject`."""
        return self._put(path("/v1/populations", population, "grants", principal), {"rights": list(rights)})

    def delete_population_grant(self, population: str, principal: str) -> None:
        """Take all rights of a principal on a population."""
        self._delete(path("/v1/populations", population, "grants", principal))

    # Datasets and grants; rows are in tacit/rows.py

    def create_dataset(self, body: Body, *, idempotency_key: str | None = None) -> Document:
        """Declare a dataset: name, population, max_rows, schema, policy, privacy_unit."""
        return self._post("/v1/datasets", dict(body), idempotency_key)

    def list_datasets(self) -> Iterator[Document]:
        """Yield the datasets that the caller may see."""
        return self._pages("/v1/datasets")

    def get_dataset(self, dataset: str) -> Document:
        """Return schema, policy and public bounds; no counts."""
        return self._get(path("/v1/datasets", dataset))

    def update_dataset(self, dataset: str, changes: Body, *, if_match: str | None = None) -> Document:
        """Change what may still be changed; `if_match` is the `etag` of the document that was read."""
        return self._patch(path("/v1/datasets", dataset), changes, if_match)

    def delete_dataset(self, dataset: str, *, if_match: str | None = None) -> None:
        """Delete a dataset; what was spent on it stays spent."""
        self._delete(path("/v1/datasets", dataset), if_match)

    def put_grant(self, dataset: str, principal: str, rights: Sequence[str], **more: Any) -> Document | None:
        """Set the rights of a principal on a dataset."""
        return self._put(path("/v1/datasets", dataset, "grants", principal), {"rights": list(rights), **more})

    def delete_grant(self, dataset: str, principal: str) -> None:
        """Take all rights of a principal on a dataset."""
        self._delete(path("/v1/datasets", dataset, "grants", principal))

    # Questions

    def price(self, dataset: str, question: "Body | str | None" = None, **more: Any) -> Document:
        """Return plan, cost and expected error of a question; nothing is spent."""
        return self._verb(path("/v1/datasets", dataset, "queries") + ":price", _question(question, more))

    def ask(
        self, dataset: str, question: "Body | str | None" = None, *, idempotency_key: str | None = None, **more: Any
    ) -> Answer:
        """Ask, pay, and return the answer: a question as JSON, or in SQL; `epsilon="0.5"` and `sql=` may stand beside it."""
        body = _question(question, more)
        return Answer(self._post(path("/v1/datasets", dataset, "queries"), body, idempotency_key))

    def get_answer(self, dataset: str, answer: str) -> Answer:
        """Return an answer given before."""
        return Answer(self._get(path("/v1/datasets", dataset, "queries", answer)))

    def list_answers(self, dataset: str) -> Iterator[Document]:
        """Yield the answers given on a dataset."""
        return self._pages(path("/v1/datasets", dataset, "queries"))

    # Tallies

    def create_tally(self, body: Body, *, idempotency_key: str | None = None) -> Document:
        """Open a tally: name, population, public_key, measures, roster, minimum, deadline, noise."""
        return self._post("/v1/tallies", dict(body), idempotency_key)

    def list_tallies(self) -> Iterator[Document]:
        """Yield the tallies that the caller may see."""
        return self._pages("/v1/tallies")

    def get_tally(self, tally: str) -> Document:
        """Return a tally's definition and state."""
        return self._get(path("/v1/tallies", tally))

    def contribute(
        self, tally: str, values: "Values", *, fingerprint: str, replaces: str | None = None, idempotency_key: str | None = None
    ) -> Document:
        """Encrypt `values` to the key whose fingerprint the key owner told you, and send them; the plain values stay here."""
        from tacit import tallies

        definition = self.get_tally(tally)
        key = tallies.checked_key(definition, fingerprint=fingerprint)
        return self.send_contribution(
            tally, tallies.contribution(definition, values, key=key, replaces=replaces), idempotency_key=idempotency_key
        )

    def send_contribution(self, tally: str, body: Body, *, idempotency_key: str | None = None) -> Document:
        """Send ciphertexts made elsewhere: `{"key_id", "ciphertexts", "replaces"}`."""
        return self._post(path("/v1/tallies", tally, "contributions"), dict(body), idempotency_key)

    def get_contribution(self, tally: str, contribution: str) -> Document:
        """Return the receipt of one's own contribution."""
        return self._get(path("/v1/tallies", tally, "contributions", contribution))

    def close_tally(self, tally: str, *, idempotency_key: str | None = None) -> Document:
        """Close a tally; once."""
        return self._post(path("/v1/tallies", tally) + ":close", {}, idempotency_key)

    def get_sum(self, tally: str) -> Document:
        """Return the encrypted total: the same bytes every time."""
        return self._get(path("/v1/tallies", tally, "sum"))

    # Keys for microservices and recipients

    def create_key(self, name: str, *, idempotency_key: str | None = None, **more: Any) -> Document:
        """Make a named key (`kind`: encryption, tokenization), or register a recipient's (`kind`, `public_key`)."""
        return self._post("/v1/keys", {"name": name, **more}, idempotency_key)

    def list_keys(self) -> Iterator[Document]:
        """Yield the named keys; never their material."""
        return self._pages("/v1/keys")

    def get_key(self, name: str) -> Document:
        """Return a key: state, versions, ages."""
        return self._get(path("/v1/keys", name))

    def update_key(self, name: str, *, min_version: int, if_match: str) -> Document:
        """Say which versions may still be opened; `if_match` is the `etag` of the document that was read."""
        return self._patch(path("/v1/keys", name), {"min_version": min_version}, if_match)

    def rotate_key(self, name: str, *, idempotency_key: str | None = None) -> Document:
        """Make a new version; what earlier ones made still opens."""
        return self._post(path("/v1/keys", name) + ":rotate", {}, idempotency_key)

    def delete_key(self, name: str) -> None:
        """Delete a named key: it can be recovered for a while, then what it encrypted is lost."""
        self._delete(path("/v1/keys", name))

    def recover_key(self, name: str) -> Document:
        """Bring a deleted key back, while there is time."""
        return self._verb(path("/v1/keys", name) + ":recover", {})

    def encrypt(self, key: str, items: Iterable[Body]) -> Document:
        """Encrypt a batch under a key: items of `text` or `bytes`, with `associated_data`, `context`, `reference` as wanted."""
        return self._verb(path("/v1/keys", key) + ":encrypt", {"items": [dict(item) for item in items]})

    def decrypt(self, key: str, items: Iterable[Body]) -> Document:
        """Open a batch of ciphertexts."""
        return self._verb(path("/v1/keys", key) + ":decrypt", {"items": [dict(item) for item in items]})

    def rewrap(self, key: str, items: Iterable[Body]) -> Document:
        """Bring a batch of ciphertexts or tokens to the newest version, unseen."""
        return self._verb(path("/v1/keys", key) + ":rewrap", {"items": [dict(item) for item in items]})

    def tokenize(self, key: str, items: Iterable[Body]) -> Document:
        """Turn a batch of texts into tokens, equal ones into equal ones."""
        return self._verb(path("/v1/keys", key) + ":tokenize", {"items": [dict(item) for item in items]})

    def detokenize(self, key: str, items: Iterable[Body]) -> Document:
        """Return the texts inside a batch of tokens."""
        return self._verb(path("/v1/keys", key) + ":detokenize", {"items": [dict(item) for item in items]})

    def seal(self, recipient: str, items: Iterable[Body]) -> Document:
        """Seal a batch to a recipient; `tacit.opening.open_value` opens it with the private key."""
        return self._verb(path("/v1/keys", recipient) + ":seal", {"items": [dict(item) for item in items]})

    def new_data_key(self, key: str, items: Iterable[Body] = ({},), *, plaintext: bool = True) -> Document:
        """Make 32-byte keys: wrapped, which `decrypt` opens, and, unless `plaintext` is off, in the clear."""
        body = {"items": [dict(item) for item in items], "plaintext": plaintext}
        return self._verb(path("/v1/keys", key) + ":new_data_key", body)

    def put_key_grant(self, key: str, principal: str, rights: Sequence[str]) -> Document | None:
        """Let a service use a key: each verb is a right."""
        return self._put(path("/v1/keys", key, "grants", principal), {"rights": list(rights)})

    def delete_key_grant(self, key: str, principal: str) -> None:
        """Take all rights of a principal on a key."""
        self._delete(path("/v1/keys", key, "grants", principal))

    # Proof and record

    def signing_keys(self) -> Document:
        """Return the service's public signing keys (JWKS): pin them, then verify offline."""
        return self._get("/v1/signing-keys")

    def audit(
        self, *, action: str | None = None, principal: str | None = None, since: str | None = None, until: str | None = None
    ) -> Iterator[Document]:
        """Yield the audit log, oldest first, or the entries that fit (times: RFC 3339). `tacit.audit` checks the whole of it."""
        return self._pages("/v1/audit", action=action, principal=principal, since=since, until=until)

    def list_checkpoints(self) -> Iterator[Document]:
        """Yield the signed checkpoints of the audit log, oldest first."""
        return self._pages("/v1/audit/checkpoints")

    def get_system(self) -> Document:
        """Return how the store stands: revision, anchor, quarantine, queue, ages of keys, disk. Operators."""
        return self._get("/v1/system")

    def acknowledge(self, reason: str, **more: Any) -> Document:
        """Let answers go on after a rollback; with `dataset`, lift its quarantine (`in_spite=True`: though it fails)."""
        return self._verb("/v1/system:acknowledge", {"reason": reason, **more})

    def set_read_only(self, on: bool) -> Document:  # noqa: FBT001  it is the one thing that is said
        """Stop every change, or allow them again."""
        return self._verb("/v1/system:read-only", {"on": on})


def _money(amounts: Body) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, int | float) else value for name, value in amounts.items()}


def _question(question: "Body | str | None", more: Body) -> dict[str, Any]:
    body = {**({"sql": question} if isinstance(question, str) else question or {}), **more}
    return {**body, **_money({name: body[name] for name in ("epsilon", "within", "confidence") if name in body})}
