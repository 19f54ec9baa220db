"""The chapters in which data comes in, is kept, and leaves to who may open it."""

import csv
import json
import time
from pathlib import Path

from benchmarks import people
from demo import search, tables
from demo.cast import Cast, Player
from demo.stage import Stage
from tacit import recipient_keys, sealing
from tacit.opening import open_file

BATCH = 1_000


def start(stage: Stage) -> None:
    """Start the service on nothing."""
    tell = stage.teller
    with tell.chapter("A service starts in an empty folder"):
        token = stage.service.init()
        seconds = stage.service.start()
        tell.say(f"`python -m app init` made the root key, the tables and the operator; `serve` was ready after {seconds:.1f} s.")
        stage.invited = Cast(stage.service, token)
        stage.key_set = dict(stage.cast.analyst.client.signing_keys())
        tell.holds("the analyst pins the service's public signing keys now, to check documents later", so=bool(stage.key_set))


def declare(stage: Stage) -> None:
    """Let the owner say who the people are, and what becomes of each column."""
    tell, cast, owner = stage.teller, stage.cast, stage.cast.owner.client
    with tell.chapter("The owner declares the people, their budget, and a technique for every column"):
        stage.ids["population"] = owner.create_population("patients", unit="person", accounting="pure", total={"epsilon": "10"})[
            "id"
        ]
        public = recipient_keys.new(stage.service.folder / "recipient.key")
        owner.create_key("registry", kind="recipient", public_key=public.to_json())
        for body in _bodies(stage):
            made: str = owner.create_dataset(body)["id"]
            stage.ids[str(body["name"])] = made
            owner.put_grant(made, cast.north.id, ["upload"])
            owner.put_grant(made, cast.analyst.id, ["query"])
        owner.put_grant(stage.ids["diabetes"], cast.registry.id, ["export"])
        owner.set_allowance(stage.ids["population"], cast.analyst.id, epsilon="2")
        policy = [(name, str(one["technique"]), _detail(one)) for name, one in people.policy().items()]
        tell.show("The policy of the table `people`", ["column", "technique", "how"], policy)
        kept = owner.get_dataset(stage.ids["people"])["policy"]
        tell.holds("the service keeps exactly the columns' techniques that were declared", so=set(kept) == set(people.policy()))
        tell.say("The population may be told about for ε = 10 in all; the analyst may spend 2 of it.")


def upload(stage: Stage) -> None:
    """Let a partner send both tables."""
    tell, partner = stage.teller, stage.cast.north.client
    tables.write_people(stage.people_csv)
    with tell.chapter(f"A partner uploads {tables.PEOPLE:,} made-up people and {len(stage.patients.rows)} real patients"):
        began = time.perf_counter()
        report = partner.upload(stage.ids["people"], stage.people_csv)
        seconds = time.perf_counter() - began
        megabytes = stage.people_csv.stat().st_size / 1e6
        tell.say(f"{megabytes:.1f} MB of CSV in {seconds:.2f} s: {tables.PEOPLE / seconds:,.0f} rows a second, on the disk.")
        tell.holds(f"the receipt speaks of {report['rows']:,} rows", so=report["rows"] == tables.PEOPLE)
        patients = partner.upload(stage.ids["diabetes"], stage.patients.as_csv(), media_type="text/csv")
        tell.holds(
            f"and of {patients['rows']} patients (scikit-learn's diabetes table)", so=patients["rows"] == len(stage.patients.rows)
        )


def search_the_database(stage: Stage) -> None:
    """Look for every identifier in the bytes of the database."""
    tell = stage.teller
    with tell.chapter("Somebody steals the database file"):
        needles = tables.identifiers(stage.people_csv)
        needles += [text.encode() for text in [*stage.patients.ids, *stage.patients.names]]
        wanted = set(needles)
        files = stage.database_files()
        size = sum(path.stat().st_size for path in files) / 1e6
        patients = stage.service.folder / "patients.csv"
        patients.write_bytes(stage.patients.as_csv())
        control = search.found(wanted, [stage.people_csv, patients])
        tell.holds(f"the search finds all {len(wanted):,} identifiers in the CSV files: it works", so=control == wanted)
        found = search.found(wanted, files)
        names = " and ".join(path.name for path in files)
        tell.holds(f"{len(wanted):,} identifiers searched in {names} ({size:.1f} MB): {len(found)} found", so=not found)


def open_sealed_names(stage: Stage) -> None:
    """Export to the registry, and open there what was sealed to it."""
    tell, folder = stage.teller, stage.service.folder
    with tell.chapter("A registry opens what was sealed to it; the service can't"):
        export, opened = folder / "export.csv", folder / "opened.csv"
        stage.cast.registry.client.export_rows(stage.ids["diabetes"], export, purpose="national registry, article 9")
        sealed = _column(export, "name")[0]
        tell.say(f"In the export, the first name reads {sealed[:40]}… ({len(sealed):,} characters).")
        key = recipient_keys.load(folder / "recipient.key")
        tell.say(f"The registry's private key ({key.public_key.kem}) never left its own file.")
        envelope, cell = sealing.from_text(sealed)
        name = sealing.Opener(key).open(envelope, cell, sealing.place_of(envelope)).decode()
        tell.holds(f"its private key opens that one field: {name!r}", so=name == stage.patients.names[0])
        count, _ = open_file(export, opened, key=key)
        tell.holds(f"and all {count} names are the ones that were sent", so=_column(opened, "name") == stage.patients.names)
        other = sealing.generate(sealing.Kem.MLKEM768_X25519)
        tell.holds("another private key opens nothing", so=not _opens(other, envelope, cell))
        entries = stage.cast.owner.client.ledger(stage.ids["population"])
        kinds = [entry["kind"] for entry in entries]
        tell.holds("the export stands in the privacy ledger as an unprotected release", so=kinds == ["unprotected-release"])


def serve_a_microservice(stage: Stage) -> None:
    """Encrypt and decrypt a batch for a service that never holds a key."""
    tell, cast = stage.teller, stage.cast
    with tell.chapter("A microservice encrypts and decrypts without ever holding a key"):
        cast.owner.client.create_key("card-notes")
        cast.owner.client.put_key_grant("card-notes", cast.microservice.id, ["encrypt", "decrypt"])
        items = [{"reference": str(n), "text": f"note {n}", "associated_data": f"order-{n}"} for n in range(BATCH)]
        began = time.perf_counter()
        sealed = cast.microservice.client.encrypt("card-notes", items)["items"]
        tell.say(f"{BATCH:,} values in {(time.perf_counter() - began) * 1000:.0f} ms, such as {sealed[0]['ciphertext'][:44]}…")
        back = [
            {"reference": one["reference"], "ciphertext": one["ciphertext"], "associated_data": item["associated_data"]}
            for one, item in zip(sealed, items, strict=True)
        ]
        opened = cast.microservice.client.decrypt("card-notes", back)["items"]
        texts = [one.get("text") for one in opened]
        tell.holds("all come back as they were", so=texts == [item["text"] for item in items])
        moved = [{**back[0], "associated_data": "order-1"}]
        reply = cast.microservice.client.decrypt("card-notes", moved)["items"][0]
        code = reply.get("error", {}).get("code")
        tell.holds(f"a ciphertext moved to another order does not open ({code})", so="text" not in reply and code is not None)
        _pseudonyms_join(stage, cast.microservice)


def _pseudonyms_join(stage: Stage, service: Player) -> None:
    """Show that a service which was granted it gets the pseudonyms that the datasets hold."""
    owner, population = stage.cast.owner.client, stage.ids["population"]
    owner.put_population_grant(population, service.id, ["pseudonymize"])
    reply = service.client.pseudonymize(population, [{"text": stage.patients.ids[0]}], kind="person-id")
    stored = _column(stage.service.folder / "export.csv", "patient_id")[0]
    stage.teller.holds(
        f"asked for a patient's pseudonym, the service gives the dataset's: {stored[:12]}…",
        so=reply["items"][0].get("pseudonym") == stored,
    )


def _bodies(stage: Stage) -> list[dict[str, object]]:
    population = stage.ids["population"]
    return [
        people.dataset(name="people", population=population, max_rows=tables.MOST_PEOPLE),
        tables.patients_dataset(population=population, recipient="registry"),
    ]


def _detail(technique: dict[str, object]) -> str:
    more = {name: value for name, value in technique.items() if name != "technique"}
    return json.dumps(more).strip("{}").replace('"', "")


def _column(path: Path, name: str) -> list[str]:
    csv.field_size_limit(1 << 20)
    with path.open(encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def _opens(key: sealing.RecipientPrivateKey, envelope: bytes, cell: bytes) -> bool:
    try:
        sealing.Opener(key).open(envelope, cell, sealing.place_of(envelope))
    except sealing.NotOpened:
        return False
    return True
