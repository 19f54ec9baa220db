"""One person of a population: their records, and their erasure."""

from tacit.calls import Caller, path, some
from tacit.transport import Call, Document


class Subjects(Caller):
    """What a caller may do with one person; `Client` is one of these."""

    def get_subject(
        self, population: str, identifier: str, *, purpose: str, kind: str | None = None, country: str | None = None
    ) -> Document:
        """Return everything stored of one person, dataset by dataset. An unprotected release (soundness R6)."""
        body = _subject(identifier, kind, country) | {"purpose": purpose}
        # Every try is a release of its own in the ledger: it is not repeated behind the caller's back.
        call = Call(method="POST", path=path("/v1/populations", population, "subjects") + ":get", json=body, repeatable=False)
        return some(self._transport.send(call))

    def erase_subject(
        self,
        population: str,
        identifier: str,
        *,
        kind: str | None = None,
        country: str | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """Erase one person from every dataset of a population; the signed receipt says when copies are gone, too."""
        body = _subject(identifier, kind, country)
        return self._post(path("/v1/populations", population, "subjects") + ":erase", body, idempotency_key)


def _subject(identifier: str, kind: str | None, country: str | None) -> dict[str, str]:
    stated = {"identifier": identifier, "kind": kind, "country": country}
    return {name: value for name, value in stated.items() if value is not None}
