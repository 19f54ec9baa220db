"""Presidio's pattern recognisers over sentences, in an environment of their own: run by `benchmarks.redaction`, not imported.

Reads a JSON array of texts, then answers the lines `all` and `one` (countries of phones) with seconds, and `spans` with what it found.
Only the recognisers of the kinds that are planted take part, without the engine around them: that is faster than its engine is.
"""

import json
import sys
import time

import tldextract
from presidio_analyzer import predefined_recognizers as known

tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())  # no network: its own list
tldextract.extract = tldextract.tldextract.TLD_EXTRACTOR

LEAST_SCORE = 0.35
PHONES = {"all": known.PhoneRecognizer(), "one": known.PhoneRecognizer(supported_regions=("US",))}
RECOGNISERS = [
    known.EmailRecognizer(),
    known.UrlRecognizer(),
    known.IbanRecognizer(),
    known.CreditCardRecognizer(),
    known.IpRecognizer(),
    known.DateRecognizer(),
    known.UsSsnRecognizer(),
    known.UkNinoRecognizer(),
    known.EsNifRecognizer(),
    known.DeTaxIdRecognizer(),
]


def found(text: str, countries: str) -> list[tuple[int, int]]:
    """Return the spans of a text that are scored high enough, overlapping ones joined."""
    results = [
        result for one in (*RECOGNISERS, PHONES[countries]) for result in one.analyze(text, one.supported_entities, None) or []
    ]
    spans: list[tuple[int, int]] = []
    for start, end in sorted((result.start, result.end) for result in results if result.score >= LEAST_SCORE):
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def main() -> None:
    """Answer until nothing is asked."""
    texts = json.loads(sys.stdin.readline())
    for line in sys.stdin:
        asked = line.strip()
        began = time.perf_counter()
        spans = [found(text, "all" if asked == "spans" else asked) for text in texts]
        print(json.dumps(spans) if asked == "spans" else time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
