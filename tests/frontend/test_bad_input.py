"""What is not asked properly: the error names the argument and the cure, and nothing is left behind."""

# ruff: noqa: C416, PLW0108, PT017 - a refusal may be one of two right answers

from __future__ import annotations

import builtins
import math
import struct
import sys
import traceback
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.frontend.agreement import close

import chainrule as cr
from chainrule.trace import reach, tracer

X = np.array([0.7, 1.3, 0.4])


def _square(x):
    y = np.zeros(3)
    y[:] = x
    return np.sum(y**2) * math.exp(0.0)


def _scale(x, factor=2.0):
    return factor * np.sum(np.asarray(x) ** 2)


_ZEROS, _EXP, _ORIGINAL_IMPORT, _FLOAT = np.zeros, math.exp, builtins.__import__, float


@pytest.fixture(autouse=True)
def nothing_is_left():
    """After every test of this file: the globals, the builtins, NumPy and the thread's state are as before."""
    here = sys.modules[__name__]
    before = dict(vars(here))
    modules = {name: dict(vars(sys.modules[name])) for name in ("numpy", "math", "builtins", "numpy.linalg")}
    yield
    after = dict(vars(here))
    assert {key for key, value in before.items() if after.get(key) is not value} == set()
    assert set(after) - {"__warningregistry__"} == set(before) - {"__warningregistry__"}
    for name, names in modules.items():
        now = vars(sys.modules[name])
        assert all(now.get(key) is value for key, value in names.items() if key != "_"), name
    assert np.zeros is _ZEROS
    assert math.exp is _EXP
    assert float is _FLOAT
    assert builtins.__import__ is _ORIGINAL_IMPORT
    assert type(np.zeros(2)) is np.ndarray
    assert tracer.active() is None
    assert reach._PLACES == {}
    close(cr.grad(_square)(X), 2 * X)


def says(kind: type[BaseException], call: Any, *fragments: str) -> None:
    """The call raises an error of this kind whose text has the fragments, a cure, and its heading of the page."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    for fragment in fragments:
        assert fragment in text, text
    if isinstance(caught.value, cr.ChainruleError):
        assert caught.value.cure, text
        assert "docs/errors.md#" in text


# --- argnums ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argnums", [1, 5, -2, (0, 1), (0, 7)])
def test_argnums_out_of_range(argnums):
    says(cr.ArgumentError, lambda: cr.grad(_square, argnums)(X), "argnums", "_square", "1 positional argument")


@pytest.mark.parametrize("argnums", ["x", 1.0, None, True, (0, "x"), [None]])
def test_argnums_of_the_wrong_kind(argnums):
    with pytest.raises(cr.ArgumentError, match="argnums"):
        cr.grad(_square, argnums)(X)


def test_argnums_twice_and_empty():
    with pytest.raises(cr.ArgumentError, match="twice"):
        cr.grad(_scale, (0, 0))(X)
    with pytest.raises(cr.ArgumentError, match="twice"):
        cr.grad(_scale, (0, -2))(X, 2.0)
    with pytest.raises(cr.ArgumentError, match="empty"):
        cr.grad(_scale, ())(X)


def test_argnums_of_every_operator():
    for operator in (cr.grad, cr.value_and_grad, cr.jacobian, cr.hessian):
        with pytest.raises(cr.ArgumentError, match="argnums"):
            operator(_square, argnums=3)(X)
    with pytest.raises(cr.ArgumentError, match="argnums"):
        cr.vjp(_square, X, argnums=3)


def test_argument_given_by_keyword_is_not_counted():
    says(cr.ArgumentError, lambda: cr.grad(_square)(x=X), "argnums", "keyword")


def test_not_a_function():
    for operator in (cr.grad, cr.value_and_grad, cr.jacobian, cr.hessian, cr.vmap):
        with pytest.raises(cr.ArgumentError, match="function"):
            operator(3.0)  # type: ignore[arg-type]


def test_wrong_number_of_arguments_is_pythons_error():
    with pytest.raises(TypeError, match="positional argument"):
        cr.grad(_square)(X, X, X)
    with pytest.raises(TypeError, match="unexpected keyword"):
        cr.grad(_square)(X, colour=1)


# --- results ----------------------------------------------------------------------------------------------------------


def test_result_that_is_not_scalar():
    says(cr.ShapeError, lambda: cr.grad(lambda x: x**2)(X), "(3,)", "jacobian")
    says(cr.ShapeError, lambda: cr.grad(lambda x: x.reshape(3, 1) * 2.0)(X), "(3, 1)", "test_bad_input.py")


def test_result_of_one_element_is_not_scalar():
    says(cr.ShapeError, lambda: cr.grad(lambda x: x[:1])(X), "(1,)")


def test_result_that_is_a_container():
    says(cr.ShapeError, lambda: cr.grad(lambda x: (x[0], x[1]))(X), "container", "has_aux")
    says(cr.ShapeError, lambda: cr.grad(lambda x: {"loss": x[0]})(X), "container")
    says(cr.ShapeError, lambda: cr.grad(lambda x: [])(X), "container")


def test_function_that_returns_nothing():
    def f(x):
        np.sum(x)

    for operator in (cr.grad, cr.jacobian, cr.hessian):
        says(cr.ArgumentError, lambda operator=operator: operator(f)(X), "None", "return")
    says(cr.ArgumentError, lambda: cr.jacobian(lambda x: (x, None))(X), "None")


def test_function_that_returns_text_or_an_object():
    says(cr.ArgumentError, lambda: cr.grad(lambda x: "loss")(X), "str")
    says(cr.ArgumentError, lambda: cr.grad(lambda x: SimpleNamespace(a=1))(X), "SimpleNamespace")
    says(cr.ArgumentError, lambda: cr.grad(lambda x: len)(X), "builtin")


def test_function_that_returns_a_generator():
    def f(x):
        yield x[0]

    says(cr.ArgumentError, lambda: cr.grad(f)(X), "generator")
    says(cr.ArgumentError, lambda: cr.grad(lambda x: (one for one in x))(X), "generator")
    says(cr.ArgumentError, lambda: cr.grad(lambda x: map(abs, x))(X), "generator")


def test_function_that_returns_an_integer_or_a_truth():
    says(cr.ArgumentError, lambda: cr.grad(lambda x: 3)(X), "integer")
    says(cr.ArgumentError, lambda: cr.grad(lambda x: x[0] > 1)(X), "bool")
    says(cr.ArgumentError, lambda: cr.grad(lambda x: np.argmax(x))(X))


def test_function_that_returns_a_complex_number():
    says(cr.ChainruleError, lambda: cr.grad(lambda x: 1j)(X), "complex")


def test_function_that_returns_an_object_or_text_array():
    says(cr.ArgumentError, lambda: cr.grad(lambda x: np.array("a"))(X))
    says(cr.ArgumentError, lambda: cr.jacobian(lambda x: np.array([None, 1], dtype=object))(X))


def test_coroutine_function():
    async def f(x):
        return x[0]

    made: list[Any] = []

    def start(x):
        made.append(f(x))
        return made[-1]

    says(cr.ArgumentError, lambda: cr.grad(start)(X), "coroutine")
    made[0].close()


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [3, True, np.int64(3), np.array([1, 2, 3]), np.array([True, False]), np.array(2), np.bool_(1)]
)
def test_integers(given):
    says(cr.ArgumentError, lambda: cr.grad(_scale)(given), "argument x", "float")


@pytest.mark.parametrize("given", ["text", b"bytes", np.array(["a"]), np.array(["2020-01-01"], dtype="datetime64[D]")])
def test_text_and_dates(given):
    says(cr.ArgumentError, lambda: cr.grad(_scale)(given), "argument x")


@pytest.mark.parametrize("given", [1j, np.complex128(1), np.array([1j])])
def test_complex_numbers(given):
    says(cr.ArgumentError, lambda: cr.grad(_scale)(given), "argument x", "real")


@pytest.mark.parametrize("given", [None, object(), SimpleNamespace(a=1.0), len, np, range(3), {1.0, 2.0}, slice(3)])
def test_objects(given):
    says(cr.ArgumentError, lambda: cr.grad(_scale)(given), "argument x")


def test_object_arrays_and_ragged_lists():
    ragged = np.empty(2, dtype=object)
    ragged[:] = [[1.0], [1.0, 2.0]]
    says(cr.ArgumentError, lambda: cr.grad(_scale)(ragged), "argument x", "object", "ragged")


def test_ragged_list_of_floats_is_a_container():
    close(cr.grad(lambda x: sum(sum(row) ** 2 for row in x))([[1.0], [1.0, 2.0]]), [[2.0], [6.0, 6.0]])


def test_ragged_list_made_into_an_array_inside():
    with pytest.raises((cr.ChainruleError, ValueError)):
        cr.grad(lambda x: np.sum(np.array([[x[0]], [x[1], x[2]]])))(X)


def test_generator_argument():
    says(cr.ArgumentError, lambda: cr.grad(_scale)(one for one in (1.0, 2.0)), "argument x", "generator", "list")
    says(cr.ArgumentError, lambda: cr.grad(_scale)(iter([1.0])), "argument x")


def test_leaf_of_a_container_is_named():
    says(cr.ArgumentError, lambda: cr.grad(lambda p: p["w"])({"w": 1.0, "n": 3}), "p['n']", "3")
    says(cr.ArgumentError, lambda: cr.grad(lambda p: p[0])([1.0, (2.0, "a")]), "p[1][1]")


def test_container_that_contains_itself():
    loop: list[Any] = [1.0]
    loop.append(loop)
    says(cr.ArgumentError, lambda: cr.grad(lambda p: p[0])(loop), "itself")


def test_empty_container():
    assert cr.grad(lambda p: 1.0)([]) == []
    assert cr.grad(lambda p, x: x * x, argnums=(0, 1))({}, 3.0) == ({}, 6.0)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrix_and_masked_arrays():
    says(cr.ArgumentError, lambda: cr.grad(_scale)(np.matrix([[1.0, 2.0]])), "np.matrix", "np.asarray")
    says(cr.ArgumentError, lambda: cr.grad(_scale)(np.ma.array([1.0, 2.0], mask=[False, True])), "masked", "filled")


def test_other_subclasses():
    class Units(np.ndarray):
        pass

    says(cr.ArgumentError, lambda: cr.grad(_scale)(np.arange(3.0).view(Units)), "Units", "np.asarray")
    says(cr.ArgumentError, lambda: cr.grad(_scale)(np.arange(3.0).view(np.recarray)), "recarray")


def test_foreign_array():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return np.ones(3)

    says(cr.ArgumentError, lambda: cr.grad(_scale)(Foreign()), "Foreign", "np.asarray")


def test_structured_array():
    says(cr.ArgumentError, lambda: cr.grad(_scale)(np.zeros(2, dtype=[("a", float)])), "argument x")


# --- arrays of every kind ---------------------------------------------------------------------------------------------


def test_nan_and_infinity_are_allowed():
    x = np.array([np.nan, np.inf, -np.inf, 2.0])
    close(cr.grad(lambda x: np.sum(x**2))(x), 2 * x)
    close(cr.grad(lambda x: np.exp(x))(np.inf), np.float64(np.inf))


def test_maths_warnings_do_not_escape():
    value, found = cr.value_and_grad(lambda x: np.sum(np.log(x)))(np.array([0.0, 1.0]))
    assert value == -np.inf
    close(found, np.array([np.inf, 1.0]))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (3, 0, 2)])
def test_zero_size_arrays(shape):
    def f(x):
        y = np.zeros_like(x)
        y[...] = x
        return np.sum(y**2) + np.sum(x, axis=0).sum() + np.sum(np.exp(x).reshape(-1))

    found = cr.grad(f)(np.zeros(shape))
    assert found.shape == shape
    assert cr.jacobian(lambda x: x * 2.0)(np.zeros(shape)).shape == shape + shape


def test_zero_dimensional_arrays():
    found = cr.grad(lambda x: x**2 + np.sin(x) * x.reshape(1)[0])(np.array(0.5))
    assert np.shape(found) == ()
    close(found, np.float64(1.0 + math.cos(0.5) * 0.5 + math.sin(0.5)))


def test_write_into_a_zero_dimensional_argument():
    def f(x):
        x[...] = x * x
        x += 1.0
        return x * 3.0

    x = np.array(0.5)
    close(cr.grad(f)(x), np.float64(3.0))
    assert x == 0.5


def test_read_only_array():
    x = X.copy()
    x.flags.writeable = False
    close(cr.grad(_square)(x), 2 * X)
    found = cr.grad(lambda x: np.sum(x * 1.0))(x)
    assert found.flags.writeable


def test_read_only_array_written_by_the_function():
    def f(x):
        x[0] = 0.0
        return np.sum(x)

    x = X.copy()
    x.flags.writeable = False
    try:
        found = cr.grad(f)(x)
    except ValueError as refusal:
        assert "read-only" in str(refusal)
    else:
        close(found, np.array([0.0, 1.0, 1.0]))
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("make", [
    lambda x: np.repeat(x, 2)[::2], lambda x: x[::-1].copy()[::-1], lambda x: np.stack([x, x], axis=1)[:, 0],
    lambda x: np.broadcast_to(np.float64(0.7), (3,)), np.asfortranarray,
])  # fmt: skip
def test_arrays_that_are_not_contiguous(make):
    x = make(X)
    close(cr.grad(_square)(x), 2 * np.array(x))


def test_fortran_order_two_dimensional():
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))

    def f(x):
        y = x * 1.0
        y.ravel()[1] = 5.0
        return np.sum(y * np.arange(6.0).reshape(2, 3)) + np.sum(x.ravel() * np.arange(6.0))

    # x * 1.0 is in Fortran order as x is, so ravel() is a copy and the write to it is lost.
    try:
        value, found = cr.value_and_grad(f)(x)
    except cr.TraceError:
        return
    assert value == pytest.approx(f(x))
    close(found, 2 * np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("dtype", [">f8", "<f8", ">f4", "<f4"])
def test_byte_orders(dtype):
    x = X.astype(dtype)
    found = cr.grad(_scale)(x)
    assert found.dtype == x.dtype.newbyteorder("=")
    np.testing.assert_allclose(found, 4 * X, rtol=1e-6)
    assert x.dtype.str == np.dtype(dtype).str


def test_big_endian_data_in_the_function():
    data = np.array([1.0, 2.0, 3.0], dtype=">f8")
    close(cr.grad(lambda x: np.sum(x * data))(X), np.array([1.0, 2.0, 3.0]))


def test_half_and_long_double():
    found = cr.grad(lambda x: np.sum(x * x))(X.astype(np.longdouble))
    assert found.dtype == np.longdouble
    found = cr.grad(lambda x: np.sum(x * x))(X.astype(np.float16))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(float), 2 * X, rtol=1e-2)


def test_memory_mapped_array(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    x = np.load(path, mmap_mode="r")
    found = cr.grad(_square)(x)
    assert type(found) is np.ndarray
    close(found, 2 * X)
    data = np.load(path, mmap_mode="r")
    close(cr.grad(lambda x: np.sum(x * data))(X), X)


def test_two_arguments_that_are_one_array():
    close(cr.grad(lambda a, b: np.sum(a * b), argnums=(0, 1))(X, X), (X, X))
    close(cr.grad(lambda p: np.sum(p[0] * p[1]))([X, X]), [X, X])


def test_function_that_changes_its_argument():
    def f(x):
        x[0] = 5.0
        x *= 2.0
        return np.sum(x)

    x = X.copy()
    close(cr.grad(f)(x), np.array([0.0, 2.0, 2.0]))
    np.testing.assert_array_equal(x, X)
    parameters = {"w": X.copy()}

    def g(p):
        p["w"][0] = 1.0
        p["w"] = p["w"] * 2.0
        p["new"] = 3.0
        return np.sum(p["w"])

    close(cr.grad(g)(parameters), {"w": np.array([0.0, 2.0, 2.0])})
    assert list(parameters) == ["w"]
    np.testing.assert_array_equal(parameters["w"], X)


# --- exceptions of the user's code ------------------------------------------------------------------------------------


class OwnError(Exception):
    """An error of the user's code."""


def _fails(x):
    y = np.zeros(2)
    y[0] = x[0]
    raise OwnError("mine", 42)


def test_users_exception_comes_out_as_it_is():
    for call in (
        lambda: cr.grad(_fails)(X),
        lambda: cr.hessian(_fails)(X),
        lambda: cr.jvp(_fails, (X,), (X,)),
        lambda: cr.vjp(_fails, X),
        lambda: cr.vmap(_fails)(X[None]),
        lambda: cr.trace(_fails, X),
        lambda: cr.grad(lambda x: cr.grad(_fails)(x)[0])(X),
    ):
        with pytest.raises(OwnError) as caught:
            call()
        assert caught.value.args == ("mine", 42)
        assert caught.value.__cause__ is None
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert frames[-1].name == "_fails"
        assert frames[-1].line == 'raise OwnError("mine", 42)'
        assert tracer.active() is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit, RecursionError])
def test_exceptions_of_every_kind(kind):
    def f(x):
        import math as m

        np.zeros(3)[0] = x[0]
        m.exp(x[0])
        raise kind

    with pytest.raises(kind):
        cr.grad(f)(X)


def test_endless_recursion():
    def f(x):
        return f(x * 0.5) + 1.0

    with pytest.raises(RecursionError):
        cr.grad(f)(X)


def test_containers_nested_too_deep():
    deep: Any = 1.0
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises((RecursionError, cr.ChainruleError)):
        cr.grad(lambda p: 1.0)(deep)
    while isinstance(deep, list):
        deep = deep[0]


def test_numpys_own_errors_stay():
    with pytest.raises(ValueError, match=r"broadcast|shapes|shape"):
        cr.grad(lambda x: np.sum(x + np.ones(4)))(X)
    with pytest.raises(ValueError, match=r"mismatch|shapes|dimension|aligned"):
        cr.grad(lambda x: np.sum(x @ np.ones((4, 4))))(X)
    with pytest.raises(IndexError):
        cr.grad(lambda x: x[7])(X)
    with pytest.raises(IndexError):
        cr.grad(lambda x: x[0, 0])(X)
    with pytest.raises(ValueError, match="reshape"):
        cr.grad(lambda x: np.sum(x.reshape(2, 2)))(X)
    with pytest.raises(np.exceptions.AxisError):
        cr.grad(lambda x: np.sum(np.sum(x, axis=4)))(X)
    with pytest.raises(TypeError):
        cr.grad(lambda x: len(x[0]))(X)
    with pytest.raises(TypeError):
        cr.grad(lambda x: [one for one in x[0]])(X)
    with pytest.raises(ValueError, match=r"truth|ambiguous"):
        cr.grad(lambda x: x[0] if x > 0 else x[1])(X)
    with pytest.raises(TypeError):
        cr.grad(lambda x: x + "a")(X)
    with pytest.raises(TypeError):
        cr.grad(lambda x: x + None)(X)
    with pytest.raises(TypeError):
        cr.grad(lambda x: [1, 2, 3][x[0]])(X)
    with pytest.raises(AttributeError):
        cr.grad(lambda x: x.colour)(X)
    with pytest.raises(TypeError):
        cr.grad(lambda x: np.sum(x, colour=1))(X)  # type: ignore[call-overload]
    with pytest.raises(np.linalg.LinAlgError):
        cr.grad(lambda x: np.linalg.inv(np.outer(x, x) * 0.0)[0, 0])(X)


# --- functions without a rule -----------------------------------------------------------------------------------------


def test_function_without_a_rule_says_so():
    import scipy.special

    says(
        cr.NoRule,
        lambda: cr.grad(lambda x: np.sum(scipy.special.obl_cv(1, 1, x)))(X),
        "obl_cv",
        "rule",
        "test_bad_input.py",
    )
    says(cr.NoRule, lambda: cr.grad(lambda x: np.sum(np.roots(x)))(X), "roots", "rule", "np.roots(x)")


def test_error_shows_the_users_line():
    def f(x):
        y = x * 2.0
        return vars(math)["exp"](y[0])  # the line

    says(
        cr.TraceError,
        lambda: cr.grad(f)(X),
        'vars(math)["exp"](y[0])',
        "test_bad_input.py",
        "in test_error_shows",
        ".f",
    )


def test_error_in_a_helper_shows_the_helpers_line():
    def helper(a):
        return vars(math)["exp"](a)  # the helper's line

    says(cr.TraceError, lambda: cr.grad(lambda x: helper(x[0]))(X), 'return vars(math)["exp"](a)')


def test_error_that_c_code_replaced_by_its_own():
    says(cr.TraceError, lambda: cr.grad(lambda x: struct.unpack("d", struct.pack("d", x[0]))[0])(X), "struct.pack")


# --- operators --------------------------------------------------------------------------------------------------------


def test_jvp_with_tangents_that_do_not_fit():
    with pytest.raises(cr.ArgumentError, match="tuple"):
        cr.jvp(_square, X, X)  # type: ignore[arg-type]
    with pytest.raises(cr.ArgumentError, match="1 primals but 2 tangents"):
        cr.jvp(_square, (X,), (X, X))
    with pytest.raises(cr.ShapeError):
        cr.jvp(_square, (X,), (np.ones(2),))
    with pytest.raises(cr.ShapeError):
        cr.jvp(lambda p: p["a"], ({"a": 1.0},), ({"b": 1.0},))
    with pytest.raises(cr.ArgumentError, match="real"):
        cr.jvp(_square, (X,), (X * 1j,))


def test_pullback_of_an_adjoint_that_does_not_fit():
    _, pullback = cr.vjp(lambda x: {"a": x * 2.0}, X)
    with pytest.raises(cr.ShapeError):
        pullback(X)
    with pytest.raises(cr.ShapeError):
        pullback({"a": np.ones(2)})
    with pytest.raises(cr.ArgumentError):
        pullback({"a": np.array(["a", "b", "c"])})
    close(pullback({"a": np.array([1, 2, 3])}), (np.array([2.0, 4.0, 6.0]),))


def test_jacobian_mode():
    with pytest.raises(cr.ArgumentError, match="mode"):
        cr.jacobian(_square, mode="backward")


def test_has_aux_without_a_pair():
    for result in (3.0, (1.0,), (1.0, 2.0, 3.0), [1.0, 2.0]):
        says(cr.ArgumentError, lambda result=result: cr.grad(lambda x: result, has_aux=True)(X), "has_aux", "pair")


def test_vmap_arguments():
    with pytest.raises(cr.ArgumentError, match="in_axes"):
        cr.vmap(_square, in_axes=(0, 0))(X[None])
    with pytest.raises(cr.ArgumentError, match="axis"):
        cr.vmap(_square, in_axes=None)(X)
    with pytest.raises(cr.ArgumentError, match=r"argument a.*axis"):
        cr.vmap(lambda a: a)(3.0)
    with pytest.raises(cr.ArgumentError, match="axis"):
        cr.vmap(lambda a: a, in_axes=2)(np.ones((2, 2)))
    with pytest.raises(cr.ShapeError, match="extent"):
        cr.vmap(lambda a, b: a + b)(np.ones(2), np.ones(3))


def test_vmap_of_a_branch_on_a_value():
    def f(x):
        return x if x > 0 else -x

    says(cr.TraceError, lambda: cr.vmap(f)(X), "vmap", "where")


def test_trace_without_a_float():
    with pytest.raises(cr.ArgumentError, match="float"):
        cr.trace(lambda n: n, 3)
    with pytest.raises(cr.ArgumentError, match="float"):
        cr.grad(lambda n: n).program(3)


def test_errors_are_of_the_kinds_that_python_has():
    with pytest.raises(TypeError):
        cr.grad(_scale)(3)
    with pytest.raises(ValueError, match="argument x"):
        cr.grad(_scale)(3)
    assert issubclass(cr.NoRule, NotImplementedError)
    assert issubclass(cr.TraceError, TypeError)
    assert issubclass(cr.ShapeError, ValueError)


def test_error_message_of_a_partial_a_lambda_and_an_object():
    class Model:
        def __call__(self, x):
            return x

    for function in (lambda x: x, Model(), __import__("functools").partial(lambda a, x: x, 1)):
        with pytest.raises(cr.ShapeError, match="shape"):
            cr.grad(function)(X)


def test_c_code_that_refuses_a_traced_value_is_named():
    interpolate = pytest.importorskip("scipy.interpolate")
    spline = interpolate.CubicSpline([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 0.0, 1.0])
    says(cr.TraceError, lambda: cr.grad(lambda x: spline(x))(1.5), "code in C", "chainrule.primitive")
