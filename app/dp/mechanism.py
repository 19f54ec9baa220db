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
from app.dp.measure import Measure
from app.dp.plan import Plan
from app.dp.quantile import Choice
from app.dp.query import Kind, Query
from app.dp.shape import SPREAD
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
        "values": [list(row) for row in zip(*columns, strict=True)],
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


def _estimates(measure: Measure | Choice, statistics: Iterator[Sequence[int]], sampler: Sampler) -> list[dict[str, Any]]:
    """Return what is released of one aggregate, cell by cell."""
    if isinstance(measure, Choice):
        counts = [next(statistics) for _ in range(measure.shape.statistics)]
        return [measure.estimate(one, sampler) for one in zip(*counts, strict=True)]
    noisy = [
        _noisy(next(statistics), noise.calibration.scale, sampler)
        for noise in measure.noises
        for _ in range(noise.part.statistics)
    ]
    return [_estimate(measure, cell) for cell in zip(*noisy, strict=True)]


def _estimate(measure: Measure, noisy: Sequence[int]) -> dict[str, Any]:
    """Return what is told of one cell's noisy statistics."""
    shape, half = measure.shape, measure.half_width
    kind = shape.aggregate.kind
    if shape.bins is not None:
        told = [interval.around(value, half=half, unit=shape.unit).as_json() for value in noisy]
        return {"bins": [{**name, **one} for name, one in zip(shape.bins.names, told, strict=True)]}
    if kind is Kind.MEAN:
        ends = {"lower": shape.lower, "upper": shape.upper, "unit": shape.unit}
        return interval.mean(noisy[0], noisy[1], half=half, **ends, places=shape.places).as_json()  # type: ignore[arg-type]  # mypy joins the kinds
    if kind in SPREAD:
        halves = (half, measure.noises[1].half_width)
        told_spread = interval.variance((noisy[0], noisy[1]), noisy[2], halves=halves, steps=shape.steps)
        quarter = shape.parts[1].unit
        return interval.spread(told_spread, quarter=quarter, root=kind is Kind.STDDEV, places=shape.places).as_json()
    return interval.around(noisy[0], half=half, unit=shape.unit).as_json()


def _noisy(exact: Sequence[int], scale: float, sampler: Sampler) -> list[int]:
    noise = sampler.laplace(scale=scale, count=len(exact))
    return [value + drawn for value, drawn in zip(exact, noise, strict=True)]


def _ordered(release: Release, group_by: Sequence[str]) -> Iterator[tuple[dict[str, Any], int]]:
    """Return each group's key and its place in the release, in the asker's order of columns."""
    names = release["keys"]
    row = {tuple(cell): index for index, cell in enumerate(release["cells"])}
    values = {name: list(dict.fromkeys(cell[at] for cell in release["cells"])) for at, name in enumerate(names)}
    for combination in itertools.product(*(values[name] for name in group_by)):
        key = dict(zip(group_by, combination, strict=True))
        yield key, row[tuple(key[name] for name in names)]
