"""`redact.text`: sentences a second in which entities are found and replaced, beside Presidio's pattern recognisers.

The peer finds only; ours finds and replaces. As it comes, Presidio looks for telephone numbers of eight countries, ours of one:
`redact.text.one_country` says what is left when the peer is told to look for one as well. `redact.text.recall` is the share of
planted entities found whole, `redact.text.precision` the share of what was found that was planted, whatever kind it was taken
for; both over the peer's sentences.
"""

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.deidentification.redaction.find import find
from app.deidentification.redaction.redact import redact
from app.deidentification.redaction.technique import RedactText
from app.table.arrow import pa
from benchmarks.figure import Result, Size, seconds
from benchmarks.peer import median_seconds
from benchmarks.sentences import Sentence, sentences

_TECHNIQUE = RedactText(country="US")
_PEER_ROWS = 2_000
Spans = Sequence[tuple[int, int]]


def text(size: Size) -> Iterator[Result]:
    """Measure ours on a tenth of the rows (100,000), the peer on the first 2,000 of them; rates are compared."""
    rows = size.rows // 10
    made = list(sentences(rows))
    column, few = pa.array([one.text for one in made]), made[: min(_PEER_ROWS, rows // 5)]
    source, report = size.folder / "sentences.json", size.folder / "spans.json"
    source.write_text(json.dumps([one.text for one in few]), encoding="utf-8")
    redact(column.slice(0, 100), _TECHNIQUE, keys={})  # loads what is loaded once
    ours = [rows / seconds(lambda: redact(column, _TECHNIQUE, keys={})) for _ in range(size.repeats)]
    theirs: dict[str, float | None] = {}
    for countries in ("all", "one"):
        took = median_seconds(
            "presidio", str(source), countries, str(report), repeats=min(3, size.repeats), install=size.repeats > 1
        )
        theirs[countries] = None if took is None else len(few) / took
        ours += [rows / seconds(lambda: redact(column, _TECHNIQUE, keys={})) for _ in range(size.repeats)]
    rate = statistics.median(ours)
    name = (
        f"{'' if theirs['all'] else 'absent: '}Presidio 2.2.366's recognisers of these kinds, no NER, on {len(few):,} sentences"
    )
    told: dict[str, Any] = {"ours": rate, "unit": "sentences/s", "rows": rows}
    yield Result(figure="redact.text", peer=theirs["all"], peer_name=name, **told)
    yield Result(figure="redact.text.one_country", peer=theirs["one"], peer_name=f"{name}, US phones", **told)
    found = [[(one.start, one.end) for one in find(sentence.text, _TECHNIQUE.find, _TECHNIQUE.country)] for sentence in few]
    peer = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
    for figure, place in (("redact.text.recall", 0), ("redact.text.precision", 1)):
        theirs_of = None if peer is None else _quality(few, peer)[place]
        yield Result(figure=figure, ours=_quality(few, found)[place], peer=theirs_of, peer_name=name, unit="ratio", rows=len(few))


def _quality(made: Iterable[Sentence], found: Iterable[Spans]) -> tuple[float, float]:
    """Return recall and precision."""
    planted = whole = claimed = right = 0
    for sentence, spans in zip(made, found, strict=True):
        covered = {at for start, end in spans for at in range(start, end)}
        planted += len(sentence.planted)
        whole += sum(covered.issuperset(_letters(sentence.text, start, end)) for start, end, _ in sentence.planted)
        claimed += len(spans)
        right += sum(any(start < stop and begin < end for begin, stop, _ in sentence.planted) for start, end in spans)
    return whole / max(planted, 1), right / max(claimed, 1)


def _letters(text: str, start: int, end: int) -> list[int]:
    """Return the places of an entity that tell something: a bracket before an area code does not."""
    return [at for at in range(start, end) if text[at].isalnum()]
