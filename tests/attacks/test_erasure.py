"""Threats D21, D16, C14 (tombstones), D14 and promise 5 of erasing: one person goes, nobody is told who was there."""

import pytest

from tests.world import ROWS


def test_smoke(world):
    population, dataset = world.filled()
    before = world.owner.get_subject(population, "P-7", purpose="check")
    assert [len(one["records"]) for one in before["datasets"]] == [1]
    print(before)
    made = world.owner.erase_subject(population, "P-7")
    print(made)
    assert made["rows"] == {dataset: 1}
    after = world.owner.get_subject(population, "P-7", purpose="check")
    assert [len(one["records"]) for one in after["datasets"]] == [0]
    assert len(list(world.owner.iterate_rows(dataset, purpose="c"))) == 199
