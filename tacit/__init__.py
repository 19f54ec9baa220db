"""Tacit, for partners and analysts: `tacit.Client` speaks to a service, `tacit.verify` checks its signed documents offline.

Names load when they are first used (PEP 562), so `import tacit` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tacit.answers import Answer
    from tacit.certificate import verify
    from tacit.client import Client
    from tacit.problems import Problem, Unreachable

__all__ = ["Answer", "Client", "Problem", "Unreachable", "verify"]

_HOMES = {
    "Answer": "tacit.answers",
    "Client": "tacit.client",
    "Problem": "tacit.problems",
    "Unreachable": "tacit.problems",
    "verify": "tacit.certificate",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tacit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
