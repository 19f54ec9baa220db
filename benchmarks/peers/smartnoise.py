"""SmartNoise SQL's grouped count and mean on a frame in memory; runs in an environment of its own.

python smartnoise.py people.csv REPEATS REPORT.json        writes the seconds of each question
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
import snsql

QUESTION = "SELECT diagnosis, COUNT(*) AS n, AVG(score) AS mean_score FROM people.people GROUP BY diagnosis"
METADATA = {
    "": {
        "people": {
            "people": {
                "max_ids": 1,
                "row_privacy": False,
                "censor_dims": False,
                "clamp_counts": False,
                "rows": 1_000_000,
                "id": {"type": "string", "private_id": True},
                "diagnosis": {"type": "string"},
                "score": {"type": "float", "lower": 0.0, "upper": 100.0},
            }
        }
    }
}


def main() -> None:
    source, repeats, report = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    frame = pd.read_csv(source, usecols=["id", "diagnosis", "score"], dtype={"id": str, "diagnosis": str})
    reader = snsql.from_df(frame, privacy=snsql.Privacy(epsilon=1.0, delta=1e-6), metadata=METADATA)
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        answer = reader.execute(QUESTION)
        took.append(time.perf_counter() - began)
        assert len(answer) > 300, "every group and the header"
    report.write_text(json.dumps(took), encoding="utf-8")


if __name__ == "__main__":
    main()
