"""The chapter in which three partners add up numbers that nobody shows to anybody."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from demo import foreign
from demo.stage import Stage
from tacit import tallies
from tacit.paillier import private
from tacit.paillier.encoding import Values

REVENUE = {"north": "1250.75", "south": "830.10", "east": "412.15"}
VISITS = {"north": 340, "south": 128, "east": 77}
_SCALE = 100


def add_up(stage: Stage) -> None:
    """Declare a tally, contribute three times, close, open."""
    tell, cast = stage.teller, stage.cast
    with tell.chapter("Three partners add up numbers that the service can't read"):
        key = private.generate()
        key.save(stage.service.folder / "tally.key")
        tell.say(f"The key owner made a Paillier key of {key.public.bits} bits; its private half never left its machine.")
        began = time.perf_counter()
        population = cast.owner.client.create_population("clinics", unit="contributor", accounting="pure", total={"epsilon": "1"})
        tally = cast.key_owner.client.create_tally(_body(stage, population["id"], key.public.as_jwk()))
        tell.say(f"The service checked the key and opened the tally in {time.perf_counter() - began:.1f} s.")
        _contribute(stage, tally["id"], key.public.key_id)
        cast.owner.client.close_tally(tally["id"])
        total = cast.key_owner.client.get_sum(tally["id"])
        tell.holds("the encrypted total is the same bytes every time", so=cast.key_owner.client.get_sum(tally["id"]) == total)
        opened = tallies.opened(tally, total, key=key)
        revenue, visits = opened["revenue"], opened["visits"]
        assert not isinstance(revenue, tuple)
        assert not isinstance(visits, tuple)
        tell.holds(
            f"the key owner opens the total: revenue {float(revenue):.2f}, visits {visits}",
            so=revenue * _SCALE == sum(map(_units, REVENUE.values())) and visits == sum(VISITS.values()),
        )
        tell.say(f"The reply warns: {total['warning']}")


def _contribute(stage: Stage, tally: str, fingerprint: str) -> None:
    tell, cast = stage.teller, stage.cast
    for name, partner in (("north", cast.north), ("south", cast.south)):
        values: Values = {"revenue": REVENUE[name], "visits": VISITS[name]}
        receipt = partner.client.contribute(tally, values, fingerprint=fingerprint)["receipt"]
        tell.holds(f"the {name} clinic encrypts with tacit and gets a receipt", so=receipt["contributor"] == partner.id)
    units = [_units(REVENUE["east"]), VISITS["east"]]
    receipt = foreign.contribute(stage.service.url, cast.east.token, tally, fingerprint=fingerprint, units=units)["receipt"]
    tell.holds("the east clinic does it with plain phe and no software of ours", so=receipt["contributor"] == cast.east.id)


def _body(stage: Stage, population: str, public_key: dict[str, str]) -> dict[str, Any]:
    return {
        "name": "first-quarter",
        "population": population,
        "public_key": public_key,
        "measures": {
            "revenue": {"lower": "0", "upper": "1000000", "scale": "0.01"},
            "visits": {"lower": "0", "upper": "100000", "scale": "1"},
        },
        "roster": [stage.cast.north.id, stage.cast.south.id, stage.cast.east.id],
        "minimum": 3,
        "deadline": (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "noise": None,
    }


def _units(amount: str) -> int:
    return round(float(amount) * _SCALE)
