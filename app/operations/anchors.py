"""The anchor at work: marks get their MAC, and those of another database or another generation are told apart (soundness R27).

Invariants
- What a transaction came to is appended after its commit and before its reply; if it cannot be, the reply is `Unavailable` and
  the mark waits for the next append.
- A position counts in its generation only. Acknowledging a rollback begins the next one, at the database as it stands then.
- `refused` is a mark as well: a process that starts later, or another replica, finds it.
- Reading before the transaction that is compared: what is anchored was committed earlier, so a database that was never rolled
  back can only be equal or further on.
"""

import threading
from collections.abc import Iterable, Mapping

from app.crypto import prf
from app.errors import RolledBack
from app.outside.anchors import Anchor, Mark
from app.store.marks import Marks, Position

GENERATION, REFUSED, SWITCH = "generation", "refused", "quarantine/"
_REFUSED = "The database is not where it was when it last answered: it was rolled back or exchanged. The operator acknowledges."


class Anchors:
    """An anchor and the key of its marks; without an anchor it knows nothing and refuses nothing."""

    def __init__(self, anchor: Anchor | None = None, key: bytes = b"") -> None:
        """Take the anchor that main opened."""
        self._anchor, self._key = anchor, key
        self._generation = 0
        self._owed = False
        self._late: dict[str, Mark] = {}
        self._switches: dict[str, int] = {}  # quarantines, as last read or appended
        self._lock = threading.Lock()

    @property
    def kind(self) -> str:
        """Return `off`, `file` or `shared`."""
        return "off" if self._anchor is None else self._anchor.kind

    @property
    def generation(self) -> int:
        """Return the generation as it was last read; 0 before anything was anchored."""
        return self._generation

    def committed(self, marks: Marks) -> None:
        """Append what a transaction came to; a log entry alone waits for the next one, or for `flush`."""
        if self._anchor is None or self._generation == 0:
            return
        self._keep([self._mark(where) for where in marks.positions], hurried=marks.hurried)

    def append(self, positions: Iterable[Position]) -> None:
        """Append positions now."""
        if self._anchor is not None:
            self._keep([self._mark(where) for where in positions], hurried=True)

    def flush(self) -> None:
        """Append what waits."""
        if self._anchor is not None and self._late:
            self._keep([], hurried=True)

    def recall(self, components: Iterable[str] | None = None) -> dict[str, Position]:
        """Return what is anchored of these components, or all; `RolledBack` while nothing may be answered."""
        if self._anchor is None:
            return {}
        if self._owed:
            self.flush()  # what could not be anchored when it was done is anchored before anything of it is told
        marks = self._read(components)
        if marks is None or REFUSED in marks:
            raise RolledBack(_REFUSED)
        with self._lock:
            late = dict(self._late)
        wanted = None if components is None else set(components)
        for name, mark in late.items():
            if (wanted is None or name in wanted) and mark.beyond(marks.get(name)):
                marks[name] = mark
        return {name: Position(name, mark.position, mark.digest) for name, mark in marks.items() if name != GENERATION}

    def closed(self, component: str) -> bool:
        """Tell whether a switch was last turned on, as far as this process has seen."""
        return self._switches.get(component, 0) % 2 == 1

    def turned(self, component: str) -> Position:
        """Return the next position of a switch: odd is on, even is off."""
        return Position(component, self._switches.get(component, 0) + 1)

    def standing(self) -> tuple[bool, dict[str, Position]]:
        """Return whether nothing may be answered, and what is anchored all the same, as far as its MACs hold."""
        if self._anchor is None:
            return False, {}
        marks = self._read(None)
        if marks is None:
            return True, {}
        known = {name: Position(name, mark.position, mark.digest) for name, mark in marks.items() if name != GENERATION}
        return known.pop(REFUSED, None) is not None, known

    def refuse(self) -> RolledBack:
        """Answer nothing from now on, here, after a restart, and wherever else the anchor is read; return what to raise."""
        if self._anchor is not None and self._read(None) is not None:
            self.append([Position(GENERATION, self._generation), Position(REFUSED, 1)])
        return RolledBack(_REFUSED)

    def begin_generation(self, positions: Iterable[Position]) -> None:
        """Forget what was anchored; from now on the database may not fall behind these positions."""
        if self._anchor is None:
            return
        with self._lock:
            self._late.clear()
        held = self._anchor.read().values()
        self._generation = max((mark.generation for mark in held), default=0) + 1
        self.append([*positions, Position(GENERATION, self._generation)])

    def close(self) -> None:
        """Append what waits and let go of the anchor."""
        if self._anchor is not None:
            self.flush()
            self._anchor.close()

    def _read(self, components: Iterable[str] | None) -> dict[str, Mark] | None:
        """Return the marks of the present generation; None if they are not this database's."""
        assert self._anchor is not None  # noqa: S101  every caller looked
        found = self._anchor.read(None if components is None else [GENERATION, REFUSED, *components])
        newest = found.get(GENERATION)
        if newest is None:
            return {} if not found and self._generation == 0 else None  # an anchor that was emptied is no anchor
        self._generation = newest.generation
        marks = {name: mark for name, mark in found.items() if mark.generation == newest.generation}
        if not all(self._holds(mark) for mark in marks.values()):
            return None
        self._switches |= {name: mark.position for name, mark in marks.items() if name.startswith(SWITCH)}
        return marks

    def _keep(self, fresh: list[Mark], *, hurried: bool) -> None:
        assert self._anchor is not None  # noqa: S101  as above
        with self._lock:
            batch = [*self._late.values(), *fresh]
            self._late = {}
            if not hurried:
                self._wait(batch)
                return
        self._switches |= {mark.component: mark.position for mark in fresh if mark.component.startswith(SWITCH)}
        try:
            self._anchor.append(batch)
        except BaseException:
            with self._lock:
                self._owed = True
                self._wait(batch)
            raise
        self._owed = False

    def _wait(self, batch: Iterable[Mark]) -> None:
        for mark in batch:
            if mark.beyond(self._late.get(mark.component)):
                self._late[mark.component] = mark

    def _mark(self, where: Position) -> Mark:
        tag = self._tag(where.component, self._generation, where.position, where.digest)
        return Mark(where.component, self._generation, where.position, where.digest, tag.hex())

    def _holds(self, mark: Mark) -> bool:
        expected = self._tag(mark.component, mark.generation, mark.position, mark.digest)
        return prf.same(expected.hex().encode(), mark.mac.encode())

    def _tag(self, component: str, generation: int, position: int, digest: str) -> bytes:
        return mark_tag(self._key, component, generation, position, digest)

    def __repr__(self) -> str:
        return f"Anchors({self.kind})"


def mark_tag(key: bytes, component: str, generation: int, position: int, digest: str) -> bytes:
    """Return the MAC of a mark (docs/formats.md)."""
    return prf.mac(key, "tacit/anchor/1", component, generation, position, digest)


def behind(recalled: Mapping[str, Position], present: Iterable[Position]) -> list[Position]:
    """Return the present positions that the anchor does not know yet."""
    return [where for where in present if where.component not in recalled or where.position > recalled[where.component].position]
