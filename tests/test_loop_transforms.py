"""Every transform enters a loop, and gives what it gives of the loop written out."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.frontend import test_roll as written

import chainrule as cr
from chainrule.containers import flatten
from chainrule.program import Program
from chainrule.rule import Loop
from chainrule.transforms.backprop import backprop
from chainrule.transforms.batch import batch
from chainrule.transforms.forward import forward
from chainrule.transforms.roll import roll, unroll
from chainrule.transforms.simplify import simplify

rng = np.random.default_rng(1)
r = rng.normal


def skipping(x, w):
    """A loop of which some results are read and some are not, with an invariant that is also carried."""
    h, k, rows = x, x * 0.5, []
    for i in range(6):
        z = np.sin(h * w) + k
        k = k * 1.5
        h = z - h[0]
        if i != 3:
            rows.append(z)
        rows.append(np.exp(h))
    return np.sum(np.stack(rows) ** 2) + np.sum(w)


def backwards(x, w):
    y = np.zeros(7)
    y[6] = x[6]
    for t in range(5, -1, -1):
        y[t] = np.sin(y[t + 1]) * w + x[t]
    return np.sum(y * y)


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "layers": (written.layers, ([(r(size=(3, 3)), r(size=3)) for _ in range(4)], r(size=3))),
    "recurrent": (written.recurrent, (r(size=(3, 3)), r(size=(3, 2)), r(size=(5, 2)), r(size=3))),
    "written": (written.written, (r(size=8),)),
    "fibonacci": (written.fibonacci, (0.3, 0.4)),
    "three_back": (written.three_back, (0.3, 0.4, 0.5)),
    "nested": (written.nested, (r(size=(5, 3, 3)) / 2, r(size=3))),
    "table": (written.table, (r(size=(6, 6)), 0.3)),
    "windows": (written.windows, (r(size=10), r(size=3))),
    "peeled": (written.peeled, (r(size=9), r(size=2))),
    "varied": (written.varied, (r(size=3),)),
    "iterated": (written.iterated, (200.0,)),
    "skipping": (skipping, (r(size=3), r(size=3))),
    "backwards": (backwards, (r(size=7), 0.7)),
}


def rolled(name: str) -> tuple[Program, Program, list[Any]]:
    function, point = CASES[name]
    program = cr.trace(function, *point)
    found = roll(program)
    assert any(isinstance(step.rule, Loop) for step in found.steps)
    return program, found, _leaves(point)


def _leaves(point: tuple[Any, ...]) -> list[Any]:
    return [np.asarray(leaf) for one in point for leaf in flatten(one)[0]]


def close(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert np.allclose(one, other, rtol=1e-9, atol=1e-11 * (1 + np.max(np.abs(other), initial=0)))


def has_loop(program):
    return any(isinstance(step.rule, Loop) for step in program.steps)


@pytest.mark.parametrize("name", CASES)
def test_forward(name):
    program, found, at = rolled(name)
    tangents = [rng.normal(size=one.shape) for one in at]
    wrt = range(len(at))
    flat = forward(program, wrt).run([*at, *tangents])
    entered = forward(found, wrt).verify()
    assert has_loop(entered)
    close(entered.run([*at, *tangents]), flat)
    close(simplify(entered).verify().run([*at, *tangents]), flat)
    close(unroll(entered).verify().run([*at, *tangents]), flat)


@pytest.mark.parametrize("name", CASES)
def test_simplify(name):
    program, found, at = rolled(name)
    close(simplify(found).verify().run(at), program.run(at))


@pytest.mark.parametrize("name", CASES)
def test_batch(name):
    program, found, at = rolled(name)
    for chosen in range(min(len(at), 3)):
        flags = [place == chosen for place in range(len(at))]
        rows = [np.stack([one, one * 1.01, one * 0.98]) if yes else one for one, yes in zip(at, flags, strict=True)]
        entered = batch(found, flags, 3).verify()
        assert has_loop(entered)
        close(entered.run(rows), batch(program, flags, 3).run(rows))


@pytest.mark.parametrize("name", CASES)
def test_backprop(name):
    program, found, at = rolled(name)
    entered = simplify(backprop(found)).verify()
    assert has_loop(entered)
    wanted = backprop(program).run(at)
    close(entered.run(at), wanted)
    close(unroll(entered).verify().run(at), wanted)
    assert Program.parse(str(entered), entered.constants) == entered


@pytest.mark.parametrize("name", CASES)
def test_second_order(name):
    """Forward over reverse and reverse over reverse, through loops both times."""
    program, found, at = rolled(name)
    tangents = [rng.normal(size=one.shape) for one in at]
    wrt = range(len(at))
    wanted = forward(backprop(program), wrt).run([*at, *tangents])
    close(forward(simplify(backprop(found)), wrt).verify().run([*at, *tangents]), wanted)
    twice = simplify(backprop(simplify(backprop(found)), wrt, seeded=True)).verify()
    close(twice.run([*at, *tangents]), wanted[len(at) :])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(written.PROGRAM)
def test_random_programs(tree):
    point = r(size=2), r(size=(9, 2)), [float(one) for one in r(size=4)]
    program = cr.trace(functools.partial(written.executed, tree), *point)
    found = roll(program)
    if not has_loop(found):
        return
    at = _leaves(point)
    wrt = range(len(at))
    tangents = [rng.normal(size=np.shape(one)) for one in at]
    wanted = simplify(backprop(program)).run(at)
    entered = simplify(backprop(found)).verify()
    close(entered.run(at), wanted)
    close(unroll(entered).verify().run(at), wanted)
    close(simplify(forward(found, wrt)).verify().run([*at, *tangents]), forward(program, wrt).run([*at, *tangents]))
    rows = [np.stack([one, one * 1.01]) for one in at]
    flags = [bool(place % 2) for place in wrt]
    rows = [row if yes else one for row, one, yes in zip(rows, at, flags, strict=True)]
    close(simplify(batch(found, flags, 2)).verify().run(rows), batch(program, flags, 2).run(rows))
    twice = simplify(backprop(entered, wrt, seeded=True)).verify()
    flat = backprop(simplify(backprop(program)), wrt, seeded=True)
    close(twice.run([*at, *tangents]), flat.run([*at, *tangents]))


# --- masks ------------------------------------------------------------------------------------------------------------


def left_out_before(z):
    """sqrt has an infinite derivative at 0, and the loop reads all but that element."""
    x, total = np.sqrt(z), 0.0
    for i in range(4):
        total = total + x[i] * x[i] * 0.5
    return total


def left_out_inside(z):
    total = 0.0
    for i in range(4):
        total = total + np.sqrt(z[:5])[i]
    return total


def left_out_after(z):
    x = np.sqrt(z)
    for _ in range(4):
        x = x * 1.5 + x
    return x[0] + x[1]


def chosen_inside(z):
    total = 0.0
    for i in range(4):
        total = (
            total
            + np.sum(np.where(z > 0, np.log(np.where(z > 0, z, 1.0)) * (i + 1), 0.0))
            + np.sum(np.where(z > 0, np.sqrt(z), z))
        )
    return total


def chosen_after(z):
    x = z
    for _ in range(5):
        x = np.sin(x) + x * x
    return np.sum(np.where(z > 1e5, 0.0, x))


@pytest.mark.parametrize("function", [left_out_before, left_out_inside, left_out_after, chosen_inside, chosen_after])
def test_what_is_left_out_does_not_matter(function):
    """0 * inf is kept out, as it is where no loop is; such a loop is written out."""
    z = np.array([0.5, 0.3, 2.0, 1.0, 0.0]) if function is not chosen_after else np.array([1e50, 0.4])
    program = cr.trace(function, z)
    found = roll(program)
    assert has_loop(found)
    wanted = backprop(program).run([z])[0]
    assert np.isfinite(wanted).all()
    close(backprop(found).run([z]), [wanted])


def test_without_these_the_loop_stays():
    """The same functions where the index covers all, or the partial is finite."""

    def finite(z):
        x, total = np.sin(z), 0.0
        for i in range(4):
            total = total + x[i] * x[i] * 0.5
        return total

    def whole(z):
        x = np.sqrt(z)
        for _ in range(4):
            x = x * 1.5 + x / z
        return np.sum(x)

    for function in (finite, whole):
        assert has_loop(backprop(roll(cr.trace(function, r(size=5) ** 2))))


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_sweep_over_an_array_that_is_written_does_not_copy_it():
    """The array is carried, and not left behind in each iteration: what is left is a number an iteration."""
    sizes = []
    for count in (50, 400):
        program = simplify(backprop(roll(cr.trace(written.written, r(size=count)))))
        held = [
            program.types[var].size for step in program.steps if isinstance(step.rule, Loop) for var in step.outputs
        ]
        sizes.append(sum(held) / count)
        assert len(str(program)) < 6000
    assert sizes[1] < 1.1 * sizes[0]


def test_a_long_loop_has_a_short_gradient():
    texts = []
    for trips in (5, 500):
        program = cr.trace(written.recurrent, r(size=(3, 3)), r(size=(3, 2)), r(size=(trips, 2)), r(size=3))
        texts.append(str(simplify(backprop(roll(program)))))
    assert texts[0].count("\n") == texts[1].count("\n")
    assert texts[0].count("\n") < 40
