"""``compile``: the same results as uncompiled, types included; never stale; nothing lost, nothing leaked."""

from __future__ import annotations

import gc
import itertools
import os
import random
import sys
import threading
import warnings
import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.frontend.golden_functions import GOLDEN

import chainrule as cr
from chainrule.containers import flatten

X = np.array([0.7, -1.3, 2.1])


def rosen(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def alike(found, wanted):
    found, tree = flatten(found)
    wanted, same = flatten(wanted)
    assert tree == same
    for one, other in zip(found, wanted, strict=True):
        assert type(one) is type(other)
        assert np.asarray(one).dtype == np.asarray(other).dtype
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-300)


def calls_are_direct(compiled):
    return "__call__" in vars(type(compiled))


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_functions_compile_to_the_same_types_and_numbers(name):
    function, point = GOLDEN[name]
    for operator in (cr.grad(function), cr.value_and_grad(function)):
        compiled = cr.compile(operator)
        wanted = operator(*point)
        for _ in range(3):
            alike(compiled(*point), wanted)


@pytest.mark.parametrize(
    "operator",
    [
        cr.grad,
        cr.value_and_grad,
        cr.hessian,
        lambda f: cr.jacobian(cr.grad(f)),
        cr.vmap,
        lambda f: lambda x: cr.hvp(f, (x,), (x * 2.0,)),
        lambda f: lambda x: cr.jvp(f, (x,), (x,)),
        lambda f: lambda x: cr.vjp(f, x)[1](2.0),
        lambda f: lambda x: {"value": f(x), "slope": [cr.grad(f)(x), (f(x),)]},
    ],
)
def test_every_operator_composes(operator):
    point = np.stack([X, X + 1]) if operator is cr.vmap else X
    compiled = cr.compile(operator(rosen))
    for scale in (1.0, 0.5):
        alike(compiled(point * scale), operator(rosen)(point * scale))
    assert calls_are_direct(compiled)


def test_operators_of_a_compiled_function_are_compiled():
    for operator in (cr.grad, cr.value_and_grad, cr.hessian, cr.jacobian):
        made = operator(cr.compile(rosen))
        assert type(made).__mro__[1] is type(cr.compile(rosen)).__mro__[1]
        alike(made(X), operator(rosen)(X))
    alike(cr.jvp(cr.compile(rosen), (X,), (X,)), cr.jvp(rosen, (X,), (X,)))
    assert cr.compile(cr.compile(rosen)).__wrapped__ is rosen


def test_a_compiled_function_is_traced_where_it_is_called_in_another():
    inner = cr.compile(lambda x: np.sin(x) * x)
    alike(cr.grad(lambda x: np.sum(inner(x) ** 2))(X), cr.grad(lambda x: np.sum((np.sin(x) * x) ** 2))(X))


class Pair(NamedTuple):
    w: np.ndarray
    b: float


@dataclass
class Weights:
    w: np.ndarray
    b: float


@pytest.mark.parametrize(
    "arguments",
    [
        ({"w": X, "b": 0.5},),
        ([X, 0.5],),
        ((X, 0.5),),
        (Pair(X, 0.5),),
        (Weights(X, 0.5),),
        ({"w": [X, {"z": 2.0}], "b": (1.0,)},),
    ],
)
def test_containers(arguments):
    def f(p):
        leaves = flatten(p)[0]
        return sum(np.sum(np.sin(one)) * (number + 1) for number, one in enumerate(leaves))

    for operator in (cr.grad(f), cr.value_and_grad(f)):
        alike(cr.compile(operator)(*arguments), operator(*arguments))


def test_keyword_arguments_and_plain_ones():
    def f(x, n, *, scale, kind="sum"):
        return (np.sum if kind == "sum" else np.prod)(x**n) * scale

    compiled = cr.compile(cr.grad(f))
    for n in (1, 2, 3):
        for kind in ("sum", "prod"):
            for scale in (2.0, 3.5):
                alike(compiled(X, n, scale=scale, kind=kind), cr.grad(f)(X, n, scale=scale, kind=kind))


def test_whole_numbers_belong_to_the_compiled_form():
    compiled = cr.compile(cr.grad(lambda x, n: np.sum(x**n)))
    for n in (1000, 2, True, 1):
        alike(compiled(X[:2] * 0.5, n), cr.grad(lambda x, n: np.sum(x**n))(X[:2] * 0.5, n))
    assert len(compiled._held) == 4


def test_arguments_in_other_forms():
    compiled, gradient = cr.compile(cr.grad(rosen)), cr.grad(rosen)
    wide = np.zeros((3, 2))
    wide[:, 0] = X
    raw = np.zeros(8 * 3 + 1, dtype=np.uint8)
    misaligned = raw[1:].view(np.float64)
    misaligned[:] = X
    tagged = X.astype(np.dtype(np.float64, metadata={"unit": "m"}))
    for one in (
        X, wide[:, 0], X[::-1], X[::-1].copy()[::-1], X.astype(">f8"), X.astype(np.float32), misaligned, tagged,
        X.astype(np.float16), X[:2], np.linspace(0, 1, 50), np.lib.stride_tricks.as_strided(X, (3,), (0,)),
    ):  # fmt: skip
        for _ in range(2):
            found = compiled(one)
            wanted = gradient(one)
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=1e-12 if one.dtype.itemsize == 8 else 1e-2)


def test_numbers_of_several_types():
    def f(x, y):
        return x * x * y

    gradient = cr.grad(f)
    for x in (3.0, np.float64(3.0), np.float32(3.0), np.array(3.0), np.array(3.0, np.float32)):
        compiled = cr.compile(cr.grad(f))
        for y in (2.0, np.float64(2.0), 2, np.float32(2.0), np.array([1.0])[0]):
            alike(compiled(x, y), gradient(x, y))


def test_a_weak_python_number_stays_weak():
    def f(x, t):
        return np.sum(x * t)

    single = X.astype(np.float32)
    compiled = cr.compile(cr.grad(f))
    for t in (0.1, 0.2):
        alike(compiled(single, t), cr.grad(f)(single, t))
        assert compiled(single, t).dtype == np.float32


def test_whole_number_arrays_are_inputs():
    def f(x, i):
        return np.sum(x[i] ** 2)

    compiled = cr.compile(cr.grad(f))
    for i in (np.array([0, 1]), np.array([2, 2]), np.array([1, 0])):
        alike(compiled(X, i), cr.grad(f)(X, i))
    assert len(compiled._held) == 1


@pytest.mark.parametrize("bad", [[1.0, 2.0], None, "text", 3, np.array([1, 2]), np.ma.array(X), object(), {1, 2}])
def test_bad_arguments_raise_what_the_operator_raises(bad):
    compiled = cr.compile(cr.grad(rosen))
    compiled(X)
    with pytest.raises(Exception) as wanted:  # noqa: PT011 - whatever it is
        cr.grad(rosen)(bad)
    with pytest.raises(type(wanted.value)):
        compiled(bad)
    with pytest.raises(TypeError):
        compiled()
    with pytest.raises(TypeError):
        compiled(X, X)
    alike(compiled(X), cr.grad(rosen)(X))


def test_shapes_around_vector_widths_and_none():
    compiled = cr.compile(cr.value_and_grad(lambda x: np.sum(np.exp(x) * x)))
    for n in (*range(20), 31, 32, 33, 63, 64, 65, 1000):
        x = np.linspace(-1, 1, n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            alike(compiled(x), cr.value_and_grad(lambda x: np.sum(np.exp(x) * x))(x))


def test_results_own_their_memory():
    compiled = cr.compile(lambda x: (x, x, x * 1.0))
    made = compiled(X)
    made[0][:] = 7
    assert not np.shares_memory(made[0], X)
    assert made[1][0] == made[2][0] == X[0] == 0.7


def test_division_by_zero_and_nan_are_quiet():
    compiled = cr.compile(lambda x: 1.0 / x)
    made = compiled(np.array([0.0, -0.0, np.nan, np.inf, 4.0]))
    np.testing.assert_array_equal(made, [np.inf, -np.inf, np.nan, 0.0, 0.25])


# --- what a function reads --------------------------------------------------------------------------------------------

RATE = 2.0
TABLE = np.array([1.0, 2.0, 3.0])
NESTED: Any = {"k": [1.0, {"deep": 3.0}]}


def reads_globals(x):
    return np.sum(x * RATE * NESTED["k"][0] + NESTED["k"][1]["deep"])


def reads_table(x):
    return np.sum(x**2 * TABLE)


def test_a_changed_global_is_seen(monkeypatch):
    compiled = cr.compile(cr.grad(reads_globals))
    for rate in (2.0, 5.0, 2.0, 7.5):
        monkeypatch.setitem(globals(), "RATE", rate)
        alike(compiled(X), np.full(3, rate * NESTED["k"][0]))
    NESTED["k"][0] = 10.0
    try:
        alike(compiled(X), np.full(3, 75.0))
    finally:
        NESTED["k"][0] = 1.0
    alike(compiled(X), np.full(3, 7.5))


def test_an_equal_value_is_no_change():
    scale = 0.1

    def f(x):
        return np.sum(x * scale)

    compiled = cr.compile(cr.grad(f))
    compiled(X)
    for _ in range(20):
        scale = float("0.1")
        alike(compiled(X), np.full(3, 0.1))
    assert len(compiled._held) == 1


def test_new_contents_of_a_captured_array_are_seen():
    compiled = cr.compile(cr.grad(reads_table))
    before = TABLE.copy()
    try:
        for value in (5.0, 6.0, -1.0):
            TABLE[1] = value
            alike(compiled(X), 2 * X * TABLE)
    finally:
        TABLE[:] = before


def test_contents_that_decide_are_seen():
    switch = np.array([1.0, 0.0])
    index = np.array([0, 1])
    sizes = np.array([2.0])

    def f(x):
        y = x[index] * int(sizes[0])
        return np.sum(y * y) if switch[0] > switch[1] else np.sum(y * np.log(switch + 3.0))

    compiled = cr.compile(cr.grad(f))

    def right():
        alike(compiled(X), cr.grad(f)(X))

    right()
    switch[1] = 2.0
    right()
    switch[0] = -1.0
    right()
    index[0] = 2
    right()
    sizes[0] = 3.0
    right()


def test_a_captured_array_that_is_replaced_resized_or_freed():
    data = [np.arange(3.0)]
    compiled = cr.compile(cr.grad(lambda x: np.sum(x * data[0])))
    alike(compiled(X), np.arange(3.0))
    data[0] = np.arange(3.0) * 2
    alike(compiled(X), np.arange(3.0) * 2)
    data[0] = np.array([1, 2, 3], np.float32)
    alike(compiled(X), np.array([1.0, 2.0, 3.0]))
    data[0] = np.ones((2, 3))
    alike(compiled(X), np.full(3, 2.0))
    data[0] = np.arange(6.0)
    compiled(np.ones(6))
    data[0].resize(3, refcheck=False)
    alike(compiled(X), np.arange(3.0))
    gone = weakref.ref(data[0])
    del data[0]
    with pytest.raises(IndexError):
        compiled(X)
    del compiled
    gc.collect()
    assert gone() is None


def test_views_and_layouts_of_captured_arrays():
    base = np.arange(12.0).reshape(3, 4)
    views = [base.T[:3], base[:, 1], base[::-1, 0], np.asfortranarray(base)[:, 2], base[0, :3].astype(">f8")]

    def f(x):
        return np.sum([np.sum(x * one) for one in views])

    compiled = cr.compile(cr.grad(f))
    alike(compiled(X), cr.grad(f)(X))
    base *= 2
    alike(compiled(X), cr.grad(f)(X))


class Model:
    rate = 2.0

    def __init__(self):
        self.w = np.array([1.0, 2.0, 3.0])
        self.power = 2

    def loss(self, x):
        return self.rate * np.sum((self.w * x) ** self.power)


def test_attributes_are_seen():
    model = Model()
    compiled = cr.compile(cr.grad(model.loss))

    def right():
        alike(compiled(X), cr.grad(model.loss)(X))

    right()
    assert calls_are_direct(compiled)
    model.power = 3
    right()
    model.w[0] = 9.0
    right()
    model.w = np.ones(3)
    right()
    model.rate = 7.0
    right()
    del model.rate
    right()
    Model.rate = 4.0
    try:
        right()
    finally:
        Model.rate = 2.0
    right()


def test_functions_and_defaults_are_seen():
    def helper(x, k=2.0):
        return x * k

    def f(x):
        return np.sum(helper(x))

    compiled = cr.compile(cr.grad(f))
    alike(compiled(X), np.full(3, 2.0))
    helper.__defaults__ = (5.0,)
    alike(compiled(X), np.full(3, 5.0))
    helper.__code__ = (lambda x, k: x * 8.0 * k).__code__
    alike(compiled(X), np.full(3, 40.0))

    def other(x, k=1.0):
        return x * 7.0 * k

    helper = other
    alike(compiled(X), np.full(3, 7.0))


def test_objects_as_arguments():
    class Settings:
        def __init__(self, k):
            self.k = k

    def f(x, settings):
        return np.sum(x * settings.k)

    compiled = cr.compile(cr.grad(f))
    first, second = Settings(2.0), Settings(3.0)
    for _ in range(2):
        alike(compiled(X, first), np.full(3, 2.0))
        alike(compiled(X, second), np.full(3, 3.0))
    first.k = 11.0
    alike(compiled(X, first), np.full(3, 11.0))


# --- guards -----------------------------------------------------------------------------------------------------------


def test_branches_loops_and_whole_numbers():
    def f(x):
        total = 0.0
        if x[0] > 0:
            total = total + x[0] * 3
        while total < 10:
            total = total * 2 + 1 + x[1] ** 2
        return total * int(x[2])

    compiled = cr.compile(cr.value_and_grad(f))
    rng = np.random.default_rng(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(60):
            x = rng.normal(size=3) * 3
            alike(compiled(x), cr.value_and_grad(f)(x))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * 2 if np.isnan(x) or x else x * 3,
        lambda x: x * 2 if bool(x) else x * 3 + 1,
        lambda x: x * round(x) + int(-x) * x,
        lambda x: x * (1 if np.array([x])[:1] else 5),
        lambda x: x * (x > 1) + (x * x if x >= 2.0 else x),
        lambda x: 2.0 if x > 0 else x * 1.0,
    ],
)
def test_questions_of_every_kind(f):
    compiled = cr.compile(cr.value_and_grad(f))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x in (0.0, 1.0, 2.0, 2.5, -1.5, 1.5, 0.5, 1e300, -0.0):
            try:
                wanted = cr.value_and_grad(f)(x)
            except cr.NotDifferentiable:
                continue
            alike(compiled(x), wanted)


def test_many_forms_are_bounded_and_a_warning_names_the_cause():
    compiled = cr.compile(cr.grad(lambda x, n: np.sum(x**2) * n))

    def many():
        for n in range(40):
            alike(compiled(X, n), 2 * X * n)

    with pytest.warns(RuntimeWarning, match="argument n is"):
        many()
    assert len(compiled._held) <= 16


def test_a_warning_names_a_changing_global(monkeypatch):
    compiled = cr.compile(cr.grad(reads_globals))

    def many():
        for n in range(40):
            monkeypatch.setitem(globals(), "RATE", float(n))
            alike(compiled(X), np.full(3, float(n)))

    with pytest.warns(RuntimeWarning, match="the global RATE of"):
        many()


# --- side effects -----------------------------------------------------------------------------------------------------


def test_functions_with_a_state_are_not_compiled():
    calls: list[int] = []

    def counts(x):
        calls.append(1)
        return np.sum(x) * len(calls)

    compiled = cr.compile(counts)
    with pytest.warns(RuntimeWarning, match="changes what it reads"):
        compiled(X)
    before = len(calls)
    np.testing.assert_allclose(compiled(X), X.sum() * len(calls))
    assert len(calls) > before
    for _ in range(5):
        np.testing.assert_allclose(compiled(X), X.sum() * len(calls))


def test_random_numbers_are_drawn_anew():
    rng = np.random.default_rng(0)
    draw = np.random.default_rng(1).normal
    for f in (
        lambda x: np.sum(x * rng.normal(size=3)),
        lambda x: np.sum(x * draw(size=3)),
        lambda x: np.sum(x * np.random.rand(3)),  # noqa: NPY002 - plain code has it
        lambda x: np.sum(x * random.random()),
    ):
        compiled = cr.compile(cr.grad(f))
        with pytest.warns(RuntimeWarning, match="random"):
            made = [compiled(X) for _ in range(4)]
        assert len({tuple(one) for one in made}) == 4


def test_what_can_not_be_watched_is_not_compiled():
    numbers = iter(range(1, 100))
    compiled = cr.compile(lambda x: np.sum(x) * next(numbers))
    with pytest.warns(RuntimeWarning, match="can not be watched"):
        made = [compiled(X) / X.sum() for _ in range(4)]
    assert all(later > former for former, later in itertools.pairwise(made))


def test_attributes_of_functions_and_names_made_up_as_the_code_runs(monkeypatch):
    def f(x):
        return np.sum(x) * f.k  # type: ignore[attr-defined]

    f.k = 2.0  # type: ignore[attr-defined]
    compiled = cr.compile(f)
    np.testing.assert_allclose(compiled(X), 2 * X.sum())
    f.k = 3.0  # type: ignore[attr-defined]
    np.testing.assert_allclose(compiled(X), 3 * X.sum())

    def g(x):
        return np.sum(x) * globals()["RATE"]

    compiled = cr.compile(g)
    for rate in (2.0, 9.0):
        monkeypatch.setitem(globals(), "RATE", rate)
        np.testing.assert_allclose(compiled(X), rate * X.sum())


def test_a_module_that_the_function_imports_itself(tmp_path, monkeypatch):
    (tmp_path / "settings_of_a_test.py").write_text("rate = 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)

    def f(x):
        import settings_of_a_test  # type: ignore[import-not-found]

        return np.sum(x) * settings_of_a_test.rate

    compiled = cr.compile(f)
    compiled(X)
    np.testing.assert_allclose(compiled(X), 2 * X.sum())
    sys.modules["settings_of_a_test"].rate = 5.0  # type: ignore[attr-defined]
    np.testing.assert_allclose(compiled(X), 5 * X.sum())


def test_a_memory_that_fills_once_is_compiled_then():
    memory: dict[str, float] = {}

    def f(x):
        if "k" not in memory:
            memory["k"] = 2.0
        return np.sum(x * memory["k"])

    compiled = cr.compile(cr.grad(f))
    with pytest.warns(RuntimeWarning, match="changes what it reads"):
        compiled(X)
    alike(compiled(X), np.full(3, 2.0))
    assert calls_are_direct(compiled)
    memory["k"] = 3.0
    alike(compiled(X), np.full(3, 3.0))


def test_writing_into_an_argument():
    def f(x):
        x[0] = 5.0
        return np.sum(x * x)

    with pytest.raises(cr.TraceError, match="writes into its argument x"):
        cr.compile(f)(X.copy())
    x = X.copy()
    alike(cr.compile(cr.grad(f))(x), cr.grad(f)(X))
    np.testing.assert_array_equal(x, X)


def test_printing_follows_the_values(capsys):
    def f(x):
        print(f"{x:.1f}")
        return x * 2

    compiled = cr.compile(f)
    for x in (1.0, 2.0):
        compiled(x)
    assert capsys.readouterr().out.split() == ["1.0", "2.0"]


def test_verify_notices_what_can_not_be_watched():
    os.environ["CHAINRULE_TEST"] = "2"

    def f(x):
        return np.sum(x) * len(os.environ["CHAINRULE_TEST"])

    compiled = cr.compile(f, verify=True)
    for _ in range(3):
        compiled(X)
    os.environ["CHAINRULE_TEST"] = "21"
    with pytest.raises(cr.CompileError, match="no longer does what was compiled"):
        compiled(X)
    steady = cr.compile(cr.grad(rosen), verify=True)
    for _ in range(3):
        alike(steady(X), cr.grad(rosen)(X))


def test_errors_come_out_and_leave_nothing_behind():
    def raising(x):
        if x[0] > 100:
            msg = "too large"
            raise ValueError(msg)
        return np.sum(x)

    compiled = cr.compile(cr.grad(raising))
    alike(compiled(X), np.ones(3))
    with pytest.raises(ValueError, match="too large"):
        compiled(X + 1000)
    alike(compiled(X), np.ones(3))


def test_an_error_in_a_step_that_calls_back():
    compiled = cr.compile(np.linalg.inv)
    np.testing.assert_allclose(compiled(np.eye(2) * 2), np.eye(2) / 2)
    for _ in range(3):
        with pytest.raises(np.linalg.LinAlgError):
            compiled(np.zeros((2, 2)))
    np.testing.assert_allclose(compiled(np.eye(2) * 4), np.eye(2) / 4)


# --- references, threads, processes -----------------------------------------------------------------------------------


def test_reference_counts_are_exact():
    compiled = cr.compile(cr.value_and_grad(rosen))
    compiled(X)
    assert calls_are_direct(compiled)
    held = [X, X.dtype, np.ndarray, compiled, rosen, 1000]
    before = [sys.getrefcount(one) for one in held]
    for _ in range(20_000):
        compiled(X)
    assert [sys.getrefcount(one) for one in held] == before
    value, gradient = compiled(X)
    assert sys.getrefcount(gradient) == 2
    assert sys.getrefcount(value) == 2


def test_memory_does_not_grow():
    import tracemalloc

    compiled = cr.compile(cr.value_and_grad(lambda x: np.sum(np.exp(x) * x)))
    x = np.linspace(0, 1, 5000)
    for _ in range(100):
        compiled(x)
    tracemalloc.start()
    try:
        for _ in range(100):
            compiled(x)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            compiled(x)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


def test_a_compiled_function_is_freed_with_its_data():
    data = [np.ones(3)]
    compiled: Any = cr.compile(cr.grad(lambda x: np.sum(x * data[0])))
    compiled(X)
    gone = [weakref.ref(compiled), weakref.ref(data[0])]
    compiled = data[0] = None  # type: ignore[call-overload]
    gc.collect()
    assert [one() for one in gone] == [None, None]


def test_threads_share_a_compiled_function():
    compiled = cr.compile(cr.grad(lambda x: np.sum(np.exp(x) * x)))
    wrong: list[Any] = []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for size in (3, 3, 40_000, 5, 3):
                x = rng.normal(size=size)
                for _ in range(5):
                    wrong.extend([seed] * (not np.allclose(compiled(x), np.exp(x) * (1 + x))))
        except Exception as error:  # noqa: BLE001 - whatever it is
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_calls_within_calls():
    inner = cr.compile(cr.grad(rosen))

    def value(x):
        return inner(np.asarray(x)) if np.ndim(x) else x

    op = cr.primitive(value, pullback=lambda g, y, x: g)
    compiled = cr.compile(lambda x: np.sum(op(x) * x))
    np.testing.assert_allclose(compiled(X), np.sum(cr.grad(rosen)(X) * X))


def test_into():
    compiled = cr.compile(cr.value_and_grad(rosen))
    value, gradient = np.empty(()), np.empty(3)
    write = compiled.into((value, gradient))
    made = write(X)
    assert made[1] is gradient
    alike(gradient, cr.grad(rosen)(X))
    np.testing.assert_allclose(value, rosen(X))
    single = cr.compile(lambda x: x[::-1] * 2)
    x = X.copy()
    single.into(x)(x)
    np.testing.assert_array_equal(x, X[::-1] * 2)
    for bad in (np.empty(4), np.empty(3, np.float32), [1.0]):
        with pytest.raises(cr.ArgumentError):
            single.into(bad)(X)


def test_pickling_and_copies():
    import copy
    import pickle

    compiled = cr.compile(rosen)
    compiled(X)
    for one in (pickle.loads(pickle.dumps(compiled)), copy.deepcopy(compiled), copy.copy(compiled)):
        np.testing.assert_allclose(one(X), rosen(X))


class Method:
    def __init__(self, k):
        self.k = k

    @cr.compile
    def scaled(self, x):
        return np.sum(x * self.k)


def test_a_compiled_method():
    one, other = Method(2.0), Method(3.0)
    for _ in range(2):
        np.testing.assert_allclose(one.scaled(X), 2 * X.sum())
        np.testing.assert_allclose(other.scaled(X), 3 * X.sum())
    one.k = 5.0
    np.testing.assert_allclose(one.scaled(X), 5 * X.sum())
