"""Programs written out as plain NumPy: run where chainrule can not be imported, they give the same numbers."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tests.derive.functions import FUNCTIONS, TABLE, X
from tests.derive.loops import LOOPS
from tests.frontend.golden_functions import GOLDEN
from tests.rules.points import cases

import chainrule as cr
from chainrule.build import Builder
from chainrule.containers import flatten
from chainrule.derive.numpy_source import SMALL, numpy_source
from chainrule.program import Program, array_type
from chainrule.rule import RULES, Control, Rule, load_module

load_module("scipy.special")
load_module("scipy.linalg")
WRITTEN = [name for name, rule in RULES.items() if not isinstance(rule, Control)]


def loaded(text: str, name: str) -> Any:
    """The function of a printed module, from which chainrule can not be reached."""

    def without_chainrule(module: str, *rest: Any) -> Any:
        if module.partition(".")[0] == "chainrule":
            raise ModuleNotFoundError(module)
        return builtins.__import__(module, *rest)

    assert not re.search(r"import chainrule|from chainrule", text)
    space: dict[str, Any] = {"__builtins__": {**vars(builtins), "__import__": without_chainrule}, "__name__": "written"}
    exec(compile(text, "<written>", "exec"), space)
    return space[name]


def written(program: Program) -> Any:
    return loaded(numpy_source(program), program.name)


def leaves(result: Any) -> list[Any]:
    return flatten(result)[0]


def one_step(rule: Rule, case: Any) -> tuple[Program, list[Any]]:
    """The program of one application of a rule."""
    arguments = [np.asarray(one)[()] for one in case.arguments]
    builder = Builder("one_step")
    given = [
        builder.input(array_type(np.shape(one), np.asarray(one).dtype), f"a{k}") for k, one in enumerate(arguments)
    ]
    made = builder.record(rule, given, case.params)
    return builder.finish(made if isinstance(made, tuple) else (made,)), arguments


# --- every rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITTEN)
def test_every_rule_is_written_and_gives_the_same_value(name):
    rule = RULES[name]
    for case in cases(rule):
        program, arguments = one_step(rule, case)
        function = written(program)
        expected = program.run([np.array(one)[()] for one in arguments])
        found = leaves(function(*[np.array(one)[()] for one in arguments]))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("name", [name for name in WRITTEN if not RULES[name].params])
def test_every_rule_is_written_for_single_precision(name):
    rule = RULES[name]
    for case in cases(rule)[:1]:
        case = case._replace(
            arguments=tuple(one.astype(np.float32) if one.dtype == float else one for one in case.arguments)
        )
        program, arguments = one_step(rule, case)
        for one, other in zip(leaves(written(program)(*arguments)), program.run(arguments), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


# --- whole functions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("way", ["value", "gradient"])
def test_golden_functions(name, way):
    function, point = GOLDEN[name]
    made: Any = cr.grad(function) if way == "gradient" else function
    program = made.program(*point) if way == "gradient" else cr.trace(function, *point)
    floats = differentiable(point)
    found, expected = written(program)(*floats), program.run(flatten(floats)[0])
    for one, other in zip(leaves(found), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def differentiable(point: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one for one in point if not isinstance(one, int))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("way", ["value", "gradient"])
def test_functions_that_are_hard_to_write(name, way):
    function: Any
    function, point = FUNCTIONS[name]
    if way == "gradient" and name in ("several_results", "number_to_array"):
        function = cr.jacobian(function)
    elif way == "gradient":
        function = cr.grad(function, argnums=tuple(range(len(point))))
    text = cr.to_numpy(function, *point)
    program = function.program(*point) if way == "gradient" else cr.trace(function, *point)
    given = [*point, *[program.constants[program.captures.index(var)] for var in large_captures(program)]]
    found = leaves(loaded(text, program.name)(*given))
    expected = program.run(flatten(point)[0])
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype


def large_captures(program: Program) -> list[int]:
    read = {one for step in program.steps for one in step.inputs if isinstance(one, int)}
    return [var for var in program.captures if program.types[var].size > SMALL and var in read]


def test_the_result_has_the_containers_of_the_arguments():
    function, point = FUNCTIONS["strange_keys"]
    found = loaded(cr.to_numpy(cr.grad(function), *point), "grad_strange_keys")(*point)
    assert list(found) == ["class", "a b", 3]
    assert type(found[3]) is tuple
    assert type(found[3][1]) is list


@pytest.mark.parametrize("name", [*FUNCTIONS, *GOLDEN])
def test_results_share_no_memory_with_arguments_or_each_other(name):
    function, point = {**FUNCTIONS, **GOLDEN}[name]
    program = cr.trace(function, *point)
    given = [
        *differentiable(point),
        *[program.constants[program.captures.index(var)] for var in large_captures(program)],
    ]
    arrays = [one for one in leaves(written(program)(*given)) if isinstance(one, np.ndarray)]
    before = [one for one in flatten(tuple(given))[0] if isinstance(one, np.ndarray)]
    for place, one in enumerate(arrays):
        assert one.flags.writeable
        assert not any(np.shares_memory(one, other) for other in (*before, *arrays[:place]))


@pytest.mark.parametrize("name", [*FUNCTIONS, *GOLDEN])
def test_arguments_are_not_changed(name):
    function, point = {**FUNCTIONS, **GOLDEN}[name]
    program = cr.trace(function, *point)
    given = [
        *differentiable(point),
        *[program.constants[program.captures.index(var)] for var in large_captures(program)],
    ]
    before = [np.array(one) for one in flatten(tuple(given))[0]]
    written(program)(*given)
    for one, other in zip(flatten(tuple(given))[0], before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_branch_another_shape_and_complex_numbers_are_refused():
    function, point = GOLDEN["branch"]
    gradient = loaded(cr.to_numpy(cr.grad(function), *point), "grad_branch")
    with pytest.raises(ValueError, match=r"written for the branch \(line \d+\) in which .* > 0.5"):
        gradient(np.array([0.1, 1.0, 2.0]))
    with pytest.raises(ValueError, match="x has shape"):
        gradient(np.ones(4))
    with pytest.raises(TypeError, match="Cannot cast"):
        gradient(np.ones(3) + 1j)
    np.testing.assert_array_equal(gradient([0.7, 1, 0]), [1.0, 0.7, 0.0])


def test_a_branch_on_nan_and_on_an_integer_is_checked():
    text = cr.to_numpy(cr.grad(FUNCTIONS["branches"][0]), np.array([0.7, 1.3, 0.4]))
    gradient = loaded(text, "grad_branches")
    np.testing.assert_array_equal(
        gradient(np.array([0.7, 1.3, 0.4])), cr.grad(FUNCTIONS["branches"][0])(np.array([0.7, 1.3, 0.4]))
    )
    for other in ([0.7, 1.3, 0.55], [1.2, 1.3, 0.4], [np.nan, 1.3, 0.4]):
        with pytest.raises(ValueError, match="written for"):
            gradient(np.array(other))


def test_it_reads_like_a_person_wrote_it():
    text = cr.to_numpy(cr.grad(GOLDEN["rosenbrock"][0]), *GOLDEN["rosenbrock"][1])
    assert text.partition('    """\n')[2].splitlines() == [
        "    x = checked('x', x, (3,))",
        "    # line 37: a = x[1:] - x[:-1] ** 2",
        "    v2 = x[:-1]",
        "    a = x[1:] - v2 ** 2",
        "    # line 38: b = 1 - x[:-1]",
        "    b = 1 - v2",
        "",
        "    # Backwards: from the result to the arguments.",
        "    # d of line 39: return np.sum(100.0 * a**2 + b**2)",
        "    da = 100.0 * (2 * a)",
        "    # d of line 38: b = 1 - x[:-1]",
        "    db = -(2 * b)",
        "    dx = np.zeros(3)",
        "    dx[:-1] += db",
        "    # d of line 37: a = x[1:] - x[:-1] ** 2",
        "    dx[:-1] += -da * (2 * v2)",
        "    dx[1:] += da",
        "    return dx",
    ]


def test_fixed_arguments_and_captured_arrays_are_named():
    def f(x, n, scale=1.0):
        return np.sum(TABLE @ x) * n * scale

    text = cr.to_numpy(cr.grad(f), np.ones(3), 2, scale=3.0)
    assert "Written for n = 2, scale = 3.0." in text
    assert "def grad_f(x, TABLE):" in text
    assert "TABLE: float64 array of shape (20, 3), which the function reads besides its arguments" in text
    np.testing.assert_array_equal(loaded(text, "grad_f")(np.ones(3), TABLE), cr.grad(f)(np.ones(3), 2, scale=3.0))


def test_a_module_runs_alone(tmp_path):
    function, point = GOLDEN["layer"]
    path = tmp_path / "written.py"
    path.write_text(
        cr.to_numpy(cr.grad(function), *point) + "\nimport sys\nassert 'chainrule' not in sys.modules\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, "-W", "error", "-I", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_second_derivatives_and_functions_without_source():
    space: dict[str, Any] = {"np": np}
    exec("def f(x):\n    return np.sum(np.sin(x) * x)", space)
    for made in (cr.hessian(space["f"]), cr.grad(lambda x: np.sum(cr.grad(space["f"])(x) ** 2))):
        text = cr.to_numpy(made, X)
        (name,) = re.findall(r"^def (\w+)\(x\):", text, re.MULTILINE)
        np.testing.assert_array_equal(loaded(text, name)(X), made.program(X).run([X])[0])


def test_thousands_of_steps():
    def long(x):
        total = x
        for k in range(2000):
            total = np.sin(total) + k * x
        return np.sum(total)

    text = cr.to_numpy(cr.grad(long), X)
    np.testing.assert_array_equal(loaded(text, "grad_long")(X), cr.grad(long)(X))
    assert max(map(len, text.splitlines())) < 140


def test_a_rule_of_the_users_own_is_refused_by_name():
    cube = cr.primitive(lambda x: x**3, pullback=lambda g, y, x: g * 3.0 * x**2)
    with pytest.raises(cr.NoRule, match="has no form in plain NumPy"):
        cr.to_numpy(lambda x: np.sum(cube(x)), X)


def test_a_planted_mistake_is_caught():
    function, point = GOLDEN["layer"]
    right = cr.to_numpy(cr.grad(function), *point)
    for old, new in (("2 * ", "3 * "), ("np.cosh", "np.sinh"), (" @ ", " * ")):
        assert old in right
        wrong = loaded(right.replace(old, new), "grad_layer")
        with pytest.raises((AssertionError, ValueError)):
            np.testing.assert_array_equal(wrong(*point), cr.grad(function)(*point))


# --- loops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name):
    program, point = LOOPS[name]
    before = [np.array(one) for one in point]
    found = leaves(written(program)(*point))
    for one, other in zip(found, program.run(point), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    for one, other in zip(point, before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loop_is_a_for():
    program, _ = LOOPS["written"]
    assert numpy_source(program).partition("(9,))\n")[2].splitlines() == [
        "    y = np.zeros(5)",
        "    for l in range(4):",
        "        y[1 + l] = y[l] + x[2 + l] * np.float64(1 + l)",
        "    return y",
    ]
