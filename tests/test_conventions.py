"""The conventions at kinks, ties, jumps and singular points: one test a line of the tables in docs/conventions.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import entr, xlogy

import chainrule as cr

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conventions.md"
HALF = 0.5
NAN, INF = float("nan"), float("inf")


def at(*numbers: float) -> np.ndarray[Any, Any]:
    return np.array(numbers)


# Nothing of what was not selected reaches the gradient, whatever lies between the selection and the singular point.
ROOTS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: np.where(False, np.sum(np.sqrt(x)), 0.0),
    "product with a matrix": lambda x: np.sum(np.where(np.zeros(2, bool), np.eye(2) @ np.sqrt(x), 0.0)),
    "dot": lambda x: np.where(False, np.dot(np.sqrt(x), np.ones(2)), 0.0),
    "norm": lambda x: np.where(False, np.linalg.norm(np.sqrt(x)), 0.0),
    "prod": lambda x: np.where(False, np.prod(np.sqrt(x)), 0.0),
    "cumsum": lambda x: np.sum(np.where(np.zeros(2, bool), np.cumsum(np.sqrt(x)), 0.0)),
    "sort": lambda x: np.sum(np.where(np.array([False, True]), np.sort(np.sqrt(x)), 0.0)) - np.sqrt(x[1]),
    "reshape and transpose": lambda x: np.sum(np.where(np.zeros((1, 2), bool), np.sqrt(x).reshape(2, 1).T, 0.0)),
    "two consumers": lambda x: np.where(False, np.sum(np.sqrt(x) * np.sqrt(x)), 0.0),
}


# The function and the point as the table writes them -> the function, its arguments, the gradient by all of them.
CASES: dict[tuple[str, str], tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = {
    ("np.abs(x)", "0"): (np.abs, (0.0,), (0.0,)),
    ("np.sqrt(x**2)", "0"): (lambda x: np.sqrt(x**2), (0.0,), (NAN,)),
    ("np.linalg.norm(x)", "0"): (np.linalg.norm, (np.zeros(3),), (np.zeros(3),)),
    ("np.linalg.norm(x)**2", "0"): (lambda x: np.linalg.norm(x) ** 2, (np.zeros(3),), (np.zeros(3),)),
    ("np.hypot(x, y)", "(0, 0)"): (np.hypot, (0.0, 0.0), (0.0, 0.0)),
    ("np.std(x)", "all equal"): (np.std, (np.ones(3),), (np.zeros(3),)),
    ("np.maximum(x, 0)", "0"): (lambda x: np.maximum(x, 0), (0.0,), (HALF,)),
    ("np.clip(x, 0, 1)", "0 and 1"): (
        lambda x, low, high: np.sum(np.clip(x, low, high)),
        (at(-1.0, 0.0, 0.5, 1.0), 0.0, 1.0),
        (at(0.0, 1.0, 1.0, 1.0), 1.0, 0.0),
    ),
    ("np.max(x)", "[1, 3, 3]"): (np.max, (at(1.0, 3.0, 3.0),), (at(0.0, HALF, HALF),)),
    ("np.min(x)", "[1, 1, 3]"): (np.min, (at(1.0, 1.0, 3.0),), (at(HALF, HALF, 0.0),)),
    ("np.maximum(x, y)", "x = y"): (np.maximum, (2.0, 2.0), (HALF, HALF)),
    ("np.ptp(x)", "[1, 1, 3]"): (np.ptp, (at(1.0, 1.0, 3.0),), (at(-HALF, -HALF, 1.0),)),
    ("np.sort(x)[0]", "[1, 1, 3]"): (lambda x: np.sort(x)[0], (at(1.0, 1.0, 3.0),), (at(1.0, 0.0, 0.0),)),
    ("np.median(x)", "[1, 2, 2]"): (np.median, (at(1.0, 2.0, 2.0),), (at(0.0, 1.0, 0.0),)),
    ("np.median(x)", "[1, 2, 2, 4]"): (np.median, (at(1.0, 2.0, 2.0, 4.0),), (at(0.0, HALF, HALF, 0.0),)),
    ("np.prod(x)", "[2, 0, 3]"): (np.prod, (at(2.0, 0.0, 3.0),), (at(0.0, 6.0, 0.0),)),
    ("np.prod(x)", "[2, 0, 0]"): (np.prod, (at(2.0, 0.0, 0.0),), (np.zeros(3),)),
    ("np.cumprod(x)[2]", "[2, 0, 3]"): (lambda x: np.cumprod(x)[2], (at(2.0, 0.0, 3.0),), (at(0.0, 6.0, 0.0),)),
    ("x**0", "0"): (lambda x: x**0, (0.0,), (0.0,)),
    ("x**0.0", "−1"): (lambda x: x**0.0, (-1.0,), (0.0,)),
    ("x**2.0", "−3"): (lambda x: x**2.0, (-3.0,), (-6.0,)),
    ("x**2.0", "0"): (lambda x: x**2.0, (0.0,), (0.0,)),
    ("x**0.5", "0"): (lambda x: x**0.5, (0.0,), (INF,)),
    ("0.0**p", "0"): (lambda p: 0.0**p, (0.0,), (-INF,)),
    ("(-2.0)**p", "2"): (lambda p: (-2.0) ** p, (2.0,), (NAN,)),
    ("x * np.log(x)", "0"): (lambda x: x * np.log(x), (0.0,), (NAN,)),
    ("xlogy(x, x)", "0"): (lambda x: xlogy(x, x), (0.0,), (-INF,)),
    ("xlogy(x, y)", "(0, 2)"): (xlogy, (0.0, 2.0), (np.log(2.0), 0.0)),
    ("entr(x)", "0"): (entr, (0.0,), (INF,)),
    ("np.where(x > 0, x * np.log(x), 0.0)", "0"): (lambda x: np.where(x > 0, x * np.log(x), 0.0), (0.0,), (0.0,)),
    ("np.sinc(x)", "0"): (np.sinc, (0.0,), (0.0,)),
    ("np.arctan2(y, x)", "(0, 0)"): (np.arctan2, (0.0, 0.0), (NAN, NAN)),
    ("np.sqrt(x)", "0"): (np.sqrt, (0.0,), (INF,)),
    ("np.log(x)", "0"): (np.log, (0.0,), (INF,)),
    ("np.arccos(x)", "1"): (np.arccos, (1.0,), (-INF,)),
    ("np.sign(x)", "0"): (np.sign, (0.0,), (0.0,)),
    ("x % 1.0", "2"): (lambda x: x % 1.0, (2.0,), (1.0,)),
    ("np.where(x > 0, np.sqrt(x), 0.0)", "[4, 0, −1]"): (
        lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)),
        (at(4.0, 0.0, -1.0),),
        (at(0.25, 0.0, 0.0),),
    ),
    ("np.where(x != 0, np.sin(x) / x, 1.0)", "0"): (lambda x: np.where(x != 0, np.sin(x) / x, 1.0), (0.0,), (0.0,)),
    ("np.sqrt(x)[x > 0]", "[4, 0, −1]"): (
        lambda x: np.sum(np.sqrt(x)[x > 0]),
        (at(4.0, 0.0, -1.0),),
        (at(0.25, 0.0, 0.0),),
    ),
    ("np.maximum(np.log(x), -1.0)", "0"): (lambda x: np.maximum(np.log(x), -1.0), (0.0,), (0.0,)),
}


def rows() -> list[tuple[str, str]]:
    """The lines of the tables: the function and the point."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 4:
            function = re.match(r"`(.*?)`", cells[0])
            assert function is not None
            found.append((function[1], cells[1]))
    return found


def test_every_line_of_the_tables_is_tested_and_every_test_is_a_line() -> None:
    assert sorted(rows()) == sorted(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} at {case[1]}")
def test_convention(case: tuple[str, str]) -> None:
    function, arguments, expected = CASES[case]
    gradient = cr.grad(function, argnums=tuple(range(len(arguments))))(*arguments)
    for one, wanted in zip(gradient, expected, strict=True):
        np.testing.assert_array_equal(one, wanted)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} at {case[1]}")
def test_convention_forward_is_backward(case: tuple[str, str]) -> None:
    function, arguments, expected = CASES[case]
    for place, wanted in enumerate(expected):
        row = cr.jacobian(function, argnums=place, mode="forward")(*arguments)
        np.testing.assert_array_equal(row, wanted)


SECOND: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "prod with two zeros": (np.prod, at(2.0, 0.0, 0.0), [[0, 0, 0], [0, 0, 2], [0, 2, 0]]),
    "x**2.0 at 0": (lambda x: x**2.0, 0.0, 2.0),
    "sum of squares at 0": (lambda x: np.sum(x**2), np.zeros(2), [[2, 0], [0, 2]]),
    "sinc at 0": (np.sinc, 0.0, -(np.pi**2) / 3),
    "where": (lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)), at(4.0, 0.0), [[-1 / 32, 0], [0, 0]]),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivative_where_the_page_names_it(name: str) -> None:
    function, point, expected = SECOND[name]
    np.testing.assert_allclose(cr.hessian(function)(point), expected, rtol=1e-15, atol=0)


def test_the_second_derivative_of_the_square_of_a_norm_is_not_there_at_zero() -> None:
    assert np.isnan(cr.hessian(lambda x: np.linalg.norm(x) ** 2)(np.zeros(2))).all()


@pytest.mark.parametrize("name", ROOTS)
def test_nothing_leaks_from_what_was_not_selected(name: str) -> None:
    x = at(0.0, 4.0)
    np.testing.assert_array_equal(cr.grad(ROOTS[name])(x), np.zeros(2))
    np.testing.assert_array_equal(cr.jvp(ROOTS[name], (x,), (np.ones(2),))[1], 0.0)
