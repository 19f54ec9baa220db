"""Who plays: an operator, an owner, three partners, an analyst, a microservice, a key owner."""

from dataclasses import dataclass
from typing import Any

from demo.running import Service
from tacit import Client


@dataclass(frozen=True, slots=True)
class Player:
    """Somebody with a token."""

    id: str
    token: str
    client: Client


class Cast:
    """Everybody, by name; their clients live as long as the service's address."""

    def __init__(self, service: Service, operator_token: str) -> None:
        """Invite everybody with the operator's token."""
        self._service = service
        self._operator = service.client(operator_token)
        self.owner = self._invite("data-steward", "owner", may_create_populations=True)
        self.north, self.south, self.east = (self._invite(f"{name}-clinic", "partner") for name in ("north", "south", "east"))
        self.analyst = self._invite("analyst", "analyst")
        self.microservice = self._invite("billing-service", "service")
        self.registry = self._invite("registry-service", "service")
        self.key_owner = self._invite("health-office", "analyst")

    def _invite(self, name: str, role: str, **more: Any) -> Player:
        made = self._operator.create_principal(name, role, **more)["id"]
        token = self._operator.create_token(made)["token"]
        return Player(made, token, self._service.client(token))
