"""What is looked for in free text: a closed list, in the order in which kinds take their turns.

Where two kinds could claim the same characters, the earlier of this list has them: a URL keeps the address inside it, an IBAN the
digits that could be a card's. Within a kind the leftmost match wins, and of those that begin there the longest that passes.

Invariants
- Two kinds, `email` and `phone`, have the pseudonyms of identifier columns of that kind in the same population (soundness R28).
- Every other kind has a domain of its own, `text/<kind>`, which no column can declare: labels of columns hold no slash.
"""

from enum import StrEnum


class Kind(StrEnum):
    """A kind of entity; its value is what clients write and what stands in the redacted text."""

    URL = "url"
    EMAIL = "email"
    IBAN = "iban"
    CARD = "card"
    NATIONAL_ID = "national_id"
    IP = "ip"
    DATE = "date"
    PHONE = "phone"

    @property
    def domain(self) -> str:
        """Return the identifier kind whose pseudonyms it has."""
        return self.value if self in {Kind.EMAIL, Kind.PHONE} else f"text/{self.value}"
