"""A thousand values that nobody else has, and a search for all of them at once, in every form that a value may take in a file.

The search looks at every offset of a file: the eight bytes there are sought among the sorted first eight of every form, and what
fits is compared whole. So it takes seconds where a search for each form would take hours.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.attacks.laid_bare import disguises

LETTERS = "BCDFGHJKLMNPQRSTVWXZbcdfghjkmnpqrstvwxz0123456789"  # no word and no identifier of ours is made of these
_WINDOW = 8
_PIECE = 1 << 22


def texts(count: int, *, seed: int) -> list[str]:
    """Different canaries, each of 16 letters."""
    chance = random.Random(seed)
    return ["Zq" + "".join(chance.choices(LETTERS, k=14)) for _ in range(count)]


def integers(count: int, *, seed: int) -> list[int]:
    """Different canaries of 18 digits."""
    chance = random.Random(seed)
    return [chance.randrange(3 * 10**17, 9 * 10**17) for _ in range(count)]


def forms_of(canaries: Sequence[str | int]) -> dict[bytes, str]:
    """Every form of every canary, and whose it is: text, hex and base64 of its bytes in UTF-8 and UTF-16, integers both ways."""
    forms = {}
    for one in canaries:
        for form in disguises(str(one)):
            forms[form] = str(one)
        for order in ("little", "big") if isinstance(one, int) else ():
            raw = one.to_bytes(8, order)
            forms |= {form: str(one) for form in (raw, raw.hex().encode(), raw.hex().upper().encode())}
    return {form: whose for form, whose in forms.items() if len(form) >= _WINDOW}


class Search:
    """Finds any of many forms in bytes."""

    def __init__(self, forms: Mapping[bytes, str]) -> None:
        """Sort the forms by their first eight bytes."""
        self._by_head: dict[int, list[bytes]] = {}
        for form in forms:
            self._by_head.setdefault(int.from_bytes(form[:_WINDOW], "little"), []).append(form)
        self._heads = np.sort(np.fromiter(self._by_head, dtype="<u8", count=len(self._by_head)))
        self._whose = forms

    def hits(self, content: bytes) -> set[str]:
        """The canaries that the bytes hold in any form."""
        return set(self._found(content))

    def hits_in(self, path: Path) -> set[str]:
        """The canaries that a file holds in any form."""
        return self.hits(path.read_bytes())

    def _found(self, content: bytes) -> Iterator[str]:
        for start in range(0, max(0, len(content) - _WINDOW + 1), _PIECE):
            piece = np.frombuffer(content, dtype=np.uint8)[start : start + _PIECE + _WINDOW - 1]
            windows = np.lib.stride_tricks.sliding_window_view(piece, _WINDOW)
            heads = np.ascontiguousarray(windows).view("<u8").ravel()
            near = self._heads[np.minimum(np.searchsorted(self._heads, heads), len(self._heads) - 1)]
            for place in np.flatnonzero(near == heads):
                for form in self._by_head[int(heads[place])]:
                    if content.startswith(form, start + int(place)):
                        yield self._whose[form]
