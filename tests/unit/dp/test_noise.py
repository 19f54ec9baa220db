"""The noise libraries behind their one door (soundness R9, R10; threats D6, D17)."""

import inspect
import math
import random
import subprocess
import sys
from fractions import Fraction

import pytest

from app import errors
from app.noise import diffprivlib_source, opendp_source
from app.noise.sampler import Sampler, source

SOURCES = ["opendp", "diffprivlib"]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("sensitivity", [1, 3, 396, 12_345])
@pytest.mark.parametrize("epsilon", [Fraction(1, 3), Fraction(1, 10), Fraction(333_333_333, 10**9), Fraction(7)])
def test_r10_the_scale_never_costs_more_than_was_paid(name, sensitivity, epsilon):
    calibration = source(name).calibrate(sensitivity=sensitivity, epsilon=epsilon)
    assert calibration.epsilon_spent <= epsilon
    assert sensitivity / Fraction(calibration.scale) <= epsilon
    assert sensitivity / Fraction(calibration.scale) > epsilon * (1 - Fraction(1, 2**36))


def test_r10_opendp_answers_for_the_cost_itself():
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance

    for sensitivity in range(1, 60):
        epsilon = Fraction(1, 7)
        scale = source("opendp").calibrate(sensitivity=sensitivity, epsilon=epsilon).scale
        mechanism = make_laplace(vector_domain(atom_domain(T="i64")), l1_distance(T="i64"), scale=scale)
        assert Fraction(mechanism.map(sensitivity)) <= epsilon


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 2.0**49])
def test_r9_a_scale_out_of_range_is_refused_before_anything_is_drawn(name, scale):
    with pytest.raises(errors.Invalid):
        source(name).laplace(scale=scale, count=1)


@pytest.mark.parametrize("name", SOURCES)
def test_r9_a_question_that_needs_too_much_noise_is_refused(name):
    with pytest.raises(errors.Invalid):
        source(name).calibrate(sensitivity=2**62, epsilon=Fraction(1, 10**4))
    with pytest.raises(errors.Invalid):
        source(name).calibrate(sensitivity=10**400, epsilon=Fraction(1))


@pytest.mark.parametrize("name", SOURCES)
def test_draws_are_plain_integers_of_the_right_spread(name):
    scale, count = 50.0, 4_000
    drawn = source(name).laplace(scale=scale, count=count)
    assert {type(z) for z in drawn} == {int}
    assert len(drawn) == count
    assert source(name).laplace(scale=scale, count=0) == []
    assert abs(sum(drawn) / count) < 5 * scale * math.sqrt(2 / count)
    assert 0.85 < sum(map(abs, drawn)) / count / scale < 1.15


def test_draws_span_their_64_bits_without_saturating():
    drawn = source("opendp").laplace(scale=float(2**48), count=2_000)
    assert 2**45 < max(map(abs, drawn)) < 2**60
    assert len({z % 256 for z in drawn}) > 200


@pytest.mark.parametrize("kind", [opendp_source.OpenDP, diffprivlib_source.Diffprivlib])
def test_d17_no_seed_is_reachable(kind):
    assert not inspect.signature(kind).parameters
    for method in ("calibrate", "laplace"):
        names = set(inspect.signature(getattr(kind, method)).parameters)
        assert names == set(inspect.signature(getattr(Sampler, method)).parameters)
    random.seed(1)
    first = kind().laplace(scale=1e5, count=20)
    random.seed(1)
    assert kind().laplace(scale=1e5, count=20) != first


def test_d17_diffprivlib_draws_from_the_operating_system():
    assert isinstance(diffprivlib_source._geometric()(epsilon=1.0)._rng, random.SystemRandom)


def test_diffprivlib_states_its_defect_and_refuses_where_it_grows():
    calibration = source("diffprivlib").calibrate(sensitivity=1, epsilon=Fraction(1))
    assert 0 < calibration.defect < Fraction(1, 2**43)
    assert source("opendp").calibrate(sensitivity=1, epsilon=Fraction(1)).defect == 0
    with pytest.raises(errors.Invalid):
        source("diffprivlib").calibrate(sensitivity=2**21, epsilon=Fraction(1))


def test_only_two_sources_exist():
    with pytest.raises(errors.Invalid):
        source("numpy")


def test_libraries_load_at_first_use_only():
    told = "import sys, app.noise.sampler, app.dp.mechanism, app.dp.aggregate, app.dp.json_form; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()
    assert not {"opendp", "diffprivlib", "sklearn", "scipy", "polars", "polars_hash"} & set(loaded)
