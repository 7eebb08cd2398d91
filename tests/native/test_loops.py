"""Loops are compiled as loops: carries in registers and in memory, writes in place, nested, both directions."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.frontend import test_roll as people
from tests.native.programs import compare

import chainrule as cr
from chainrule import native
from chainrule.containers import flatten
from chainrule.rule import Loop
from chainrule.transforms.roll import roll

rng = np.random.default_rng(0)
r = rng.normal


def written_twice(x):
    y = np.zeros(20)
    z = np.ones(20)
    for t in range(1, 20):
        y[t] = y[t - 1] * x[t] + np.sin(z[t - 1])
        z[t] = y[t] * 0.5 + z[t - 1]
    return np.sum(y * z)


def swapped(x):
    a, b = x, x * 2.0
    for _ in range(9):
        a, b = b, np.tanh(a) + 0.1 * b
    return np.sum(a * b)


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "layers": (people.layers, ([(r(size=(3, 3)), r(size=3)) for _ in range(5)], r(size=3))),
    "recurrent": (people.recurrent, (r(size=(3, 3)), r(size=(3, 2)), r(size=(8, 2)), r(size=3))),
    "recurrent large": (people.recurrent, (r(size=(30, 30)) / 9, r(size=(30, 2)), r(size=(8, 2)), r(size=30))),
    "written": (people.written, (r(size=40),)),
    "fibonacci": (people.fibonacci, (0.3, 0.4)),
    "three back": (people.three_back, (0.3, 0.4, 0.5)),
    "nested": (people.nested, (r(size=(5, 3, 3)), r(size=3))),
    "nested large": (people.nested, (r(size=(5, 20, 20)) / 5, r(size=20))),
    "table": (people.table, (r(size=(6, 6)), 0.3)),
    "windows": (people.windows, (r(size=10), r(size=3))),
    "peeled": (people.peeled, (r(size=9), r(size=2))),
    "varied": (people.varied, (r(size=3),)),
    "varied large": (people.varied, (r(size=50),)),
    "written twice": (written_twice, (r(size=20),)),
    "swapped small": (swapped, (r(size=3),)),
    "swapped large": (swapped, (r(size=40),)),
}


@pytest.mark.parametrize("name", CASES)
def test_loops_and_their_gradients(name):
    function, point = CASES[name]
    arguments = [leaf for one in point for leaf in flatten(one)[0]]
    for program in (cr.trace(function, *point), cr.value_and_grad(function).program(*point)):
        rolled = roll(program)
        assert any(isinstance(step.rule, Loop) for step in rolled.steps)
        compiled = compare(rolled, arguments, 1e-11)
        assert not compiled.callbacks


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(people.PROGRAM)
def test_random_loops(tree):
    x, X, weights = r(size=2), r(size=(9, 2)), [float(one) for one in r(size=4)]
    function = functools.partial(people.executed, tree)
    arguments = [leaf for one in (x, X, weights) for leaf in flatten(one)[0]]
    compare(roll(cr.grad(function).program(x, X, weights)), arguments, 1e-10)


@pytest.mark.parametrize("trips", [20, 2000])
def test_code_does_not_grow_with_the_number_of_iterations(trips):
    def f(x):
        for _ in range(trips):
            x = np.sin(x) + 0.1
        return x

    assert len(native.build(roll(cr.grad(f).program(0.3))).object_code) < 4000
