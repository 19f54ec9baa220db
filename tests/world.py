"""A whole service for a test: real HTTP over a socket, a client for each role, a dataset to ask."""

import atexit
import base64
import contextlib
import functools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import SecretStr

from app.api.connection import serving
from app.clock import SystemClock
from app.main import create_app, open_desk
from app.operations import principals
from app.operations.desk import ROLES, Caller, Desk
from app.settings import Settings
from app.table.apart.parsers import Parsers
from tacit import Client

ROOT_KEY = base64.b64encode(bytes(range(32))).decode()

SCHEMA = [
    {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
    {"name": "name", "type": "text"},
    {"name": "hours", "type": "integer", "lower": 0, "upper": 99},
    {"name": "income", "type": "decimal", "step": "0.01", "lower": "0", "upper": "1000"},
    {"name": "sex", "type": "category", "categories": ["F", "M"]},
]
POLICY = {
    "patient_id": {"technique": "pseudonymize"},
    "name": {"technique": "suppress"},
    "hours": {"technique": "keep"},
    "income": {"technique": "keep"},
    "sex": {"technique": "keep"},
}
UNIT = {"column": "patient_id", "max_partitions_contributed": 1, "max_contributions_per_partition": 1}
ROWS = b"patient_id,name,hours,income,sex\n" + b"".join(
    f"P-{number},Name {number},{number % 60},{number}.25,{'FM'[number % 2]}\n".encode() for number in range(200)
)


class World:
    """A service on loopback; `owner`, `partner`, `analyst`, … are its clients."""

    def __init__(self, database_url: str, folder: Path, *, parsers: Parsers | None = None, **settings: Any) -> None:
        usual: dict[str, Any] = {"answer_deadline": "off", "paillier_minimum_bits": 2048, "stalled_upload_seconds": 5.0}
        usual |= {"scrub_bytes_per_second": 0}  # tests touch stored bytes and look what comes of it; those of the scrub set it
        usual |= {"rate_per_second": 0, "failed_tokens_per_minute": 0}  # tests hammer; those of the rates set them
        self.settings = Settings(folder=folder, database_url=database_url, root_key=ROOT_KEY, **(usual | settings))
        self.parsers = parsers or _parsers()
        self.desk: Desk = open_desk(self.settings, clock=SystemClock(), parsers=self.parsers)
        self.organisation, operator = principals.found_organisation(self.desk, name="clinic", operator="operator")
        self.tokens = {"operator": operator.reveal()}
        self.url = ""
        self._stack = contextlib.ExitStack()
        self.serve()
        self.operator = self.client("operator")
        self.ids: dict[str, str] = {"operator": self.operator.get_me()["id"]}
        for role in ROLES[1:]:
            made = self.operator.create_principal(f"the-{role}", role, may_create_populations=role == "owner" or False)
            self.ids[role] = made["id"]
            self.tokens[role] = self.operator.create_token(made["id"])["token"]
            setattr(self, role, self.client(role))

    def resume(self, database_url: str) -> None:
        """Serve the same people over another database, in the same folder, once this world is closed."""
        self.settings = self.settings.model_copy(update={"database_url": SecretStr(database_url)})
        self.desk = open_desk(self.settings, clock=SystemClock(), parsers=self.parsers)
        self._stack = contextlib.ExitStack()
        self.serve()
        for role in ROLES:
            setattr(self, role, self.client(role))

    owner: Client
    partner: Client
    analyst: Client
    service: Client
    auditor: Client

    def serve(self) -> None:
        """Start a server on a free port; a second call starts another one over the same database."""
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(self.settings, parsers=self.parsers), **serving(timeout_graceful_shutdown=2))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def stop() -> None:
            server.should_exit = True
            thread.join(20)
            listening.close()

        self._stack.callback(stop)

    def client(self, role: str) -> Client:
        made = Client(self.url, self.tokens[role])
        self._stack.callback(made.close)
        return made

    def caller(self, role: str) -> Caller:
        return principals.authenticate(self.desk, self.tokens[role])

    def newcomer(self, name: str, role: str) -> tuple[str, Client]:
        """Make one more principal; return its id and client."""
        made = self.operator.create_principal(name, role)
        self.ids[name], self.tokens[name] = made["id"], self.operator.create_token(made["id"])["token"]
        return made["id"], self.client(name)

    def population(self, *, name: str = "people", unit: str = "person", epsilon: str = "10") -> str:
        return str(self.owner.create_population(name, unit=unit, accounting="pure", total={"epsilon": epsilon})["id"])

    def dataset(self, population: str, *, name: str = "visits", **changes: Any) -> str:
        body = {
            "name": name,
            "population": population,
            "max_rows": 100_000,
            "schema": SCHEMA,
            "policy": POLICY,
            "privacy_unit": UNIT,
        }
        made = str(self.owner.create_dataset(body | changes)["id"])
        self.owner.put_grant(made, self.ids["partner"], ["upload"])
        self.owner.put_grant(made, self.ids["analyst"], ["query"])
        return made

    def filled(self, *, epsilon: str = "10", allowance: str = "5") -> tuple[str, str]:
        """Return a population and a dataset of 200 people that the analyst may ask about."""
        population = self.population(epsilon=epsilon)
        dataset = self.dataset(population)
        self.partner.upload(dataset, ROWS, media_type="text/csv")
        self.owner.set_allowance(population, self.ids["analyst"], epsilon=allowance)
        return population, dataset

    def close(self) -> None:
        self._stack.close()
        self.desk.workers.shutdown(wait=True)
        self.desk.anchors.close()
        self.desk.database.close()


@functools.cache
def _parsers() -> Parsers:
    """Return the parse processes of all worlds of a run: they keep nothing of an upload."""
    made = Parsers()
    atexit.register(made.close)
    return made


@contextlib.contextmanager
def running(database_url: str, folder: Path, **settings: Any) -> Iterator[World]:
    """A world for the time of a block."""
    made = World(database_url, folder, **settings)
    try:
        yield made
    finally:
        made.close()
