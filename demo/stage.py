"""What the chapters hand on to each other."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.cast import Cast
from demo.running import Service
from demo.tables import Patients, patients
from demo.telling import Teller
from tacit import Answer


@dataclass(slots=True)
class Stage:
    """The service, the tables, the people, and what they made so far."""

    teller: Teller
    service: Service
    patients: Patients = field(default_factory=patients)
    ids: dict[str, str] = field(default_factory=dict)  # population and datasets, by name
    answers: dict[str, Answer] = field(default_factory=dict)
    key_set: dict[str, Any] = field(default_factory=dict)
    invited: Cast | None = None

    @property
    def cast(self) -> Cast:
        """Return who plays."""
        assert self.invited is not None
        return self.invited

    @property
    def people_csv(self) -> Path:
        """Return where the made-up people are."""
        return self.service.folder / "people.csv"

    def database_files(self) -> list[Path]:
        """Return the database's file and its write-ahead log."""
        return sorted(path for path in (self.service.folder / "var").iterdir() if path.name.startswith("tacit.db"))
