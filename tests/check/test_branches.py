"""Which branches of f a check went through, said without anything of f being known; and a check that spends more."""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest

from chainrule.check import check
from chainrule.check.branches import Branches

needs_tracing = pytest.mark.skipif(sys.gettrace() is not None, reason="another tracer is at work")


def bent(x):
    if x.ndim != 1:
        raise ValueError("one axis")
    total = 0.0
    for v in x:
        if v < -50:
            total += 3 * v
        else:
            total += v**2
    assert total >= 0
    return total if np.sum(x) > 0.5 else 2 * total


def bent_grad(x):
    return 2 * x if np.sum(x) > 0.5 else 4 * x


X = np.array([0.6, 1.0, -0.9])


@needs_tracing
def test_the_branch_nearby_and_the_one_never_taken_are_told() -> None:
    report = check(bent, X, grad=bent_grad)
    assert report.verdict == "PASS"
    said = "\n".join(report.notes)
    assert "f takes another branch near x" in said
    assert "`np.sum(x) > 0.5`" in said
    assert "`v < -50`, was always false" in said
    # What leads to an error is no branch that wants a test.
    assert "ndim" not in said
    assert "total >= 0" not in said


@needs_tracing
def test_a_function_without_branches_has_nothing_to_tell() -> None:
    assert check(lambda x: np.sum(x**2), X, grad=lambda x: 2 * x).notes == []


@needs_tracing
@pytest.mark.parametrize("wrap", [functools.partial, lambda f: type("F", (), {"__call__": lambda self, x: f(x)})()])
def test_partials_and_objects(wrap) -> None:
    assert any("v < -50" in note for note in check(wrap(bent), X, grad=bent_grad).notes)


@needs_tracing
def test_a_long_run_is_left_alone() -> None:
    def long(x):
        total = 0.0
        for k in range(30_000):
            if k >= 0:
                total += x[0]
        return total

    assert check(long, X, grad=lambda x: np.array([3e4, 0, 0]), probes=False).notes == []
    assert sys.gettrace() is None


def test_another_tracer_is_not_disturbed() -> None:
    def mine(frame, event, arg):
        return None

    before = sys.gettrace()
    sys.settrace(mine)
    try:
        branches = Branches(bent)
        with branches.watching(at_x=True):
            bent(X)
            kept = sys.gettrace()
    finally:
        sys.settrace(before)
    assert kept is mine
    assert branches.sentences() == []


def test_an_error_inside_leaves_no_tracer_behind() -> None:
    before = sys.gettrace()
    with pytest.raises(ValueError, match="one axis"), Branches(bent).watching(at_x=True):
        bent(np.zeros((2, 2)))
    assert sys.gettrace() is before


def test_thorough_sees_what_two_points_miss() -> None:
    def f(x):
        return np.sum(np.where(x > 3.0, 2 * x**2, x**2))

    def forgot(x):
        return 2 * x  # right below 3 only

    x = np.full(40, 2.1)
    quick, thorough = check(f, x, grad=forgot), check(f, x, grad=forgot, thorough=True)
    assert quick.verdict == "PASS"
    assert thorough.verdict == "FAIL", str(thorough)
    assert "right at x, wrong at" in thorough.sentence


def test_thorough_measures_every_entry() -> None:
    x = np.random.default_rng(0).standard_normal(100)
    report = check(lambda x: np.sum(np.sin(x)), x, grad=np.cos, thorough=True, probes=False)
    assert report.verdict == "PASS"
    assert report.evaluations > 600
    assert "12 projections" in report.sentence
