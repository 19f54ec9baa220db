"""OpenDP's Polars context: grouped count and mean on a frame in memory; runs in an environment of its own.

python opendp_context.py people.csv REPEATS REPORT.json    writes the seconds of each question
"""

import json
import sys
import time
from pathlib import Path

import opendp.prelude as dp
import polars as pl


def main() -> None:
    source, repeats, report = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    dp.enable_features("contrib")
    frame = pl.read_csv(source, columns=["id", "diagnosis", "score"], schema_overrides={"id": pl.String})
    keys = frame.select("diagnosis").unique()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        context = dp.Context.compositor(
            data=frame.lazy(),
            privacy_unit=dp.unit_of(contributions=1, identifier=pl.col("id")),
            privacy_loss=dp.loss_of(epsilon=1.0),
            split_evenly_over=1,
            margins=[dp.polars.Margin(by=["diagnosis"], max_length=frame.height)],
        )
        question = (
            context.query()
            .truncate_per_group(1)
            .group_by("diagnosis")
            .agg(dp.len(), pl.col("score").fill_nan(0.0).fill_null(0.0).dp.sum((0.0, 100.0)))
            .with_keys(keys)
        )
        answer = question.release().collect()
        took.append(time.perf_counter() - began)
        assert answer.height == keys.height, "every group"
    report.write_text(json.dumps(took), encoding="utf-8")


if __name__ == "__main__":
    main()
