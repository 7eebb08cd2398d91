"""Nobody else notices a trace: other threads, other calls, the modules, the builtins, whatever way it ends."""

# ruff: noqa: B009, E721, ICN001, UP003 - the names under test are these

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import math
import os
import subprocess
import sys
import textwrap
import threading
import types
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.frontend.agreement import close

import chainrule as cr
from chainrule.trace import reach, tracer

X = np.array([0.7, 1.3, 0.4])


def model(x):
    y = np.zeros(3)
    for i in range(3):
        y[i] = math.exp(x[i]) * float(x[0])
    return np.sum(np.array([y[0], y[1] * y[2]]))


def model_gradient(x):
    e = np.exp(x)
    return np.array(
        [
            e[0] * x[0] + e[0] + 2 * x[0] * e[1] * e[2],
            e[1] * e[2] * x[0] ** 2,
            e[1] * e[2] * x[0] ** 2,
        ]
    )


def other(x):
    work = np.empty(2)
    work[0] = math.sin(x[0])
    work[1] = x[1]
    return work[0] * work[1] + float(x[2]) ** 2


def other_gradient(x):
    return np.array([math.cos(x[0]) * x[1], math.sin(x[0]), 2 * x[2]])


def snapshot() -> dict[str, Any]:
    """Everything by identity that a trace could leave changed."""
    held: dict[str, Any] = {}
    for name in (__name__, "numpy", "math", "builtins", "numpy.linalg"):
        for key, value in vars(sys.modules[name]).items():
            # NumPy imports its submodules when they are first named.
            if key not in ("_", "__warningregistry__") and not isinstance(value, types.ModuleType | int):
                held[f"{name}.{key}"] = value
    held.update(np=np, math=math, cr=cr)
    return held


def same(before: dict[str, Any]) -> None:
    after = snapshot()
    assert set(after) == set(before)
    assert [key for key, value in before.items() if after[key] is not value] == []
    assert tracer.active() is None
    assert reach._PLACES == {}
    assert reach._IMPORTING == 0
    assert builtins.__import__ is not reach._import_with_twins


@pytest.fixture(autouse=True)
def restored():
    before = snapshot()
    yield
    same(before)


def run_all(*tasks: Any, threads: int | None = None, repeats: int = 40) -> None:
    """Run the tasks at the same time, each repeated; the first failure is raised here."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    gate = threading.Barrier(len(tasks))

    def work(task):
        gate.wait()
        for number in range(repeats):
            task(number)

    try:
        with ThreadPoolExecutor(threads or len(tasks)) as pool:
            for done in [pool.submit(work, task) for task in tasks]:
                done.result(timeout=60)
    finally:
        sys.setswitchinterval(interval)


# --- threads ----------------------------------------------------------------------------------------------------------


def test_same_function_in_many_threads():
    def task(number):
        x = X + 0.01 * number
        close(cr.grad(model)(x), model_gradient(x))

    run_all(*[task] * 6)


def test_different_functions_that_share_a_module():
    def first(number):
        close(cr.grad(model)(X + 0.01 * number), model_gradient(X + 0.01 * number))

    def second(number):
        close(cr.grad(other)(X - 0.01 * number), other_gradient(X - 0.01 * number))

    run_all(first, second, first, second)


def _look() -> dict[str, Any]:
    """What a thread sees that uses the names of this module: all as numbers, which nothing can stand in for."""
    made, number, listed = np.zeros(3), float("1.5"), np.array([1.0, 2.0])
    return {
        "zeros": id(type(made)),
        "float": id(type(number)),
        "array": id(type(listed)),
        "exp": id(type(math.exp(1.0))),
        "sum": id(type(np.sum(made))),
        "norm": id(type(np.linalg.norm(made))),
        "float64": id(type(np.float64(3.0))),
        "r_": id(type(np.r_[1.0, 2.0])),
        "vectorize": id(type(np.vectorize(lambda a: a)(listed))),
        "value": float(model(X)),
        "instances": (
            isinstance(1.5, float),
            isinstance(1, float),
            isinstance(made[0], np.float64),
            isinstance(made, np.ndarray),
        ),
        "ufunc": (isinstance(np.add, np.ufunc), np.add.identity, np.add.nin, float(np.add.reduce(listed))),
        "dtype": str(np.dtype(float)) + str(np.zeros(2, np.float32).dtype) + str(np.arange(2, dtype=float).dtype),
        "subclasses": (issubclass(np.float64, float), issubclass(np.float64, np.floating), issubclass(bool, float)),
    }


def _compare() -> dict[str, bool]:
    """Comparisons by identity."""
    return {
        "type is float": type(float("1.5")) is float,
        "type is np.float64": type(np.sum(np.ones(2))) is np.float64,
        "type is np.ndarray": type(np.zeros(2)) is np.ndarray,
        "dtype.type is np.float64": np.zeros(2).dtype.type is np.float64,
        "dtype is np.dtype(np.float64)": np.zeros(2).dtype is np.dtype(np.float64),
        "in a tuple of types": type(1.5) in (float, np.float64),
        "in a set of types": type(1.5) in {float, np.float64},
        "key of a dictionary": {float: 1, int: 2}.get(type(1.5)) == 1,
        "equal": type(1.5) == float,
    }


def product(x):
    y = np.zeros(2)
    y[0] = math.exp(x[0])
    y[1] = np.sum(np.array([x[1], x[2]]))
    return y[0] * y[1]


def product_gradient(x):
    e = math.exp(x[0])
    return np.array([e * (x[1] + x[2]), e, e])


def _beside_a_trace(look: Any) -> list[Any]:
    """What a thread sees, again and again, while this one differentiates functions of the same module."""
    stop = threading.Event()
    seen: list[Any] = []

    def bystander():
        while not stop.is_set():
            found = look()
            if found not in seen:
                seen.append(found)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=bystander) for _ in range(2)]

    try:
        for thread in threads:
            thread.start()
        for _ in range(100):
            close(cr.grad(product)(X), product_gradient(X))
            # A function that reaches all the names that the other thread uses.
            close(
                cr.grad(lambda x: product(x) + len(look()) * x[0])(X),
                product_gradient(X) + np.array([len(look()), 0.0, 0.0]),
            )
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    return seen


def test_thread_that_does_not_trace_sees_no_difference():
    before = _look()
    seen = _beside_a_trace(_look)
    assert seen
    different = sorted({key for one in seen for key, value in one.items() if value != before[key]})
    assert different == []


def test_thread_that_does_not_trace_compares_by_identity():
    assert all(_compare().values())
    seen = _beside_a_trace(_compare)
    assert seen
    assert sorted({key for one in seen for key, value in one.items() if not value}) == []


def _probe(seen):
    seen.append(
        (
            type(np.zeros(2)),
            type(float(2)),
            type(np.array([1.0])),
            type(np.float64(1.0)),
            type(math.exp(0.0)),
            type(np.empty(1)),
            type(np.linspace(0, 1, 3)),
            type(1.0) is float,
            isinstance(np.zeros(1), np.ndarray),
        )
    )


def test_thread_started_inside_a_trace():
    seen: list[Any] = []

    def f(x):
        thread = threading.Thread(target=_probe, args=(seen,))
        thread.start()
        thread.join()
        return np.sum(np.array([x[0], x[1]]) ** 2)

    close(cr.grad(f)(X), np.array([1.4, 2.6, 0.0]))
    _probe(seen)
    assert seen[0] == seen[1]
    assert seen[0][:3] == (np.ndarray, float, np.ndarray)


def test_value_handed_to_another_thread_is_right_or_refused():
    def f(x):
        with ThreadPoolExecutor(2) as pool:
            parts = list(pool.map(lambda one: math.exp(one) * one, x))
        return sum(parts)

    try:
        found = cr.grad(f)(X)
    except cr.ChainruleError:
        return
    close(found, np.exp(X) * (1 + X))


def test_threads_that_fail_and_threads_that_do_not():
    def failing(x):
        y = np.zeros(2)
        y[0] = math.exp(x[0])
        raise LookupError

    def bad(number):
        with pytest.raises(LookupError):
            cr.grad(failing)(X)

    def good(number):
        close(cr.grad(model)(X), model_gradient(X))

    run_all(bad, good, bad, good)


def test_threads_that_nest():
    def f(a):
        return cr.grad(lambda x: np.sum(np.array([math.exp(x[0]), x[1] * a])))(X)[1] * a

    def task(number):
        close(cr.grad(f)(2.0 + number), np.float64(2 * (2.0 + number)))

    run_all(task, task, task)


def test_threads_that_import_inside():
    def f(x):
        import math as m

        import numpy as anp

        y = anp.zeros(2)
        y[0] = m.exp(x[0])
        y[1] = x[1]
        return y[0] * y[1]

    def task(number):
        e = math.exp(0.7)
        close(cr.grad(f)(X), np.array([1.3 * e, e, 0.0]))

    def importer(number):
        import json
        import math

        assert json.loads("1") == 1
        assert type(math.exp(1.0)) is float
        assert isinstance(math, types.ModuleType)

    run_all(task, importer, task, importer)


# --- endings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_exception_in_the_middle(kind):
    def f(x):
        y = np.zeros(3)
        y[0] = math.exp(x[0])
        import math as m

        m.exp(y[0])
        raise kind("in the middle")

    for call in (
        lambda: cr.grad(f)(X),
        lambda: cr.grad(lambda x: np.sum(cr.grad(f)(x)))(X),
        lambda: cr.vmap(f)(X[None]),
        lambda: cr.hessian(f)(X),
    ):
        before = snapshot()
        with pytest.raises((kind, RuntimeError)):
            call()
        same(before)


def test_interrupt_from_outside():
    """A KeyboardInterrupt that arrives at any instruction of the trace leaves nothing behind."""

    class Interrupt(BaseException):
        pass

    before = snapshot()
    fired = 0
    for countdown in [*range(0, 400, 7), *range(400, 6000, 211)]:
        left = countdown

        def tracing(frame, event, arg):
            nonlocal left
            if "reach.py" in frame.f_code.co_filename or "contextlib" in frame.f_code.co_filename:
                # The few lines that put the names back can not be interrupted by a test of this kind.
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    sys.settrace(None)
                    raise Interrupt
            return tracing

        held = sys.gettrace()
        sys.settrace(tracing)
        try:
            cr.grad(model)(X)
        except Interrupt:
            fired += 1
        finally:
            sys.settrace(held)
        same(before)
    assert fired > 30
    close(cr.grad(model)(X), model_gradient(X))


def test_generator_that_is_never_finished():
    held: list[Any] = []

    def numbers(x):
        try:
            for one in x:
                yield math.exp(one)
        finally:
            held.append("closed")

    def f(x):
        it = numbers(x)
        first = next(it)
        held.append(it)
        return first * x[1]

    e = math.exp(0.7)
    close(cr.grad(f)(X), np.array([1.3 * e, e, 0.0]))
    it = held.pop(0)
    assert float(next(it)) == pytest.approx(math.exp(1.3))
    it.close()
    assert held == ["closed"]


def test_generator_that_holds_a_gradient_open():
    def walk(x):
        for _ in range(5):
            yield cr.grad(model)(x)

    it = walk(X)
    next(it)
    before = snapshot()
    close(cr.grad(other)(X), other_gradient(X))
    it.close()
    same(before)


def test_names_that_the_function_rebinds_stay_rebound():
    space: dict[str, Any] = {}
    exec(
        textwrap.dedent(
            """
            import math
            import numpy as np
            exp = math.exp
            scale = 1.0
            def f(x):
                global exp, scale, fresh
                y = exp(x[0]) * scale
                exp = math.sin
                scale = 2.0
                fresh = 5
                return y * exp(x[1])
            """
        ),
        space,
    )
    found = cr.grad(space["f"])(X)
    e = math.exp(0.7)
    close(found, np.array([e * math.sin(1.3), e * math.cos(1.3), 0.0]))
    assert space["exp"] is math.sin
    assert space["math"] is math
    assert space["np"] is np
    assert space["scale"] == 2.0
    assert space["fresh"] == 5


def test_names_that_the_function_deletes_stay_deleted():
    space: dict[str, Any] = {}
    exec(
        "import math\nimport numpy as np\ndef f(x):\n    global np\n    y = np.sin(x[0])\n    del np\n    return y\n",
        space,
    )
    close(cr.grad(space["f"])(X), np.array([math.cos(0.7), 0, 0]))
    assert "np" not in space
    assert space["math"] is math


def test_names_imported_by_a_global_statement_are_the_originals():
    space: dict[str, Any] = {}
    exec("def f(x):\n    global math\n    import math\n    return math.exp(x[0])\n", space)
    close(cr.grad(space["f"])(X)[0], math.exp(0.7))
    assert space["math"] is math


def test_names_kept_by_the_function_are_the_originals_or_work():
    held: dict[str, Any] = {}

    class Keeper:
        def value(self, x):
            self.zeros = np.zeros
            self.math = math
            held["array"] = np.array
            held["float"] = float
            return np.sum(x)

    keeper = Keeper()
    cr.grad(keeper.value)(X)
    assert type(keeper.zeros(2)) is np.ndarray
    assert type(keeper.math.exp(1.0)) is float
    assert type(held["array"]([1.0])) is np.ndarray
    assert type(held["float"](2)) is float
    assert isinstance(1.0, held["float"])
    assert not isinstance(1, held["float"])


def test_closure_cells_are_as_before():
    xp, exp = np, math.exp

    def f(x):
        y = xp.zeros(2)
        y[0] = exp(x[0])
        return y[0] * x[1]

    e = math.exp(0.7)
    close(cr.grad(f)(X), np.array([1.3 * e, e, 0.0]))
    assert [cell.cell_contents for cell in f.__closure__ or ()] == [exp, xp]
    assert xp is np
    assert exp is math.exp


def test_class_attributes_and_instances_are_as_before():
    class Model:
        xp = np
        activation = staticmethod(math.tanh)

        def __init__(self):
            self.maker = np.zeros

        def value(self, x):
            y = self.maker(1)
            y[0] = self.activation(x[0])
            return y[0] * self.xp.array([x[1], 1.0])[0]

    m = Model()
    with contextlib.suppress(cr.ChainruleError):
        cr.grad(m.value)(X)
    assert Model.xp is np
    assert Model.__dict__["activation"].__func__ is math.tanh
    assert m.maker is np.zeros


def test_defaults_are_as_before():
    def f(x, maker=np.zeros, exp=math.exp):
        y = maker(1)
        y[0] = exp(x[0])
        return y[0]

    cr.grad(f)(X)
    assert f.__defaults__ == (np.zeros, math.exp)
    assert f.__defaults__[0] is np.zeros


# --- nesting and re-entrance ------------------------------------------------------------------------------------------


def test_nested_traces_restore_in_order():
    def outer(x):
        inner = cr.grad(model)(x * 2.0)
        after = np.zeros(3)
        after[0] = x[0]
        after[1:] = inner[1:]
        return math.exp(after[0]) + np.sum(after)

    before = snapshot()
    cr.grad(outer)(X)
    same(before)


def test_error_of_an_inner_trace_is_caught_by_the_outer_function():
    def broken(x):
        y = np.zeros(2)
        y[0] = math.exp(x[0])
        raise LookupError

    def outer(x):
        try:
            cr.grad(broken)(x)
        except LookupError:
            y = np.zeros(3)
            y[:] = x
            return math.exp(y[0]) * y[1]
        return 0.0

    e = math.exp(0.7)
    close(cr.grad(outer)(X), np.array([1.3 * e, e, 0.0]))


def test_gradient_of_plain_data_inside_a_trace():
    def f(x):
        inner = cr.grad(model)(np.array([0.1, 0.2, 0.3]))
        return np.sum(inner * x)

    close(cr.grad(f)(X), model_gradient(np.array([0.1, 0.2, 0.3])))


def test_numerical_gradient_inside_a_trace_is_right_or_refused():
    def f(x):
        return np.sum(np.asarray(cr.numerical.grad(model, np.array([0.1, 0.2, 0.3])).value) * x)

    try:
        found = cr.grad(f)(X)
    except cr.ChainruleError:
        return
    close(found, model_gradient(np.array([0.1, 0.2, 0.3])), 1e-6)


def test_function_that_calls_itself_through_grad():
    def f(x, depth):
        if depth == 0:
            return x**4
        return cr.grad(f)(x, depth - 1)

    assert [float(f(2.0, depth)) for depth in range(5)] == pytest.approx([16, 32, 48, 48, 24])


# --- the outside ------------------------------------------------------------------------------------------------------


def test_nothing_is_installed_at_import():
    script = textwrap.dedent(
        """
        import builtins, math, sys
        import numpy as np
        names = {m: dict(vars(sys.modules[m])) for m in ("numpy", "math", "builtins", "numpy.linalg")}
        import chainrule as cr
        for m, held in names.items():
            now = vars(sys.modules[m])
            changed = [k for k, v in held.items() if now.get(k) is not v]
            assert not changed, (m, changed)
            fresh = [k for k in set(now) - set(held) if type(now[k]) is not type(sys)]
            assert not fresh, (m, fresh)
        assert "llvmlite" not in sys.modules and "matplotlib" not in sys.modules
        assert not [m for m in sys.modules if m.startswith(("scipy.optimize", "scipy.stats", "scipy.integrate"))]
        def f(x):
            return math.exp(x[0]) * np.array([x[1]])[0]
        cr.grad(f)(np.array([1.0, 2.0]))
        for m, held in names.items():
            now = vars(sys.modules[m])
            changed = [k for k, v in held.items() if now.get(k) is not v]
            assert not changed, (m, changed)
        assert not [m for m in sys.modules if m.startswith(("scipy.optimize", "scipy.stats", "scipy.integrate"))]
        assert "llvmlite" not in sys.modules and "matplotlib" not in sys.modules
        """
    )
    source = str(Path(cr.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert done.returncode == 0, done.stderr


def test_code_outside_a_trace_runs_at_full_speed():
    """The very same objects are found under the names, so the cost outside a trace is nil."""
    cr.grad(model)(X)
    space = model.__globals__
    assert space["np"] is np
    assert space["math"] is sys.modules["math"]
    assert "float" not in space


def test_module_reloaded_after_a_trace(tmp_path, monkeypatch):
    (tmp_path / "reloaded_model.py").write_text("import math\n\ndef f(x):\n    return math.exp(x[0])\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("reloaded_model")
    close(cr.grad(module.f)(X)[0], math.exp(0.7))
    (tmp_path / "reloaded_model.py").write_text(
        "import math\nimport numpy as np\n\ndef f(x):\n    return np.array([math.sin(x[0])])[0]\n"
    )
    importlib.invalidate_caches()
    importlib.reload(module)
    close(cr.grad(module.f)(X)[0], math.cos(0.7))
    del sys.modules["reloaded_model"]


def test_functions_and_data_can_be_freed():
    class Data:
        def __init__(self):
            self.table = np.ones(1000)

        def value(self, x):
            return np.sum(self.table) * x[0]

    data = Data()
    table = weakref.ref(data.table)
    cr.grad(data.value)(X)
    del data
    gc.collect()
    assert table() is None


def test_identity_comparisons_hold_inside_a_trace():
    def g(v, function=None):
        return function(v) * (2.0 if function is np.sin else 1.0)

    def f(x):
        assert np.float64 is np.float64
        assert type(3.0) is float
        assert type(1.5) is type(2.5)
        return g(x[0], np.sin) + g(x[1], np.cos)

    close(cr.grad(f)(X), np.array([2 * math.cos(0.7), -math.sin(1.3), 0.0]))


def test_twins_look_like_the_originals():
    seen: dict[str, Any] = {}

    def f(x):
        seen.update(
            name=getattr(np.zeros, "__name__"),
            doc=math.exp.__doc__,
            ufunc=isinstance(np.add, np.ufunc),
            nin=np.add.nin,
            text=repr(np.add),
            module=np.__name__,
            version=np.__version__,
            pi=math.pi,
            dtype=np.dtype(np.float64),
            sub=issubclass(np.float64, float),
            kind=np.dtype(float),
            same=np.float64 == np.dtype("f8").type,
            equal=np.sin == np.sin,
            key={np.sin: 1}.get(np.sin),
            callable=callable(np.zeros),
        )
        return np.sum(x)

    cr.grad(f)(X)
    inside = dict(seen)
    f(X)
    assert inside == seen


def test_types_compared_by_identity_inside_a_trace():
    seen: list[Any] = []

    def f(x):
        seen.append(_compare())
        seen[-1].update(
            {
                "dtype of x": x.dtype is np.dtype(np.float64),
                "dtype.type of x": x.dtype.type is np.float64,
                "np.dtype(float).type": np.dtype(float).type is np.float64,
                "a number": type(3.0) is float,
            }
        )
        return np.sum(x)

    close(cr.grad(f)(X), np.ones(3))
    # type(x) of a traced value is what it is; of a plain array made inside, isinstance() is the question to ask.
    assert [key for key, value in seen[0].items() if not value and key != "type is np.ndarray"] == []


def test_dtype_objects_given_inside_a_trace():
    def f(x):
        a = np.zeros(3, dtype=float)
        b = np.array([x[0], 1.0], dtype=np.float64)
        c = np.asarray(x, float)
        a[0] = x[0]
        assert a.dtype == float
        assert b.dtype == np.dtype(np.float64)
        assert np.issubdtype(np.float64, np.floating)
        assert np.zeros(2, np.float32).dtype == np.float32
        assert np.arange(3, dtype=float).dtype.type is np.dtype(float).type
        return a[0] * b[0] + c[1] + x.astype(float)[2] + x.astype(np.float64)[2]

    close(cr.grad(f)(X), np.array([1.4, 1.0, 2.0]))
