"""Values for microservices: `keys.batch`, `keys.single`. One connection, one request after the other, plain `http.client`.

The peer of a single value is an endpoint of FastAPI that does nothing, in a process of its own (`python -m benchmarks.empty`).
"""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.figure import Result, Size, median, medians_in_turn, rate, seconds
from benchmarks.site import site
from demo.running import ROOT

_BATCH = 1_000


def both(size: Size) -> Iterator[Result]:
    """Measure a batch of 1,000 short values, and single values a second."""
    with site(size.folder) as here, _empty() as empty_port:
        here.owner.create_key("bench")
        here.owner.put_key_grant("bench", here.ids["service"], ["encrypt"])
        post = _poster(here.service.port, "/v1/keys/bench:encrypt", here.tokens["service"])
        many = json.dumps({"items": [{"text": f"value {number}", "associated_data": "row"} for number in range(_BATCH)]})
        one = json.dumps({"items": [{"text": "value", "associated_data": "row"}]})
        empty = _poster(empty_port, "/", "nobody")
        post(many)
        batch = median(lambda: seconds(lambda: post(many)), 10 * size.repeats)
        ours, peer = medians_in_turn(
            lambda: rate(lambda: post(one), lasting=size.seconds),
            lambda: rate(lambda: empty("{}"), lasting=size.seconds),
            size.repeats,
        )
        peak = here.service.peak_mb()
    yield Result(figure="keys.batch", ours=batch * 1000, unit="ms", rows=_BATCH, peak_mb=peak)
    yield Result(
        figure="keys.single", ours=ours, peer=peer, peer_name="an empty FastAPI endpoint", unit="requests/s", peak_mb=peak
    )


def _poster(port: int, path: str, token: str) -> Callable[[str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(body: str) -> bytes:
        connection.request("POST", path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        if reply.status != http.client.OK:
            raise RuntimeError(f"{path} said {reply.status}")
        return content

    return post


@contextmanager
def _empty() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.empty", str(port)], cwd=ROOT)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()
