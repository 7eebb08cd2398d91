"""The second catalogue: what was found in it by no design for it must stay found."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
from tests.check.hostile import BUGS, HARD

from chainrule.check import check

pytestmark = pytest.mark.filterwarnings("ignore")


@functools.cache
def report_on(name):
    case = next(c for c in BUGS + HARD if c.name == name)
    return check(case.f, *case.args, **case.options)


def test_its_size() -> None:
    assert len(BUGS) >= 40
    assert len(HARD) >= 40
    assert len({case.name for case in BUGS + HARD}) == len(BUGS) + len(HARD)


@pytest.mark.parametrize("case", BUGS, ids=lambda case: case.name)
def test_bug_is_flagged(case) -> None:
    assert report_on(case.name).verdict in {"FAIL", "WARN"}, str(report_on(case.name))


@pytest.mark.parametrize("case", HARD, ids=lambda case: case.name)
def test_right_gradient_is_not_called_wrong(case) -> None:
    assert report_on(case.name).verdict != "FAIL", str(report_on(case.name))


def test_at_most_a_quarter_is_left_open() -> None:
    assert sum(not report_on(case.name) for case in HARD) <= len(HARD) // 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("two digits", ("moves in jumps", "straight-through")),
        ("bisection to 1e-2", ("moves in jumps", "stops an iteration")),
        ("half precision output", ("moves in jumps",)),
        ("straight-through, fine grid", ("straight-through estimator", "as is claimed")),
        ("angle on its cut", ("f jumps at x",)),
        ("fresh random numbers", ("f is random",)),
        ("single precision inside", ("noise of f",)),
        ("constants cut off", ("truncated constant",)),
    ],
)
def test_the_reason_is_the_true_one(name, words) -> None:
    for word in words:
        assert word in str(report_on(name)), str(report_on(name))


@pytest.mark.parametrize("name", ["straight-through, doubled", "rounded output, doubled gradient"])
def test_jumps_are_no_excuse_for_a_wrong_slope_across_them(name) -> None:
    assert report_on(name).verdict == "FAIL", str(report_on(name))


@pytest.mark.parametrize("name", ["l1 of two hundred zeros", "relus of a sparse vector", "total variation of pairs"])
def test_many_kinks_are_not_dear(name) -> None:
    report = report_on(name)
    assert report.verdict == "PASS*"
    assert report.evaluations <= 330


@pytest.mark.parametrize("digits", range(6))
def test_a_rounded_result_is_never_a_wrong_gradient(digits) -> None:
    x = np.random.default_rng(0).standard_normal(12)
    report = check(lambda x: np.round(np.sum(x**3), digits), x, grad=lambda x: 3 * x**2)
    assert report.verdict in {"WARN", "INCONCLUSIVE"}, str(report)
    assert "jumps" in report.sentence
    wrong = check(lambda x: np.round(np.sum(x**3), digits), x, grad=lambda x: 9 * x**2)
    assert wrong.verdict == "FAIL" if digits else not wrong, str(wrong)


def test_a_report_goes_to_another_process() -> None:
    report = check(lambda x: np.sum(x**2), np.ones(3), grad=lambda x: 3 * x)
    again = pickle.loads(pickle.dumps(report))
    assert (again.verdict, again.sentence) == (report.verdict, report.sentence)
    assert again.plot() is not None
