"""Threat C12, from event to receiver: signed, at least once, one id, fresh times, bounded costs; on both databases."""

import base64
import contextlib
import dataclasses
import io
import json
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import standardwebhooks
from standardwebhooks.webhooks import WebhookVerificationError

from app.clock import SystemClock
from app.crypto.keyring import Keyring
from app.errors import Conflict, NotFound, RateLimited, RowsRefused, SecretAlreadyShown
from app.log import Lines
from app.main import open_desk, read_root_key
from app.operations import deliveries, events, file_ingest, files, keychain, principals, webhooks
from app.operations.form import Form
from app.operations.once import Claim
from app.outside.addresses import Reach
from app.outside.webhooks import Sender
from app.settings import Settings
from app.store import webhooks as rows_of
from app.store.engine import Database
from tacit import Problem
from tests.attacks.laid_bare import disguises, every_cell, execute, rows
from tests.attacks.receivers import closed_port, drips, hangs, receiving
from tests.world import ROOT_KEY, ROWS, running

ROOT = Path(__file__).parents[2]


class Turned:
    """A clock that is turned by hand, from the present on."""

    def __init__(self):
        self.moment = datetime.now(UTC)

    def now(self):
        return self.moment

    def turn(self, **by):
        self.moment += timedelta(**by)


class Place:
    """A desk without a server, an owner and a partner, and nobody who delivers unless told to."""

    def __init__(self, url, folder):
        self.settings = Settings(folder=folder, database_url=url, root_key=ROOT_KEY, webhooks="loopback")
        self.clock = Turned()
        self.desk = open_desk(self.settings, clock=self.clock)
        self.organisation, operator = principals.found_organisation(self.desk, name="clinic", operator="operator")
        self.operator = principals.authenticate(self.desk, operator.reveal())
        self.owner, self.partner = self.newcomer("owner"), self.newcomer("partner")

    def newcomer(self, role, name=None):
        made = principals.create_principal(
            self.desk, self.operator, name=name or role, role=role, may_create_populations=False, claim=None
        )
        token = principals.create_token(self.desk, self.operator, made["id"], scopes=[], expires_at=None, claim=None)
        return principals.authenticate(self.desk, token["token"])

    def hook(self, url, *, caller=None, names=events.EVENTS):
        made = webhooks.create_webhook(self.desk, caller or self.owner, url=url, names=names, claim=None)
        return made["id"], made["secret"]

    def tell(self, number=0, event=events.LOW, *, besides=None):
        with self.desk.database.write() as tx:
            data = {"population": f"p{number}", "state": "low"}
            events.tell(self.desk, tx, event, organisation=self.organisation, besides_owners=besides, data=data)

    def deliver(self, desk=None):
        """Send all that is due now, one after the other; return how many tries that took."""
        desk, tries = desk or self.desk, 0
        while claimed := deliveries.claim(desk, most=deliveries.AT_ONCE):
            for one in claimed:
                deliveries.deliver(desk, one)
                tries += 1
        return tries

    def shown(self, hook, caller=None):
        return webhooks.get_webhook(self.desk, caller or self.owner, hook)

    def close(self):
        self.desk.workers.shutdown()
        self.desk.database.close()


@pytest.fixture
def place(backend, new_database, tmp_path):
    made = Place(new_database(backend), tmp_path)
    yield made
    made.close()


@pytest.fixture
def small_place(new_database, tmp_path):
    made = Place(new_database("sqlite"), tmp_path)
    yield made
    made.close()


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


def verify(secret, headers, body):
    return standardwebhooks.Webhook(secret).verify(body, headers)


# From event to receiver, through the whole house


def _tally(panel, roster, key):
    measures = {"x": {"lower": "0", "upper": "10", "scale": "1"}}
    body = {"name": "q3", "population": panel, "public_key": key.as_jwk(), "measures": measures, "roster": roster}
    return {**body, "minimum": 1, "deadline": "2099-01-01T00:00:00Z", "noise": None}


@pytest.mark.attack("C12")
def test_c12_events_of_every_kind_arrive_signed_and_tell_ids_alone(backend, new_database, tmp_path, receiver):
    from tacit.paillier import private

    with running(new_database(backend), tmp_path, webhooks="loopback") as world:
        owner = world.owner.create_webhook(receiver.url + "/owner", list(events.EVENTS))
        partner = world.partner.create_webhook(receiver.url + "/partner", ["upload.ready", "upload.failed"])
        stranger_id, stranger = world.newcomer("stranger", "partner")
        stranger.create_webhook(receiver.url + "/stranger", ["upload.ready", "upload.failed"])
        population, dataset = world.filled(epsilon="10", allowance="10")
        with pytest.raises(Problem):
            world.partner.upload(dataset, b"patient_id,name,hours,income,sex\nP-1,n,many,1.00,F\n", media_type="text/csv")
        question = {"select": [{"count": {}, "as": "n"}]}
        for number in range(3):
            asked = {**question, "where": {"column": "hours", "op": ">=", "value": number}}
            world.analyst.ask(dataset, asked, epsilon=("8", "1.5", "0.4")[number])
        world.analyst.ask(dataset, {**question, "where": {"column": "hours", "op": ">=", "value": 1}}, epsilon="1.5")
        key = private.generate(2048).public
        tally = world.analyst.create_tally(
            _tally(world.population(name="panel", unit="contributor"), [world.ids["partner"]], key)
        )
        world.partner.contribute(tally["id"], {"x": 3}, fingerprint=key.key_id)
        world.owner.close_tally(tally["id"])
        upload = next(iter(world.partner.list_uploads(dataset)))["id"]

        told = [verify(owner["secret"], *one) for one in receiver.wait_for("/owner", 4)]
        said = {one["type"]: one["data"] for one in told}
        failed = said["upload.failed"].pop("upload")
        assert said == {
            "upload.ready": {"dataset": dataset, "upload": upload, "state": "ready"},
            "upload.failed": {"dataset": dataset, "state": "failed"},
            "budget.low": {"population": population, "state": "low"},
            "tally.closed": {"tally": tally["id"], "state": "closed"},
        }
        assert failed != upload
        assert all(set(one) == {"type", "timestamp", "data"} for one in told)
        told = [verify(partner["secret"], *one) for one in receiver.wait_for("/partner", 2)]
        assert {one["type"] for one in told} == {"upload.ready", "upload.failed"}
        time.sleep(0.2)
        assert len(receiver.at("/owner")) == 4, "once each: a repeat and a second question below the line tell nothing"
        assert len(receiver.at("/partner")) == 2
        assert receiver.at("/stranger") == [], stranger_id
        shown = world.owner.get_webhook(owner["id"])
        assert {(one["state"], one["tries"], one["last_status"]) for one in shown["deliveries"]} == {("delivered", 1, 204)}
        assert world.partner.test_webhook(partner["id"])["status"] == "2xx"
        assert verify(partner["secret"], *receiver.at("/partner")[-1])["type"] == "test"


def test_a_file_that_came_in_pieces_tells_its_end_once_however_often_it_is_tried(backend, new_database, tmp_path, receiver):
    """A try that breaks off tells nothing: only the one that ends the file does, under the id that the file always had."""
    with running(new_database(backend), tmp_path, webhooks="loopback") as world:
        world.partner.create_webhook(receiver.url + "/in", ["upload.ready", "upload.failed"])
        dataset = world.dataset(world.population())
        named = {}
        for name, body in (("ready", ROWS), ("failed", ROWS + b"P-1,n,x,1.00,F\n")):
            caller = world.caller("partner")
            file = files.create(world.desk, caller, dataset, form=Form("text/csv", None), length=len(body), claim=None)["id"]
            files.append(world.desk, caller, file, offset=0, body=io.BytesIO(body))
            [(named[f"upload.{name}"],)] = rows(world.desk, "SELECT upload_id FROM files WHERE id = :id", id=file)
            with pytest.raises(ZeroDivisionError):
                file_ingest.ingest_file(world.desk, file, progress=lambda read: 1 // 0)
            with contextlib.nullcontext() if name == "ready" else pytest.raises(RowsRefused):
                file_ingest.ingest_file(world.desk, file)
        told = [json.loads(body) for _, body in receiver.wait_for("/in", 2)]
        time.sleep(0.2)
        assert {one["type"]: one["data"]["upload"] for one in told} == named
        assert len(receiver.at("/in")) == 2


def test_what_is_rolled_back_is_told_to_nobody(place, receiver):
    hook, _ = place.hook(receiver.url + "/in")
    with pytest.raises(Conflict), place.desk.database.write() as tx:
        events.tell(place.desk, tx, events.LOW, organisation=place.organisation, besides_owners=None, data={"population": "p"})
        raise Conflict("something later fails")
    assert place.shown(hook)["deliveries"] == []
    assert not place.desk.outbox.is_set()
    place.tell()
    assert place.desk.outbox.is_set()


def test_others_than_those_concerned_are_told_nothing(place, receiver):
    other = place.newcomer("partner", "other")
    _, rival = principals.found_organisation(place.desk, name="rival", operator="operator")
    place.hook(receiver.url + "/owner")
    for caller, path in ((place.partner, "/partner"), (other, "/other")):
        place.hook(receiver.url + path, caller=caller, names=["upload.ready"])
    place.tell(event=events.READY, besides=place.partner.id)
    place.deliver()
    assert [where for where, _, _ in sorted(receiver.seen)] == ["/owner", "/partner"]
    assert principals.authenticate(place.desk, rival.reveal()).organisation != place.organisation


def test_a_disabled_principal_is_told_nothing_more(place, receiver):
    hook, _ = place.hook(receiver.url + "/in")
    place.tell(1)
    principals.delete_principal(place.desk, place.operator, place.owner.id)
    place.tell(2)
    assert place.deliver() == 1
    assert receiver.seen == []
    states = rows(place.desk, "SELECT state FROM deliveries WHERE webhook_id = :id", id=hook)
    assert [state for (state,) in states] == ["given-up"]


# Signatures


@pytest.mark.attack("C12")
def test_c12_what_is_altered_replayed_or_given_another_id_does_not_verify(small_place, receiver):
    hook, secret = small_place.hook(receiver.url + "/in")
    small_place.tell()
    small_place.deliver()
    [(headers, body)] = receiver.at("/in")
    assert verify(secret, headers, body)["type"] == "budget.low"
    assert headers["webhook-id"] == small_place.shown(hook)["deliveries"][0]["id"]
    later = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 60)}
    for altered, text in ((headers, body + b" "), ({**headers, "webhook-id": "other"}, body), (later, body)):
        with pytest.raises(WebhookVerificationError, match="No matching signature"):
            verify(secret, altered, text)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verify("whsec_" + base64.b64encode(bytes(32)).decode(), headers, body)


@pytest.mark.attack("C12")
def test_c12_a_message_that_was_kept_for_an_hour_is_refused_by_its_time(small_place, receiver):
    _, secret = small_place.hook(receiver.url + "/in")
    small_place.clock.turn(hours=-1)
    small_place.tell()
    small_place.deliver()
    [(headers, body)] = receiver.at("/in")
    with pytest.raises(WebhookVerificationError, match="too old"):
        verify(secret, headers, body)


def test_tries_share_the_id_and_have_times_and_signatures_of_their_own(small_place, receiver):
    _, secret = small_place.hook(receiver.url + "/in")
    receiver.manners["/in"] = 500
    small_place.clock.turn(seconds=-10)
    small_place.tell()
    small_place.deliver()
    small_place.clock.turn(seconds=10)
    small_place.deliver()
    first, second = receiver.at("/in")
    assert verify(secret, *first) == verify(secret, *second)
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert int(second[0]["webhook-timestamp"]) - int(first[0]["webhook-timestamp"]) == 10
    assert first[0]["webhook-signature"] != second[0]["webhook-signature"]


def test_after_a_rotation_both_secrets_verify_for_a_day(place, receiver):
    hook, old = place.hook(receiver.url + "/in")
    new = webhooks.rotate_webhook(place.desk, place.owner, hook, claim=None)["secret"]
    place.clock.turn(minutes=-1)
    place.tell()
    place.deliver()
    [message] = receiver.at("/in")
    assert verify(old, *message) == verify(new, *message)
    assert message[0]["webhook-signature"].count(" ") == 1
    place.clock.turn(hours=24, minutes=1)
    webhooks.test_webhook(place.desk, place.owner, hook)
    headers, body = receiver.at("/in")[-1]
    assert " " not in headers["webhook-signature"]
    stamped = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert standardwebhooks.Webhook(new).sign(headers["webhook-id"], stamped, body.decode()) == headers["webhook-signature"]
    third = webhooks.rotate_webhook(place.desk, place.owner, hook, claim=None)["secret"]
    assert len({old, new, third}) == 3
    assert all(re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", one) for one in (old, new, third))


# Tries, waits, ends


def test_waits_grow_over_days_and_end(place, receiver):
    """Turned to a moment before each is due, nothing is sent; a fifth of the wait later, it is."""
    hook, _ = place.hook(receiver.url + "/in")
    receiver.manners["/in"] = 503
    place.tell()
    assert place.deliver() == 1
    for number, wait in enumerate(deliveries.WAITS, start=1):
        [one] = place.shown(hook)["deliveries"]
        assert (one["state"], one["tries"], one["last_status"]) == ("waiting", number, 503)
        place.clock.turn(seconds=wait.total_seconds() - 1)
        assert place.deliver() == 0, number
        place.clock.turn(seconds=1 + 0.2 * wait.total_seconds())
        assert place.deliver() == 1, number
    [one] = place.shown(hook)["deliveries"]
    assert (one["state"], one["tries"]) == ("given-up", 10)
    assert place.shown(hook)["state"] == "failing"
    assert sum(deliveries.WAITS, timedelta()) > timedelta(days=3)
    place.clock.turn(days=9)
    assert place.deliver() == 0
    assert len({headers["webhook-id"] for headers, _ in receiver.at("/in")}) == 1

    receiver.manners["/in"] = 200
    again = webhooks.retry_delivery(place.desk, place.owner, hook, one["id"])
    assert (again["state"], again["tries"]) == ("waiting", 0)
    assert place.deliver() == 1
    assert (place.shown(hook)["state"], place.shown(hook)["deliveries"][0]["state"]) == ("active", "delivered")
    with pytest.raises(Conflict):
        webhooks.retry_delivery(place.desk, place.owner, hook, one["id"])


@pytest.mark.parametrize(("asked", "seconds"), [("90", 90), ("1", 5), ("999999999", 24 * 3600), ("soon", 5), ("-5", 5)])
def test_retry_after_is_honoured_within_bounds(small_place, receiver, asked, seconds):
    def busy(handler):
        handler.send_response(429)
        handler.send_header("Retry-After", asked)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    receiver.manners["/in"] = busy
    hook, _ = small_place.hook(receiver.url + "/in")
    small_place.tell()
    small_place.deliver()
    [one] = small_place.shown(hook)["deliveries"]
    waits = (datetime.fromisoformat(one["due_at"]) - small_place.clock.now()).total_seconds()
    assert seconds <= waits <= seconds * (1.2 if seconds == 5 else 1)


def test_gone_ends_a_webhook_until_a_test_is_taken(place, receiver):
    hook, _ = place.hook(receiver.url + "/in")
    receiver.manners["/in"] = 410
    for number in range(3):
        place.tell(number)
    assert place.deliver() == 1
    shown = place.shown(hook)
    assert shown["state"] == "gone"
    assert [one["state"] for one in shown["deliveries"]] == ["given-up"] * 3
    place.tell(4)
    assert place.deliver() == 0
    with pytest.raises(Conflict):
        webhooks.retry_delivery(place.desk, place.owner, hook, shown["deliveries"][0]["id"])
    assert not webhooks.test_webhook(place.desk, place.owner, hook)["delivered"]
    assert place.shown(hook)["state"] == "gone"
    receiver.manners["/in"] = 200
    assert webhooks.test_webhook(place.desk, place.owner, hook)["delivered"]
    assert place.shown(hook)["state"] == "active"
    place.tell(5)
    assert place.deliver() == 1


def test_what_was_told_is_forgotten_after_thirty_days_and_what_waits_is_not(place, receiver):
    hook, _ = place.hook(receiver.url + "/in")
    place.tell(1)
    place.deliver()
    receiver.manners["/in"] = 500
    place.tell(2)
    place.deliver()
    place.clock.turn(days=30)
    deliveries.sweep(place.desk)
    assert len(place.shown(hook)["deliveries"]) == 2
    place.clock.turn(seconds=1)
    deliveries.sweep(place.desk)
    assert [one["state"] for one in place.shown(hook)["deliveries"]] == ["waiting"]


def test_deleting_forgets_what_waits(place, receiver):
    hook, _ = place.hook(receiver.url + "/in")
    place.tell()
    [claimed] = deliveries.claim(place.desk, most=1)
    webhooks.delete_webhook(place.desk, place.owner, hook)
    deliveries.deliver(place.desk, claimed)
    assert (place.deliver(), receiver.seen, rows(place.desk, "SELECT id FROM deliveries")) == (0, [], [])


# Slow ones, several processes, dead ones


@pytest.mark.attack("C12")
def test_c12_slow_receivers_do_not_hold_up_others(place, receiver):
    """As many hang or drip as one principal may have; what another waits for arrives meanwhile, in order of asking."""
    desk = dataclasses.replace(place.desk, clock=SystemClock(), sender=Sender(reach=Reach.LOOPBACK, connect=1, total=6))
    for number in range(webhooks.MOST):
        receiver.manners[f"/slow{number}"] = (hangs, drips)[number % 2]
        place.hook(f"{receiver.url}/slow{number}")
    quick = place.newcomer("owner", "quick")
    place.hook(receiver.url + "/quick", caller=quick)
    for number in range(5):
        place.tell(number)
    began = time.monotonic()
    with deliveries.at_work(desk):
        receiver.wait_for("/quick", 5)
        assert time.monotonic() - began < 5.8, "before the first of the slow ones was given up"
        assert {len(receiver.at(f"/slow{number}")) for number in range(webhooks.MOST)} == {1}, "one at a time each"
    assert time.monotonic() - began < 25, "a stop waits for what is being sent, and for nothing else"


@pytest.mark.attack("C12")
def test_c12_dispatchers_of_several_processes_deliver_each_message_once(place, receiver):
    for number in range(6):
        place.hook(f"{receiver.url}/{number}")
    for number in range(10):
        place.tell(number)
    others = [open_desk(place.settings, clock=SystemClock()) for _ in range(3)]
    with deliveries.at_work(others[0]), deliveries.at_work(others[1]), deliveries.at_work(others[2]):
        for number in range(6):
            receiver.wait_for(f"/{number}", 10, seconds=20)
    for desk in others:
        desk.workers.shutdown()
        desk.database.close()
    ids = [headers["webhook-id"] for _, headers, _ in receiver.seen]
    assert len(ids) == len(set(ids)) == 60
    assert rows(place.desk, "SELECT DISTINCT state, tries FROM deliveries") == [("delivered", 1)]


def test_a_webhook_has_one_message_under_way_whoever_claims(place, receiver):
    place.hook(receiver.url + "/in")
    for number in range(3):
        place.tell(number)
    start, got = threading.Barrier(4), []

    def race():
        start.wait(10)
        got.extend(deliveries.claim(place.desk, most=4))

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert deliveries.claim(place.desk, most=4) == []
    [hook] = {one.webhook_id for one in got}
    now = place.clock.now()
    execute(place.desk, "UPDATE deliveries SET due_at = 0 WHERE lease_until IS NULL")
    with place.desk.database.write() as tx:
        assert rows_of.claim(tx, hook, now=now, until=now + deliveries.LEASE) is None, "nor for one that looked before"
    deliveries.deliver(place.desk, got[0])
    assert len(deliveries.claim(place.desk, most=4)) == 1


def test_killed_between_sending_and_noting_it_is_sent_again_under_its_id(place, receiver):
    hook, secret = place.hook(receiver.url + "/in")
    place.tell()
    told = {"folder": str(place.settings.folder), "url": place.settings.database()}
    command = [sys.executable, "-m", "tests.attacks.sending_and_dying", json.dumps(told)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()[-2000:]
    [first] = receiver.at("/in")
    place.clock.moment = datetime.now(UTC)
    assert place.deliver() == 0, "the lease still stands"
    place.clock.turn(seconds=deliveries.LEASE.total_seconds() + 1)
    assert place.deliver() == 1
    second = receiver.at("/in")[-1]
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert verify(secret, *first) == verify(secret, *second)
    [one] = place.shown(hook)["deliveries"]
    assert (one["state"], one["tries"]) == ("delivered", 2)


def test_who_slept_through_its_lease_notes_nothing(place, receiver):
    hook, _ = place.hook(receiver.url + "/in")
    receiver.manners["/in"] = 500
    place.tell()
    [sleeper] = deliveries.claim(place.desk, most=1)
    place.clock.turn(seconds=deliveries.LEASE.total_seconds() + 1)
    receiver.manners["/in"] = 204
    assert place.deliver() == 1
    receiver.manners["/in"] = 410
    deliveries.deliver(place.desk, sleeper)
    shown = place.shown(hook)
    assert (shown["state"], shown["deliveries"][0]["state"], shown["deliveries"][0]["tries"]) == ("active", "delivered", 2)


# Who may, what shows, what is believed


def test_own_ones_alone(place, receiver):
    hook, _ = place.hook(receiver.url + "/in", caller=place.partner, names=["upload.ready"])
    other = place.newcomer("partner", "other")
    for caller in (place.owner, other):
        assert webhooks.list_webhooks(place.desk, caller, after="", limit=10)["items"] == []
        for operation in (webhooks.get_webhook, webhooks.delete_webhook, webhooks.test_webhook):
            with pytest.raises(NotFound):
                operation(place.desk, caller, hook)
        with pytest.raises(NotFound):
            webhooks.rotate_webhook(place.desk, caller, hook, claim=None)
    assert [one["id"] for one in webhooks.list_webhooks(place.desk, place.partner, after="", limit=10)["items"]] == [hook]


def test_a_principal_has_ten_at_most(place):
    for number in range(webhooks.MOST):
        place.hook(f"http://localhost:9/{number}")
    with pytest.raises(Conflict):
        place.hook("http://localhost:9/more")


def test_the_same_key_makes_one_webhook_and_shows_its_secret_once(place):
    claim = Claim("k", b"the same request")

    def create():
        url = "http://localhost:9/in"
        return webhooks.create_webhook(place.desk, place.owner, url=url, names=["budget.low"], claim=claim)

    hook = create()["id"]
    with pytest.raises(SecretAlreadyShown):
        create()
    assert [one["id"] for one in webhooks.list_webhooks(place.desk, place.owner, after="", limit=10)["items"]] == [hook]
    turn = Claim("r", b"rotate")
    webhooks.rotate_webhook(place.desk, place.owner, hook, claim=turn)
    with pytest.raises(SecretAlreadyShown):
        webhooks.rotate_webhook(place.desk, place.owner, hook, claim=turn)


def test_a_partner_is_offered_what_partners_are_told(small_place):
    for name in ("budget.low", "tally.closed", "upload.unheard-of"):
        with pytest.raises(Exception, match="told to this role") as refused:
            small_place.hook("http://localhost:9/", caller=small_place.partner, names=["upload.ready", name])
        assert [fault.pointer for fault in refused.value.faults] == ["/events/1"]


@pytest.mark.attack("C12")
@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "http://10.0.0.1/", "https://169.254.169.254/latest", "https://u:p@a.example/"]
)
def test_c12_inside_addresses_are_refused_when_they_are_registered(small_world, url):
    with pytest.raises(Problem) as refused:
        small_world.partner.create_webhook(url, ["upload.ready"])
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert url not in str(refused.value)


@pytest.mark.attack("C12")
def test_c12_a_name_that_leads_inside_is_refused_when_it_is_tested(small_world, receiver):
    hook = small_world.partner.create_webhook(f"https://localhost:{receiver.port}/in", ["upload.ready"])
    told = small_world.partner.test_webhook(hook["id"])
    assert (told["delivered"], told["status"], told["problem"]) == (False, None, "unreachable")
    assert receiver.seen == []


def test_a_test_tells_status_class_and_time_and_nothing_of_the_reply(small_place, receiver):
    def chats(handler):
        handler.send_response(418)
        handler.send_header("X-Canary", "CanaryZq84Vx")
        handler.send_header("Content-Length", "12")
        handler.end_headers()
        handler.wfile.write(b"CanaryZq84Vx")

    receiver.manners["/in"] = chats
    hook, _ = small_place.hook(receiver.url + "/in")
    told = webhooks.test_webhook(small_place.desk, small_place.owner, hook)
    assert told.pop("milliseconds") >= 0
    assert told == {"webhook": hook, "delivered": False, "status": "4xx", "problem": None}
    assert b"CanaryZq84Vx" not in every_cell(small_place.desk)
    nobody, _ = small_place.hook(f"http://127.0.0.1:{closed_port()}/")
    assert webhooks.test_webhook(small_place.desk, small_place.owner, nobody)["problem"] == "unreachable"


@pytest.mark.attack("C12")
def test_c12_hanging_tests_leave_the_threads_of_the_service_to_others(small_place, receiver):
    receiver.manners["/in"] = hangs
    hook, _ = small_place.hook(receiver.url + "/in")
    outcomes = []

    def ask():
        try:
            outcomes.append(webhooks.test_webhook(small_place.desk, small_place.owner, hook)["problem"])
        except RateLimited:
            outcomes.append("refused")

    small_place.desk = dataclasses.replace(small_place.desk, sender=Sender(reach=Reach.LOOPBACK, connect=1, total=1))
    threads = [threading.Thread(target=ask) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 3 + ["timeout"] * 4


@pytest.mark.attack("C12")
def test_c12_no_secret_is_in_the_database_the_logs_or_a_print(place, receiver):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    try:
        hook, old = place.hook(receiver.url + "/in")
        new = webhooks.rotate_webhook(place.desk, place.owner, hook, claim=Claim("k", b"r"))["secret"]
        receiver.manners["/in"] = 500
        place.tell()
        place.deliver()
        execute(place.desk, "UPDATE webhooks SET url = 'http://127.0.0.1:1/CanaryZq84Vx' WHERE id = :id", id=hook)
        place.clock.turn(minutes=1)
        place.deliver()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    cells, logged = every_cell(place.desk), stream.getvalue().encode()
    assert b"webhook tried" in logged
    assert b"does not verify" in logged
    assert b"CanaryZq84Vx" not in logged
    for secret in (old, new):
        raw = base64.b64decode(secret.removeprefix("whsec_"))
        for form in (raw, raw.hex().encode(), *disguises(secret.removeprefix("whsec_"))):
            assert form not in cells
            assert form not in logged


@pytest.mark.attack("C12")
@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE webhooks SET url = :elsewhere",
        'UPDATE webhooks SET events = \'["budget.low","upload.ready"]\'',
        "UPDATE webhooks SET earlier_secret = secret",
        "UPDATE deliveries SET body = '{}'",
        "UPDATE deliveries SET event = 'upload.ready'",
    ],
)
def test_c12_what_somebody_wrote_into_the_database_is_neither_signed_nor_sent(place, receiver, edit):
    hook, _ = place.hook(receiver.url + "/in", names=["budget.low"])
    place.tell(1)
    values = {"elsewhere": receiver.url + "/elsewhere"} if ":elsewhere" in edit else {}
    execute(place.desk, edit, **values)
    place.tell(2)
    place.deliver()
    sent = [json.loads(body)["data"]["population"] for _, _, body in receiver.seen]
    assert sent == ([] if "webhooks" in edit else ["p2"])
    states = sorted(state for (state,) in rows(place.desk, "SELECT state FROM deliveries WHERE webhook_id = :id", id=hook))
    assert states == (["given-up"] if "webhooks" in edit else ["delivered", "given-up"])


def test_an_upload_is_not_refused_for_a_webhook_that_does_not_verify(small_world):
    dataset = small_world.dataset(small_world.population())
    small_world.owner.create_webhook("https://localhost:9/", ["upload.ready"])
    execute(small_world.desk, "UPDATE webhooks SET url = 'https://localhost:1/'")
    assert small_world.partner.upload(dataset, ROWS, media_type="text/csv")["state"] == "ready"


def test_an_older_installation_gets_its_missing_key_at_start_and_two_starts_agree(backend, new_database, tmp_path):
    url = new_database(backend)
    settings = Settings(folder=tmp_path, database_url=url, root_key=ROOT_KEY)
    database = Database(url)
    with database.write() as tx:
        from app.store.tables import PurposeKey

        for row in tx.query(PurposeKey).filter(PurposeKey.purpose == "webhooks"):
            tx.delete(row)
    start, held = threading.Barrier(4), []

    def begin():
        mine, ring = Database(url), Keyring(read_root_key(settings))
        keychain.load(mine, ring)
        start.wait(10)
        keychain.lay_missing(mine, ring, SystemClock())
        held.append(ring.purpose_key("webhooks", organisation=keychain.SYSTEM, scope=""))
        mine.close()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    late = open_desk(settings, clock=SystemClock())
    assert set(held) == {keychain.system_key(late, "webhooks")}
    assert len(held) == 4
    late.workers.shutdown()
    late.database.close()
    database.close()
