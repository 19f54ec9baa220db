"""A service to measure: a real process on loopback, its principals, and the people table in it."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import people
from demo.running import Service
from tacit import Client

_USUAL = {"answer_deadline": "off", "rate_per_second": "1000000"}


class Site:
    """A running service and its people."""

    def __init__(self, service: Service, operator: Client) -> None:
        """Invite an owner, a partner, an analyst and a microservice."""
        self.service = service
        self.operator = operator
        self.ids: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.owner, self.partner, self.analyst, self.microservice = (
            self._invite(role) for role in ("owner", "partner", "analyst", "service")
        )
        self.population = self.owner.create_population("people", unit="person", accounting="pure", total={"epsilon": "10000"})[
            "id"
        ]
        self.owner.set_allowance(self.population, self.ids["analyst"], epsilon="10000")
        self._datasets = 0

    def _invite(self, role: str) -> Client:
        more = {"may_create_populations": True} if role == "owner" else {}
        self.ids[role] = self.operator.create_principal(f"the-{role}", role, **more)["id"]
        self.tokens[role] = self.operator.create_token(self.ids[role])["token"]
        return self.service.client(self.tokens[role])

    def dataset(self, *, max_rows: int, rows_per_person: int = 1) -> str:
        """Declare one more people dataset."""
        self._datasets += 1
        body = people.dataset(
            name=f"people-{self._datasets}", population=self.population, max_rows=max_rows, rows_per_person=rows_per_person
        )
        made: str = self.owner.create_dataset(body)["id"]
        self.owner.put_grant(made, self.ids["partner"], ["upload"])
        self.owner.put_grant(made, self.ids["analyst"], ["query"])
        return made


@contextmanager
def site(within: Path, **settings: str) -> Iterator[Site]:
    """Run a service in a folder of its own for a block; replies do not wait for deadlines, rates are counted and never bind."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=within)))
        service = stack.enter_context(Service(folder, **(_USUAL | settings)))
        token = service.init()
        service.start()
        yield Site(service, service.client(token))


def table(within: Path, rows: int, *, rows_per_person: int = 1) -> Path:
    """Return the people table as a CSV file, made once a run."""
    path = within / f"people-{rows}-{rows_per_person}.csv"
    if not path.exists():
        with path.open("wb") as out:
            people.write(out, rows, rows_per_person=rows_per_person)
    return path
