"""Programs: printed and parsed, verified, priced, in the user's names; the gradients of thirty functions as text."""

# ruff: noqa: PLC2401, RET504 - names are what is tested

from __future__ import annotations

import difflib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.frontend.agreement import close
from tests.frontend.golden_functions import GOLDEN, M, X

import chainrule as cr
from chainrule.containers import flatten
from chainrule.program import Program, Step, array_type
from chainrule.rule import RULES

FOLDER = Path(__file__).parent / "golden"
#: CHAINRULE_GOLDEN=write makes the texts anew; look at the diff before you commit it.
WRITE = os.environ.get("CHAINRULE_GOLDEN") == "write"


def programs(name: str) -> tuple[Program, Program]:
    function, point = GOLDEN[name]
    return cr.trace(function, *point), cr.grad(function).program(*point)


def floats(point: Any) -> list[Any]:
    """The leaves of the arguments that are inputs of a program."""
    return [leaf for one in point for leaf in flatten(one)[0] if not isinstance(leaf, int)]


# --- golden texts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    traced, gradient = programs(name)
    text = f"{traced}\n\n{gradient}\n"
    path = FOLDER / f"{name}.txt"
    if WRITE:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    difference = "".join(difflib.unified_diff(expected.splitlines(True), text.splitlines(True), "committed", "now"))
    assert text == expected, f"\n{difference}\nIf this is right: CHAINRULE_GOLDEN=write pytest {__file__}"


def test_every_golden_text_has_its_function():
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(GOLDEN)


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_text_parses_back_into_the_same_program(name):
    _, point = GOLDEN[name]
    for program in programs(name):
        again = Program.parse(str(program), program.constants)
        assert again == program
        assert hash(again) == hash(program)
        assert Program.parse(str(again), again.constants) == program
        # Names survive, lines do not: the second text is the first without its comments.
        bare = [line.partition("  #")[0].rstrip() for line in str(program).splitlines()]
        assert str(again).splitlines() == bare
        for one, other in zip(program.run(floats(point)), again.run(floats(point)), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", GOLDEN)
def test_programs_run_to_the_function_and_its_gradient(name):
    function, point = GOLDEN[name]
    traced, gradient = (one.verify() for one in programs(name))
    close(
        traced.run(floats(point))[0], np.asarray(function(*point), dtype=float)[()], 1e-6 if "single" in name else 0.0
    )
    expected, _ = flatten(cr.grad(function)(*point))
    for one, other in zip(gradient.run(floats(point)), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", GOLDEN)
def test_higher_programs_parse_and_verify(name):
    function, point = GOLDEN[name]
    for operator in (cr.value_and_grad, cr.hessian):
        try:
            program = operator(function).program(*point)
        except cr.NoRule:
            pytest.skip("no rule yet")
        assert Program.parse(str(program.verify()), program.constants) == program


def test_special_numbers_survive_the_text():
    def f(x):
        return (
            np.sum(np.where(x > -math.inf, x * 1e-300 + 0.1, math.nan)) * -0.0
            + np.float32(0.1) * x[0]
            + 2 * x[1]
            + x[2] * math.inf
        )

    program = cr.trace(f, X)
    assert Program.parse(str(program), program.constants) == program
    assert repr(Program.parse(str(program), program.constants).run([X])) == repr(program.run([X]))


def test_names_with_strange_letters_and_reserved_words_survive_the_text():
    def f(p, return_):
        λ = p["program"] * 2.0
        guard = λ + p["a b#'; ="]
        where = guard * return_
        inf = where * p["class"]
        return inf

    program = cr.trace(f, {"program": 1.0, "a b#'; =": 2.0, "class": 3.0}, 4.0)
    assert Program.parse(str(program), program.constants) == program
    assert "λ" in str(program)
    assert len(set(program.readable_names().values())) == len(program.readable_names())


def test_parameters_with_text_survive():
    program = cr.trace(lambda x: np.einsum("i,i->", x, x) + np.sum(x[None, ::-1, ...][0, [0, 2]]), X)
    assert Program.parse(str(program), program.constants) == program


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "program f(x: float64[]):",
        "return x",
        "program f(x: float64[]):\n    return y",
        "program f(x: colour[]):\n    return x",
        "program f(x: float64[], x: float64[]):\n    return x",
        "program f(x: float64[]):\n    y: float64[] = no_such_rule(x)\n    return y",
        "program f(x: float64[]):\n    y: float64[] = exp(x, x)\n    return y",
        "program f(x: float64[]):\n    y: float64[3] = exp(x)\n    return y",
        "program f(x: float64[]):\n    y: float32[] = exp(x)\n    return y",
        "program f(x: float64[]):\n    y: float64[] = exp(z)\n    return y",
        "program f(x: float64[]):\n    x: float64[] = exp(x)\n    return x",
        "program f(x: float64[]):\n    y: float64[] = exp(x; axis=1)\n    return y",
        "program f(x: float64[3]):\n    y: float64[] = sum(x)\n    return y",
        "program f(x: float64[2], y: float64[3]):\n    z: float64[2] = add(x, y)\n    return z",
        "program f(x: float64[]):\n    y = exp(x)\n    return y",
        "program f(x: float64[]):\n    y: float64[] = exp(__import__('os'))\n    return y",
        "program f(x: float64[]):\n    y: float64[] = exp(open)\n    return y",
        "program f(x: float64[]):\n    guard q == True\n    return x",
        "program f(x: float64[]) where (c: float64[3]):\n    return x",
        "program f(x: float64[-1]):\n    return x",
        "program f(x: float64[]):\n    y: float64[] = exp(x\n    return y",
    ],
)
def test_texts_that_are_not_programs(text):
    with pytest.raises(cr.ProgramError):
        Program.parse(text)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_text_is_refused_or_another_well_formed_program(seed):
    rng = np.random.default_rng(seed)
    names = sorted(GOLDEN)
    _, program = programs(names[seed % len(names)])
    lines = [line.partition("  #")[0].rstrip() for line in str(program).splitlines()]
    row = int(rng.integers(len(lines)))
    kind = int(rng.integers(4))
    if kind == 0:
        del lines[row]
    elif kind == 1:
        lines.insert(row, lines[int(rng.integers(len(lines)))])
    elif kind == 2:
        line = lines[row]
        place = int(rng.integers(max(len(line), 1)))
        lines[row] = line[:place] + rng.choice(list("()[]:;=,x1 '\"#@-")) + line[place + 1 :]
    else:
        lines[row] = lines[row][: int(rng.integers(len(lines[row]) + 1))]
    try:
        again = Program.parse("\n".join(lines), program.constants)
    except cr.ProgramError:
        return
    again.verify()


# --- the verifier -----------------------------------------------------------------------------------------------------


def copied(program: Program, **changes: Any) -> Program:
    parts = {
        name: getattr(program, name)
        for name in ("name", "types", "inputs", "steps", "outputs", "captures", "constants", "guards", "sites", "names")
    }
    return Program(**{**parts, **changes})


def corruptions() -> dict[str, Any]:
    program = cr.trace(lambda x: np.sum(np.exp(M @ x) * x[1:2]), X)
    steps = program.steps
    first, last = steps[0], steps[-1]
    out = last.outputs[0]
    elementwise = next(place for place, step in enumerate(steps) if step.rule.name == "exp")

    def replace(place: int, step: Step) -> list[Step]:
        return [*steps[:place], step, *steps[place + 1 :]]

    def typed(var: int, kind: Any) -> list[Any]:
        return [*program.types[:var], kind, *program.types[var + 1 :]]

    exp = steps[elementwise]
    return {
        "steps in another order": copied(program, steps=list(reversed(steps))),
        "a step is missing": copied(program, steps=steps[1:]),
        "a step twice": copied(program, steps=[*steps, last]),
        "an input computed again": copied(
            program, steps=[*steps, Step(exp.rule, exp.inputs, exp.params, program.inputs)]
        ),
        "a result that nothing computes": copied(program, outputs=[len(program.types) - 1 + 5]),
        "a negative variable": copied(program, outputs=[-1]),
        "an operand that nothing computes": copied(program, steps=replace(elementwise, exp._replace(inputs=(out,)))),
        "too many operands": copied(program, steps=replace(elementwise, exp._replace(inputs=exp.inputs * 2))),
        "too few operands": copied(program, steps=replace(elementwise, exp._replace(inputs=()))),
        "too many parameters": copied(program, steps=replace(elementwise, exp._replace(params=(1,)))),
        "another shape": copied(program, types=typed(out, array_type((7,), np.dtype(float)))),
        "another dtype": copied(program, types=typed(out, array_type((), np.dtype(np.float32)))),
        "an input of another shape": copied(program, types=typed(program.inputs[0], array_type((4,), np.dtype(float)))),
        "an input twice": copied(program, inputs=[*program.inputs, *program.inputs]),
        "a capture without its constant": copied(program, constants=()),
        "a constant of another shape": copied(program, constants=[np.ones((5, 5)) for _ in program.constants]),
        "a constant of another dtype": copied(
            program, constants=[np.ones((3, 3), dtype="f4") for _ in program.constants]
        ),
        "a guard on nothing": copied(program, guards=[(10**6, True)]),
        "a table of types that is too short": copied(program, types=program.types[: first.outputs[0]]),
        "a step without a result": copied(program, steps=replace(len(steps) - 1, last._replace(outputs=()))),
        "a rule that is not in the table": copied(
            program, steps=replace(elementwise, exp._replace(rule=type("Rule", (), {"name": "exp", "params": ()})()))
        ),
        "another rule of the same kind of result": copied(
            program, steps=replace(elementwise, exp._replace(rule=RULES["add"]))
        ),
    }


@pytest.mark.parametrize("how", sorted(corruptions()))
def test_verifier_rejects(how):
    with pytest.raises(cr.ProgramError):
        corruptions()[how].verify()


def test_verifier_shows_the_step_and_the_line():
    program = cr.trace(lambda x: np.sum(np.exp(x) * 2.0), X)
    broken = copied(program, steps=list(reversed(program.steps)))
    with pytest.raises(cr.ProgramError) as caught:
        broken.verify()
    text = str(caught.value)
    assert "step 0" in text
    assert "-->" in text
    assert "np.sum(np.exp(x) * 2.0)" in text


def test_verifier_accepts_what_is_made():
    program = cr.trace(lambda x: np.sum(x**2), X)
    assert program.verify() is program


# --- what a program says ----------------------------------------------------------------------------------------------


def test_names_and_lines_of_the_user():
    def energy(position, mass=2.0):
        distance = np.sqrt(np.sum(position**2))
        potential = -mass / distance
        kinetic: Any = np.zeros(3)
        kinetic[0] = position[0] * potential
        return potential + np.sum(kinetic)

    text = str(cr.trace(energy, X))
    for word in ("program energy(position: float64[3])", "distance: float64[]", "potential: float64[]", "kinetic"):
        assert word in text, text
    assert "test_program.py:" in text
    assert "distance = np.sqrt(np.sum(position**2))" in text
    gradient = str(cr.grad(energy).program(X))
    assert gradient.startswith("program grad_energy(position: float64[3])")
    assert "distance" in gradient
    assert "test_program.py:" in gradient


def test_names_of_containers_attributes_and_defaults():
    class Model:
        def value(self, theta):
            self.hidden = np.tanh(theta["w"] * 2.0)
            return np.sum(self.hidden) * theta["layers"][0]

    program = cr.trace(Model().value, {"w": X, "layers": [2.0]})
    names = set(program.readable_names().values())
    assert {"hidden", "theta_w"} <= names, names
    assert any("layers" in name for name in names), names


def test_name_of_a_loop_variable_is_numbered():
    def f(x):
        y = x
        for _ in range(3):
            y = np.sin(y)
        return y

    names = list(cr.trace(f, 0.5).readable_names().values())
    assert names == ["x", "y", "y_2", "y_3"]


def test_two_functions_of_one_shape_keep_their_own_names():
    first = cr.grad(lambda alpha: np.sum(alpha**3)).program(X)
    second = cr.grad(lambda omega: np.sum(omega**3)).program(X)
    assert first == second
    assert "alpha" in str(first)
    assert "omega" in str(second)
    assert "alpha" not in str(second)


def test_shapes_and_dtypes_are_shown():
    text = str(cr.trace(lambda a, b: np.sum(a @ b), M.astype(np.float32), X.astype(np.float32)))
    assert "a: float32[3,3]" in text
    assert "b: float32[3]" in text
    assert "float32[]" in text


def test_equality_ignores_names_and_lines_and_sees_everything_else():
    def one(x):
        y = np.sin(x)
        return y * 2.0

    def two(z):
        return np.sin(z) * 2.0

    assert cr.trace(one, 0.5) == cr.trace(two, 0.7)
    assert cr.trace(one, 0.5) != cr.trace(lambda x: np.sin(x) * 3.0, 0.5)
    assert cr.trace(one, 0.5) != cr.trace(lambda x: np.cos(x) * 2.0, 0.5)
    assert cr.trace(lambda x: x * 2.0, 0.5) != cr.trace(lambda x: x * 2, 0.5)
    assert cr.trace(lambda x: x * 0.0, 0.5) != cr.trace(lambda x: x * -0.0, 0.5)
    assert cr.trace(one, 0.5) != cr.trace(one, X)
    assert cr.trace(one, 0.5) != "text"


def test_program_is_the_one_that_runs():
    def f(x):
        return np.sum(np.sin(x) * M @ x)

    gradient = cr.grad(f)
    np.testing.assert_array_equal(gradient.program(X).run([X])[0], gradient(X))
    program = gradient.program(X)
    assert program.verify() is program


def test_program_runs_at_another_point_and_many_times():
    program = cr.grad(lambda x: np.sum(x**3)).program(X)
    for x in (X, X * 2, -X):
        np.testing.assert_allclose(program.run([x])[0], 3 * x**2)
    np.testing.assert_array_equal(X, [0.7, 1.3, 0.4])


def test_programs_of_several_arguments_have_all_floats_as_inputs():
    program = cr.grad(lambda a, n, b: np.sum(a**n) * b).program(X, 2, 3.0)
    assert len(program.inputs) == 2
    text = str(program)
    assert "a: float64[3]" in text
    assert "b: float64[]" in text


# --- guards -----------------------------------------------------------------------------------------------------------


def test_guards_of_branches_and_loops():
    def f(x):
        total = x[0]
        while total < 3.0:
            total = total * 1.5
        if x[1] > 1:
            total = total + x[1]
        return total * int(x[2] * 10)

    program = cr.trace(f, X)
    truths = [value for _, value in program.guards]
    assert truths == [True, True, True, True, False, True, 4]
    assert str(program).count("guard ") == 7
    assert Program.parse(str(program), program.constants) == program


def test_guards_of_indices_and_masks():
    program = cr.trace(lambda x: np.sum(x[x > 1]) + x[np.argmax(x)], X)
    assert program.guards
    assert Program.parse(str(program), program.constants) == program


def test_no_guards_without_questions():
    assert cr.trace(lambda x: np.sum(np.where(x > 1, x, x**2)) * len(x), X).guards == ()


# --- cost -------------------------------------------------------------------------------------------------------------


def test_cost_of_elementwise_functions_and_products():
    n = 50
    x, a = np.ones(n), np.ones((n, n))
    cost = cr.trace(lambda x: x * 2.0, x).cost()
    assert cost.flops == n
    assert cost.calls == 0
    assert cost.bytes == 2 * 8 * n
    assert cr.trace(np.exp, x).cost().calls == n
    assert cr.trace(lambda a, x: a @ x, a, x).cost().flops == pytest.approx(2 * n * n, rel=0.05)
    assert cr.trace(lambda a: a @ a, a).cost().flops == pytest.approx(2 * n**3, rel=0.05)
    assert cr.trace(np.sum, x).cost().flops == pytest.approx(n, abs=1)
    assert cr.trace(lambda x: x.reshape(5, 10).T, x).cost().flops == 0
    assert cost.operations == n


@pytest.mark.parametrize("name", [one for one in GOLDEN if one not in ("constant", "containers")])
def test_cost_of_a_gradient_is_a_small_constant_times_that_of_its_function(name):
    traced, gradient = programs(name)
    assert gradient.cost().operations <= 5 * traced.cost().operations + 50


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_cost_of_a_gradient_does_not_grow_with_the_number_of_arguments(n):
    def f(x):
        y = np.tanh(x[1:] * x[:-1]) + np.exp(-(x[1:] ** 2))
        return np.sum(y / (1 + y**2))

    x = np.linspace(0.1, 1, n)
    ratio = cr.grad(f).program(x).cost().operations / cr.trace(f, x).cost().operations
    assert ratio < 5


# --- depth ------------------------------------------------------------------------------------------------------------


def test_hundred_thousand_steps_in_a_row():
    def f(x):
        y = x
        for _ in range(50_000):
            y = y * 0.9999 + 0.0001
        return y

    close(cr.grad(f)(0.5), np.float64(0.9999**50_000), 1e-12)
    program = cr.trace(f, 0.5)
    assert len(program) == 100_000
    program.verify()
    assert len(str(program).splitlines()) > 100_000
    close(cr.jvp(f, (0.5,), (1.0,))[1], np.float64(0.9999**50_000), 1e-12)


def test_deep_view_and_write_chains():
    def f(x):
        y = np.zeros(3)
        for i in range(3000):
            y[i % 3] += x[0] * 0.001
            y[:] = y * 0.999
        z = x
        for _ in range(2000):
            z = z[:]
        return np.sum(y) + np.sum(z)

    value = cr.value_and_grad(f)(X)[0]
    close(value, np.float64(f(X)))


def test_value_asked_for_late_in_a_deep_composition():
    def f(x):
        y = x
        for _ in range(20_000):
            y = y * 0.999 + 0.01
        return y if y > 0 else -y

    close(cr.grad(f)(0.5), np.float64(0.999**20_000), 1e-12)


def test_value_asked_for_at_every_step_costs_no_more_than_linear():
    def f(x):
        y = x
        for _ in range(4000):
            y = y * 0.999 + 0.01
            if y < 0:
                y = -y
        return y

    close(cr.grad(f)(0.5), np.float64(0.999**4000), 1e-12)


def test_wide_sum_of_many_terms():
    def f(x):
        return sum(x[i % 3] * i for i in range(5000))

    expected = np.array([sum(range(k, 5000, 3)) for k in range(3)], dtype=float)
    close(cr.grad(f)(X), expected)


def test_elements_of_a_long_array_read_one_by_one():
    n = 3000

    def f(x):
        total = 0.0
        for i in range(n):
            total = total + x[i] ** 2
        return total

    x = np.linspace(0, 1, n)
    close(cr.grad(f)(x), 2 * x)


def test_elements_of_a_long_array_written_one_by_one():
    n = 3000

    def f(x):
        y = np.zeros(n)
        for i in range(n):
            y[i] = x[i] ** 2
        return np.sum(y)

    x = np.linspace(0, 1, n)
    close(cr.grad(f)(x), 2 * x)
