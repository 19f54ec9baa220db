"""Release = exact integers + discrete noise, and how an asker sees it.

Invariants
- Noise is added once, to Python integers; a released number is an integer times a public unit (threat D6), never clipped, never
  rounded by what it is; a mean is computed from released integers only (soundness R11).
- Every declared group is answered, in an order that the question alone decides (threat D5, D11).
- A `Release` is JSON in the canonical order and is what the store keeps; `present` orders and names it for each asker, so asking
  again in other words costs nothing (soundness R18).
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from app.dp import interval
from app.dp.domain import cells
from app.dp.interval import Estimate
from app.dp.measure import Measure
from app.dp.plan import Plan
from app.dp.query import Kind, Query
from app.noise.sampler import Sampler

Release: TypeAlias = dict[str, Any]


def release(exact: Sequence[Sequence[int]], *, plan: Plan, sampler: Sampler) -> Release:
    """Add noise to the exact statistics of a plan and return the release; call it once for a paid question."""
    statistics = iter(exact)
    columns = [_estimates(measure, statistics, sampler) for measure in plan.measures]
    return {
        "keys": [key.column for key in plan.keys],
        "cells": [list(cell) for cell in cells(plan.keys)],
        "aggregates": [measure.shape.aggregate.label for measure in plan.measures],
        "values": [[estimate.as_json() for estimate in row] for row in zip(*columns, strict=True)],
        "noise": [measure.noise_json(plan.source) for measure in plan.measures],
    }


def present(release: Release, query: Query) -> dict[str, Any]:
    """Return `columns`, `groups` and `noise` of an answer, in the order and under the names of this question."""
    place = {label: index for index, label in enumerate(release["aggregates"])}
    chosen = [(selected.name, place[selected.aggregate.label]) for selected in query.select]
    return {
        "columns": [*query.group_by, *(name for name, _ in chosen)],
        "groups": [
            {"key": key, "values": [release["values"][row][index] for _, index in chosen]}
            for key, row in _ordered(release, query.group_by)
        ],
        "noise": [{"as": name, **release["noise"][index]} for name, index in chosen],
    }


def _estimates(measure: Measure, statistics: Iterator[Sequence[int]], sampler: Sampler) -> list[Estimate]:
    shape, half = measure.shape, measure.half_width
    noisy = [_noisy(next(statistics), measure, sampler) for _ in range(shape.statistics)]
    if shape.aggregate.kind is Kind.MEAN:
        ends = {"lower": shape.lower, "upper": shape.upper, "unit": shape.unit, "places": shape.places}
        return [interval.mean(s1, s2, half=half, **ends) for s1, s2 in zip(*noisy, strict=True)]  # type: ignore[arg-type]
    return [interval.around(value, half=half, unit=shape.unit) for value in noisy[0]]


def _noisy(exact: Sequence[int], measure: Measure, sampler: Sampler) -> list[int]:
    noise = sampler.laplace(scale=measure.noise.scale, count=len(exact))
    return [value + drawn for value, drawn in zip(exact, noise, strict=True)]


def _ordered(release: Release, group_by: Sequence[str]) -> Iterator[tuple[dict[str, Any], int]]:
    """Return each group's key and its place in the release, in the asker's order of columns."""
    names = release["keys"]
    row = {tuple(cell): index for index, cell in enumerate(release["cells"])}
    values = {name: list(dict.fromkeys(cell[at] for cell in release["cells"])) for at, name in enumerate(names)}
    for combination in itertools.product(*(values[name] for name in group_by)):
        key = dict(zip(group_by, combination, strict=True))
        yield key, row[tuple(key[name] for name in names)]
