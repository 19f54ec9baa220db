"""`redact.text`: sentences a second in which entities are found and replaced, beside Presidio's pattern recognisers.

The peer finds only; ours finds and replaces. `redact.text.recall` is the share of planted entities that were found whole,
`redact.text.precision` the share of what was found that was planted, whatever kind it was taken for; both over the peer's
sentences. As it comes, Presidio looks for phones of eight countries, and ours for those of one; `redact.text.one_country` says what
is left when Presidio's is told to look for one as well.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.deidentification.redaction.find import find
from app.deidentification.redaction.redact import redact
from app.deidentification.redaction.technique import RedactText
from app.table.arrow import pa
from benchmarks import peers
from benchmarks.figure import Result, Size, medians_in_turn, seconds
from benchmarks.sentences import Sentence, sentences

_TECHNIQUE = RedactText(country="US")
_PEER = ["presidio-analyzer==2.2.366", "phonenumbers==9.0.43"]
_PEER_ROWS = 2_000
Spans = Sequence[tuple[int, int]]


def text(size: Size) -> Iterator[Result]:
    """Measure ours on a tenth of the rows (100,000), the peer on the first 2,000 of them; rates are compared."""
    rows = max(size.rows // 10, _PEER_ROWS // 10)
    made = list(sentences(rows))
    column = pa.array([one.text for one in made])
    few = made[: min(_PEER_ROWS, rows // 5)]

    def ours() -> float:
        return rows / seconds(lambda: redact(column, _TECHNIQUE, keys={}))

    found = [[(one.start, one.end) for one in find(sentence.text, _TECHNIQUE.find, _TECHNIQUE.country)] for sentence in few]
    recall, precision = _quality(few, found)
    python = peers.environment("presidio", _PEER, install=size.repeats > 1)
    if python is None:
        ours()
        rate = ours()
        yield Result(figure="redact.text", ours=rate, peer_name="absent: Presidio", unit="sentences/s", rows=rows)
        yield Result(figure="redact.text.recall", ours=recall, peer_name="absent: Presidio", unit="ratio", rows=len(few))
        yield Result(figure="redact.text.precision", ours=precision, peer_name="absent: Presidio", unit="ratio", rows=len(few))
        return
    with _presidio(python, [one.text for one in few]) as peer:
        ours()
        rate, their_rate = medians_in_turn(ours, lambda: len(few) / peer.measure("all"), size.repeats)
        again, one_country = medians_in_turn(ours, lambda: len(few) / peer.measure("one"), size.repeats)
        their_recall, their_precision = _quality(few, peer.spans())
    name = f"Presidio 2.2.366's pattern recognisers of these kinds, no NER; its first {len(few):,} sentences"
    theirs = {"peer_name": name, "rows": len(few), "unit": "ratio"}
    yield Result(figure="redact.text", ours=rate, peer=their_rate, peer_name=name, unit="sentences/s", rows=rows)
    yield Result(
        figure="redact.text.one_country",
        ours=again,
        peer=one_country,
        peer_name=f"{name}, US phones",
        unit="sentences/s",
        rows=rows,
    )
    yield Result(figure="redact.text.recall", ours=recall, peer=their_recall, **theirs)
    yield Result(figure="redact.text.precision", ours=precision, peer=their_precision, **theirs)


def _quality(made: Iterable[Sentence], found: Iterable[Spans]) -> tuple[float, float]:
    """Return recall and precision."""
    planted = covered = claimed = right = 0
    for sentence, spans in zip(made, found, strict=True):
        flags = bytearray(len(sentence.text))
        for start, end in spans:
            flags[start:end] = b"\1" * (end - start)
        for start, end, _ in sentence.planted:
            planted += 1
            covered += all(flags[at] for at in range(start, end) if sentence.text[at] not in " (")
        claimed += len(spans)
        right += sum(any(start < stop and begin < end for begin, stop, _ in sentence.planted) for start, end in spans)
    return covered / max(planted, 1), right / max(claimed, 1)


class _Presidio:
    """The peer in a process of its own, which reads a line and answers a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def measure(self, countries: str) -> float:
        """Return how long it takes over all sentences, with phones of `all` its countries or of `one`."""
        return float(self._ask(countries))

    def spans(self) -> list[Spans]:
        """Return what it finds in each sentence."""
        found: list[Spans] = json.loads(self._ask("spans"))
        return found

    def _ask(self, what: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not re.match(r"[\[0-9]", answer):
            raise RuntimeError("Presidio's process ended")
        return answer


@contextmanager
def _presidio(python: Path, texts: list[str]) -> Iterator[_Presidio]:
    command = [str(python), str(Path(__file__).with_name("presidio.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(texts) + "\n")
        try:
            yield _Presidio(process)
        finally:
            process.terminate()
