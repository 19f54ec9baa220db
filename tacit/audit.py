"""The audit log and the privacy ledger, checked by who holds no key but the service's public one (soundness R34, attack C10).

    digest of an entry       = SHA-256("tacit/audit-entry/1" ‖ 0x00 ‖ digest of the entry before (32) ‖ entry as canonical JSON)
    digest of a ledger entry = SHA-256("tacit/ledger-entry/1" ‖ 0x00 ‖ entry without its state as canonical JSON)

Before the first entry stand 32 zero bytes. A checkpoint is a signed document that names an organisation, an ordinal, the digest
there, and of each population how many ledger entries it had and what was spent. An audit entry that comes with a ledger entry
names it, with its digest and cost: so the log says in which order the ledger grew, and checkpoints fix both.

Invariants
- `examine` names the first entry that is not what was written: edited, missing, moved, or cut off behind a checkpoint.
- What was written after the newest checkpoint and then cut off cannot be seen to be missing.
- Every function takes what the API gives; nothing here asks a service. What is malformed is a finding or `VerificationFailed`.
"""

import hashlib
import hmac
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from tacit.certificate import CHECKPOINT, KeySet, NotCanonical, VerificationFailed, canonical, verify

BEGINNING: Final = bytes(32)
_ENTRY: Final = b"tacit/audit-entry/1\0"
_LEDGER: Final = b"tacit/ledger-entry/1\0"
_MEMBERS: Final = ("organisation", "ordinal", "at", "principal", "action", "object", "detail")
_NOTHING: Final = {"entries": 0, "spent": {"epsilon": "0"}}
_OF_LEDGER: Final = ("population", "id", "kind", "principal", "dataset", "tally", "version", "purpose", "cost", "created_at")


@dataclass(frozen=True, slots=True)
class Named:
    """A ledger entry as the audit log names it."""

    ordinal: int
    digest: str
    epsilon: str


@dataclass(slots=True)
class Found:
    """What an examination found: how far it came, and the first that is wrong, if any is."""

    entries: int = 0
    checkpoints: int = 0
    digest: bytes = BEGINNING
    first_bad: int | None = None
    at_most: int | None = None  # a checkpoint that does not hold says only that the first bad one is not later than this
    why: str | None = None
    ledger: dict[str, dict[str, Named]] = field(default_factory=dict)  # by the ids of population and ledger entry

    def refuse(self, ordinal: int | None, why: str, *, at_most: int | None = None) -> "Found":
        """Note what is wrong, and with which entry first."""
        self.first_bad, self.at_most, self.why = ordinal, at_most or ordinal, why
        return self


def entry_digest(before: bytes, entry: Mapping[str, Any]) -> bytes:
    """Return the digest of an audit entry that follows the one with the digest `before`."""
    return hashlib.sha256(_ENTRY + before + canonical({name: entry.get(name) for name in _MEMBERS})).digest()


def ledger_digest(entry: Mapping[str, Any]) -> bytes:
    """Return the digest of a ledger entry: of all that never changes."""
    return hashlib.sha256(_LEDGER + canonical({name: entry.get(name) for name in _OF_LEDGER})).digest()


def opened(documents: Iterable[bytes | str | Mapping[str, Any]], keys: KeySet, *, organisation: str) -> list[Mapping[str, Any]]:
    """Return the checkpoints of an organisation whose signatures hold; `VerificationFailed` if one's does not."""
    held = [verify(document, keys) for document in documents]
    if any(one.type != CHECKPOINT for one in held):
        raise VerificationFailed("A signed document among the checkpoints is none.")
    return [one.document for one in held if one.document.get("organisation") == organisation]


def examine(entries: Iterable[Mapping[str, Any]], checkpoints: Iterable[Mapping[str, Any]], *, organisation: str) -> Found:
    """Follow a log from its beginning and hold it against verified checkpoints; name the first entry that is wrong."""
    fixed: dict[int, list[Mapping[str, Any]]] = {}
    for one in checkpoints:
        fixed.setdefault(int(one["ordinal"]), []).append(one)
    found, sure = Found(), 0
    for entry in entries:
        expected = found.entries + 1
        if entry.get("ordinal") != expected or entry.get("organisation") != organisation:
            return found.refuse(expected, "An entry is missing here, or stands in another's place.")
        digest = _digest_of(found.digest, entry)
        if digest is None or not _same(digest.hex(), entry.get("digest")):
            return found.refuse(expected, "The entry is not the one that was written here, or the one before it is not.")
        for one in fixed.pop(expected, ()):
            if not _same(digest.hex(), one.get("digest")):
                why = f"The log up to entry {expected} is not the one that the checkpoint there signed."
                return found.refuse(sure + 1, why, at_most=expected)
            found.checkpoints += 1
            sure = expected
        found.entries, found.digest = expected, digest
        _note(found, entry)
    if fixed:
        return found.refuse(found.entries + 1, f"The log was cut: a checkpoint signed it up to entry {max(fixed)}.")
    return found


def settle(
    found: Found, checkpoints: Iterable[Mapping[str, Any]], population: str, ledger: Iterable[Mapping[str, Any]]
) -> str | None:
    """Hold a population's ledger against the log and verified checkpoints; return what is wrong, or None.

    Checkpoints are to be read before the ledger, and the ledger before the log. Entries that the log does not name are older than
    the naming: checkpoints count them all the same.
    """
    named, stands = found.ledger.get(population, {}), {str(entry.get("id")): entry for entry in ledger}
    for one, entry in stands.items():
        if one in named and not _same(_ledger_digest_of(entry), named[one].digest):
            return f"The ledger entry {one} is not the one that the audit log names in entry {named[one].ordinal}."
    unnamed = [_epsilon(entry.get("cost")) for one, entry in stands.items() if one not in named]
    count, spent = len(unnamed), sum(unnamed, Fraction(0))
    waiting = deque(sorted(named.items(), key=lambda pair: pair[1].ordinal))
    for checkpoint in sorted(checkpoints, key=lambda document: int(document["ordinal"])):
        until = int(checkpoint["ordinal"])
        while waiting and waiting[0][1].ordinal <= until:
            one, of = waiting.popleft()
            if one not in stands:
                return f"The ledger entry {one}, which the audit log names in entry {of.ordinal}, is missing."
            count, spent = count + 1, spent + _epsilon({"epsilon": of.epsilon})
        told = checkpoint["populations"].get(population, _NOTHING)
        if told["entries"] != count or _epsilon(told["spent"]) != spent:
            return f"The ledger does not add up to what the checkpoint at entry {until} signed."
    return None


def _same(digest: str, said: object) -> bool:
    return hmac.compare_digest(digest.encode(), str(said).encode("utf-8", "replace"))


def _note(found: Found, entry: Mapping[str, Any]) -> None:
    detail = entry.get("detail")
    if isinstance(detail, Mapping) and "ledger_digest" in detail:
        entries, one = found.ledger.setdefault(str(detail.get("population")), {}), str(detail.get("entry"))
        first = entries[one].ordinal if one in entries else found.entries  # named again where its version changed: it counts once
        entries[one] = Named(first, str(detail["ledger_digest"]), str(detail.get("epsilon")))


def _digest_of(before: bytes, entry: Mapping[str, Any]) -> bytes | None:
    try:
        return entry_digest(before, entry)
    except NotCanonical:
        return None


def _ledger_digest_of(entry: Mapping[str, Any]) -> str:
    try:
        return ledger_digest(entry).hex()
    except NotCanonical:
        return ""


def _epsilon(amounts: object) -> Fraction:
    try:
        return Fraction(str(amounts["epsilon"])) if isinstance(amounts, Mapping) else Fraction("none")
    except (KeyError, ValueError, ZeroDivisionError):
        raise VerificationFailed("The ledger, or what the log says of it, holds an amount that is none.") from None
