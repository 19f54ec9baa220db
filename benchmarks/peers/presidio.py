"""Presidio's pattern recognisers over sentences; runs in an environment of its own.

python presidio.py SENTENCES.json all|one SPANS.json REPEATS REPORT.json        writes what it found, and the seconds of each run

The recognisers of the kinds that are planted take part, as they come, without the engine around them, which would only add to the
time. With `one`, telephone numbers are those of the United States and international ones, as ours are.
"""

import json
import sys
import time
from pathlib import Path

import tldextract
from presidio_analyzer import predefined_recognizers as known

tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # its own list of domains: nothing is fetched while time is taken

LEAST_SCORE = 0.35
PHONES = {"all": {}, "one": {"supported_regions": ("US",)}}


def main() -> None:
    source, countries, found_path, repeats, report = sys.argv[1:]
    texts = json.loads(Path(source).read_text(encoding="utf-8"))
    recognisers = [
        known.EmailRecognizer(),
        known.UrlRecognizer(),
        known.IbanRecognizer(),
        known.CreditCardRecognizer(),
        known.IpRecognizer(),
        known.DateRecognizer(),
        known.PhoneRecognizer(**PHONES[countries]),
        known.UsSsnRecognizer(),
        known.UkNinoRecognizer(),
        known.EsNifRecognizer(),
        known.DeTaxIdRecognizer(),
    ]
    found = [spans(recognisers, text) for text in texts]
    Path(found_path).write_text(json.dumps(found), encoding="utf-8")
    took = []
    for _ in range(int(repeats)):
        began = time.perf_counter()
        for text in texts:
            spans(recognisers, text)
        took.append(time.perf_counter() - began)
    Path(report).write_text(json.dumps(took), encoding="utf-8")


def spans(recognisers: list, text: str) -> list[tuple[int, int]]:
    """Return the spans of a text that are scored high enough, overlapping ones joined."""
    results = [result for one in recognisers for result in one.analyze(text, one.supported_entities, None) or []]
    joined: list[tuple[int, int]] = []
    for start, end in sorted((result.start, result.end) for result in results if result.score >= LEAST_SCORE):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


if __name__ == "__main__":
    main()
