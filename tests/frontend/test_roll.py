"""Repetition found and folded: written out again it is the same program, step by step; run as loops, the same bits."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.frontend.golden_functions import GOLDEN

import chainrule as cr
from chainrule.containers import flatten
from chainrule.program import Literal, Program
from chainrule.rule import Index, Loop
from chainrule.transforms.roll import roll, unroll


def loops(program: Program) -> list[Any]:
    """The Loop steps, the inner ones too."""
    found = []
    for step in program.steps:
        if isinstance(step.rule, Loop):
            found += [step, *loops(step.params[0])]
    return found


def length(program: Program) -> int:
    """Steps to read."""
    return sum(1 + sum(length(one) for one in step.params if isinstance(one, Program)) for step in program.steps)


def same_bits(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def contracts(program: Program) -> bool:
    """Whether it has a product of matrices, which BLAS rounds in the order of the memory that it is given."""
    return any(isinstance(step.rule, Index) and len(step.inputs) > 1 for step in program.steps)


def hold(program: Program, arguments: Any) -> Program:
    """Everything that is promised of a rolled program."""
    rolled = roll(program).verify()
    assert unroll(rolled).verify() == program
    again = Program.parse(str(rolled), rolled.constants)
    assert again == rolled
    for one, other in zip(rolled.run(arguments), program.run(arguments), strict=True):
        if contracts(program):
            assert np.allclose(one, other, rtol=1e-10, atol=1e-12 * (1 + np.max(np.abs(other), initial=0)))
        else:
            assert same_bits(one, other)
    return rolled


def _flat(arguments: Any) -> list[Any]:
    return [leaf for one in arguments for leaf in flatten(one)[0]]


def both(function: Any, *point: Any) -> tuple[Program, Program]:
    """The function and its gradient, rolled."""
    arguments = _flat(point)
    return hold(cr.trace(function, *point), arguments), hold(cr.grad(function).program(*point), arguments)


rng = np.random.default_rng(0)
r = rng.normal


# --- the loops that people write --------------------------------------------------------------------------------------


def layers(parameters, x):
    for W, b in parameters:
        x = np.tanh(W @ x + b)
    return np.sum(x)


def test_layers_in_a_list():
    """Three layers and fifty are programs of the same length."""
    sizes = []
    for count in (3, 50):
        point = [(r(size=(4, 4)) / 2, r(size=4)) for _ in range(count)], r(size=4)
        forward, backward = both(layers, *point)
        (loop,) = loops(forward)
        assert loop.params[1:] == (count, 1, 2, False)
        sizes.append(length(forward))
        if count == 50:
            assert len(loops(backward)) == 2
            assert sum(len(step.inputs) for step in backward.steps) < 400
    assert sizes[0] == sizes[1]


def recurrent(W, U, X, h):
    for t in range(X.shape[0]):
        z = W @ h + U @ X[t]
        h = np.tanh(z)
    return np.sum(h * h)


def test_a_time_loop():
    sizes = [[length(one) for one in both(recurrent, r(size=(3, 3)), r(size=(3, 2)), r(size=(t, 2)), r(size=3))]
             for t in (8, 300)]  # fmt: skip
    assert sizes[0] == sizes[1]
    assert max(sizes[1]) < 60


def written(x):
    y = np.zeros(x.size)
    y[0] = x[0]
    for i in range(1, x.size):
        y[i] = y[i - 1] * np.tanh(y[i - 1]) + x[i] * i
    return y.sum()


def test_an_array_that_is_written_in_the_loop():
    forward, _ = both(written, r(size=40))
    (loop,) = loops(forward)
    assert loop.params[1:] == (39, 1, 0, False)
    assert "('affine', 0, 1)" in str(forward)
    assert "number_at" in str(forward)


def fibonacci(a, b):
    for _ in range(12):
        a, b = b, np.sin(a * b) + 1.0
    return a + b


def three_back(a, b, c):
    for _ in range(12):
        a, b, c = b, c, np.sin(a) * c + b
    return a + b + c


@pytest.mark.parametrize("function", [fibonacci, three_back])
def test_values_of_several_iterations_before(function):
    forward, _ = both(function, *[0.3, 0.4, 0.5][: function.__code__.co_argcount])
    (loop,) = loops(forward)
    assert loop.params[2] == function.__code__.co_argcount


def nested(W, x):
    for _t in range(6):
        x = x * 2.0
        for k in range(5):
            x = np.tanh(W[k] @ x) + x[0]
    return np.sum(x)


def test_a_loop_in_a_loop():
    forward, _ = both(nested, r(size=(5, 3, 3)), r(size=3))
    outer, inner = loops(forward)
    assert (outer.params[1], inner.params[1]) == (6, 5)
    assert len(outer.params[0]) == 2


def table(A, x):
    for i in range(6):
        for k in range(5):
            x = x + np.sin(A[i, k]) * A[i, k + 1]
    return x


def test_an_index_that_two_loops_move():
    forward, _ = both(table, r(size=(6, 6)), 0.3)
    assert "('affine', 0, 1, 0), ('affine', 1, 0, 1)" in str(forward)
    assert len(loops(forward)) == 2


def windows(x, w):
    y = np.zeros(8)
    for i in range(8):
        y[i] = np.sum(x[i : i + 3] * w)
    for i in range(2, 8):
        y[-i] = y[-i] * 0.5
    return np.prod(y)


def test_windows():
    forward, _ = both(windows, r(size=10), r(size=3))
    assert "('affine', '0:3', 1)" in str(forward)
    assert "('affine', -2, -1)" in str(forward)
    assert len(loops(forward)) == 2


def peeled(x, h):
    total = 0.0
    for i in range(9):
        if i == 0:
            h = h * 3.0
        if i == 8:
            h = h - 1.0
        h = np.cos(h) + x[i]
        total = total + np.sum(h)
    return total


def test_first_and_last_iterations_that_differ():
    forward, _ = both(peeled, r(size=9), r(size=2))
    (loop,) = loops(forward)
    assert loop.params[1] in (7, 8)


def varied(x):
    for c in (0.3, -0.0, 2.5, 0.1, 7.0):
        x = np.sin(x * c) + c
    for n in range(5):
        x = x * (0.5 + 0.25 * n) - n
    return np.sum(x)


def test_literals_that_vary():
    forward, _ = both(varied, r(size=3))
    assert "pack(0.3, -0.0, 2.5, 0.1, 7.0; dtype='float64'" in str(forward)
    assert "number_at(l; start=0.5, strides=(0.25,), dtype='float64', weak=True)" in str(forward)
    assert "number_at(l; start=0, strides=(1,), dtype='float64', weak=True)" in str(forward)


def test_float32_stays():
    x = r(size=3).astype(np.float32)
    forward, backward = both(varied, x)
    assert forward.run([x])[0].dtype == np.float32
    assert backward.run([x])[0].dtype == np.float32


def in_functions(x, ws):
    def layer(x, w):
        return np.tanh(x * w) + x

    def block(x, w):
        return layer(layer(x, w), w * 2.0)

    return np.sum(functools.reduce(block, ws, x))


def test_loops_in_functions():
    forward, _ = both(in_functions, r(size=3), [float(one) for one in r(size=7)])
    assert loops(forward)[0].params[1] == 7


def iterated(x):
    y = 1.0
    n = 0
    while abs(y * y - x) > 1e-9:
        y = 0.5 * (y + x / y)
        n += 1
    return y * n


def test_guards_of_iterations():
    """One guard on the stacked answers; written out, they are the guards that were asked, in their order."""
    program = cr.trace(iterated, 200.0)
    rolled = hold(program, [200.0])
    assert len(program.guards) > 6
    assert len(rolled.guards) < len(program.guards)
    assert "== (True, True, True, " in str(rolled)


def test_the_same_answer_every_time():
    def positive(x):
        for _ in range(9):
            if x > 0:
                x = np.sqrt(x)
            x = x * 2.0
        return x

    rolled = hold(cr.trace(positive, 3.0), [3.0])
    ((var, value),) = rolled.guards
    assert value is True
    assert rolled.types[var].shape == (9,)


def two_questions(x):
    for i in range(8):
        if x > 0:
            x = x - 1.0
        if x * i > 1:
            x = x - 0.25
        x = x * 1.5
    return x


def test_guards_of_two_questions():
    for start in (0.1, 1.5, 3.0, 40.0, -1.0):
        hold(cr.trace(two_questions, start), [start])


def test_all_results_leave():
    def every(x):
        rows = []
        for _ in range(7):
            x = np.sin(x) * 1.5
            rows.append(x)
        return np.stack(rows)

    hold(cr.trace(every, r(size=3)), [r(size=3)])


def test_steps_that_nobody_reads():
    def idle(x):
        for _ in range(5):
            np.sin(x)
        return x * 2.0

    assert loops(hold(cr.trace(idle, 0.3), [0.3]))


# --- programs without repetition --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_what_people_wrote_without_a_loop(name):
    function, point = GOLDEN[name]
    program = cr.trace(function, *point)
    given = [leaf for leaf in _flat(point) if not isinstance(leaf, int)]
    hold(program, given)


def test_a_tuple_taken_apart_is_no_loop():
    def rosenbrock(x):
        a, b, c = x
        return (1 - a) ** 2 + 100 * (b - a * a) ** 2 + c

    assert not loops(roll(cr.trace(rosenbrock, r(size=3))))


# --- random programs --------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
STATEMENT = st.one_of(
    st.tuples(st.just("sin"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("mix"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("weight"), st.sampled_from(NAMES), st.integers(-1, 2)),
    st.tuples(st.just("entry"), st.sampled_from(NAMES), st.integers(0, 2), st.integers(1, 2)),
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 2)),
    st.tuples(st.just("read"), st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(st.just("number"), st.sampled_from(NAMES)),
    st.tuples(st.just("literal"), st.sampled_from(NAMES)),
    st.tuples(st.just("keep"), st.sampled_from(NAMES)),
    st.tuples(st.just("turn")),
    st.tuples(st.just("first"), st.sampled_from(NAMES)),
    st.tuples(st.just("last"), st.sampled_from(NAMES)),
    st.tuples(st.just("odd"), st.sampled_from(NAMES)),
    st.tuples(st.just("ask"), st.sampled_from(NAMES)),
)
PROGRAM = st.recursive(
    st.lists(STATEMENT, min_size=1, max_size=4),
    lambda inner: st.lists(
        st.one_of(STATEMENT, st.tuples(st.just("loop"), st.integers(2, 6), inner)), min_size=1, max_size=4
    ),
    max_leaves=12,
)
CONSTANTS = (0.3, -1.25, 0.7, 2.0, 0.1, -0.4, 1.5)


def executed(tree: Any, x: Any, X: Any, weights: Any) -> Any:
    """What a tree of statements computes, with NumPy."""
    state = {"a": x, "b": x * 0.5, "c": np.cos(x)}
    memory = np.zeros((9, 2))
    kept: list[Any] = []

    def run(statements: Any, i: int, trips: int) -> None:
        for statement in statements:
            kind, *rest = statement
            if kind == "sin":
                state[rest[0]] = np.sin(state[rest[1]])
            elif kind == "mix":
                state[rest[0]] = state[rest[1]] * 0.5 + state[rest[2]]
            elif kind == "weight":
                state[rest[0]] = state[rest[0]] * weights[(i + rest[1]) % len(weights)]
            elif kind == "entry":
                state[rest[0]] = state[rest[0]] + X[(rest[1] + rest[2] * i) % 9]
            elif kind == "write":
                memory[(i + rest[1]) % 9] = state[rest[0]]
            elif kind == "read":
                state[rest[0]] = state[rest[0]] + memory[(i - rest[1]) % 9]
            elif kind == "number":
                state[rest[0]] = np.sin(state[rest[0]] * (1 + i))
            elif kind == "literal":
                state[rest[0]] = state[rest[0]] - CONSTANTS[i % 7]
            elif kind == "keep":
                kept.append(state[rest[0]])
            elif kind == "turn":
                state["a"], state["b"], state["c"] = state["b"], state["c"], state["a"]
            elif kind == "first" and i == 0:
                state[rest[0]] = state[rest[0]] * 3.0
            elif kind == "last" and i == trips - 1:
                state[rest[0]] = np.tanh(state[rest[0]])
            elif kind == "odd" and i % 2:
                state[rest[0]] = np.arctan(state[rest[0]])
            elif kind == "ask" and state[rest[0]][0] > 0:
                state[rest[0]] = state[rest[0]] - 1.0
            elif kind == "loop":
                for k in range(rest[0]):
                    run(rest[1], k, rest[0])

    run(tree, 0, 1)
    return sum((np.sum(one) for one in [*state.values(), memory, *kept[::2]]), 0.0)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(PROGRAM)
def test_random_programs(tree):
    x, X, weights = r(size=2), r(size=(9, 2)), [float(one) for one in r(size=4)]
    both(functools.partial(executed, tree), x, X, weights)


# --- the tests are tested ---------------------------------------------------------------------------------------------


def test_a_planted_mistake_is_caught():
    """A loop that begins one entry too late is not the program that was rolled."""
    program = cr.trace(written, r(size=9))
    rolled = roll(program)
    wrong = Program.parse(str(rolled).replace("('affine', 0, 1)", "('affine', 1, 1)"), rolled.constants)
    assert unroll(wrong) != program
    assert all(not isinstance(one, Literal) for one in rolled.outputs)
