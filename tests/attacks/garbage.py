"""Damaged files of every kind that is read, for the world's schema, from a seed (threat I4)."""

import gzip
import random

import pyarrow as pa

from tests.attacks.test_input_parsing import parquet
from tests.world import ROWS

PARQUET = "application/vnd.apache.parquet"


def mutations(count):
    """Give damaged files: bytes flipped, cut, doubled and moved, from a seed."""
    chance = random.Random(3)
    good = ROWS[:2000] + b"\n"
    table = pa.table(
        {
            "patient_id": [f"P-{number}" for number in range(50)],
            "name": ["n"] * 50,
            "hours": list(range(50)),
            "income": [1.25] * 50,
            "sex": ["F", "M"] * 25,
        }
    )
    sources = [
        (good, "text/csv", None),
        (gzip.compress(good), "text/csv", "gzip"),
        (pa.Codec("zstd").compress(good, asbytes=True), "text/csv", "zstd"),
        (b'{"patient_id":"P-1","hours":7}\n' * 50, "application/x-ndjson", None),
        (b"[" + b'{"patient_id":"P-1","hours":7},' * 50 + b"{}]", "application/json", None),
        (parquet(table), PARQUET, None),
        (parquet(table, compression="zstd", use_dictionary=False), PARQUET, None),
    ]
    for _ in range(count):
        body, media_type, encoding = sources[chance.randrange(len(sources))]
        data = bytearray(body)
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(data))
            match chance.randrange(5):
                case 0:
                    data[at] ^= 1 << chance.randrange(8)
                case 1:
                    data[at] = chance.choice([0, 255, 127, 34, 44, 10])
                case 2:
                    data[at:] = b"" if at > 20 else data[at:]
                case 3:
                    data[at:at] = data[at : at + chance.randrange(64)]
                case 4:
                    data[at : at + 4] = chance.randbytes(4)
        yield bytes(data), media_type, encoding
