"""The functions of CPython's own kind that run machine code: interrupts, forks, memory, locks, other interpreters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.native import call

if call.refusal() is not None:
    pytest.skip(str(call.refusal()), allow_module_level=True)

X = np.array([0.7, -1.3, 2.1])


def f(x):
    return np.sum(np.exp(x) * np.sin(x))


def alarmed(*_):
    raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_an_interrupt_comes_between_calls():
    compiled = cr.compile(cr.grad(f))
    large = np.linspace(0, 1, 200_000)
    compiled(large)
    before = signal.signal(signal.SIGALRM, alarmed)
    ends = time.monotonic() + 20
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the interrupt comes anywhere in the loop
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            while time.monotonic() < ends:
                compiled(large)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    np.testing.assert_allclose(compiled(large), cr.grad(f)(large))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_goes_on():
    compiled = cr.compile(cr.grad(f))
    wanted = compiled(X)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            good = np.array_equal(compiled(X), wanted)
            fresh = cr.compile(cr.grad(lambda x: f(x) * 3.0))
            code = 0 if good and np.allclose(fresh(X), 3 * wanted) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(compiled(X), wanted)


def test_out_of_memory_is_an_error():
    compiled = cr.compile(lambda x: x[:, None] * x)
    np.testing.assert_allclose(compiled(X), X[:, None] * X)
    # More than any address space: nothing is allocated, on a machine of any size.
    wide = np.broadcast_to(1.0, 10**8)
    from chainrule.native.glue import Api

    table = call._table()
    real = int(table[Api.NEW_ARRAY])
    nothing = call.function(
        call.machine_code().entry, name="f", kernel=0, arena_bytes=0, arguments=[], captures=[],
        results=[call.Array(np.dtype(float), (10**8, 10**8))], assemble=False, following=lambda: "asked",
        raise_=call.raise_from_callback,
    )[0]  # fmt: skip
    assert real == int(table[Api.NEW_ARRAY])
    for _ in range(3):
        with pytest.raises(MemoryError):
            nothing()
    assert wide.size == 10**8


def test_no_memory_for_an_arena_is_an_error():
    starved = call.function(
        call.machine_code().entry, name="f", kernel=0, arena_bytes=2**62, arguments=[], captures=[],
        results=[call.Array(np.dtype(float), (3,))], assemble=True, following=lambda: "asked",
        raise_=call.raise_from_callback,
    )[0]  # fmt: skip
    for _ in range(3):
        with pytest.raises(MemoryError):
            starved()


def test_other_threads_run_meanwhile():
    compiled = cr.compile(cr.grad(f))
    large = np.linspace(0, 1, 2_000_000)
    compiled(large)
    done = threading.Event()
    counted = 0

    def work():
        for _ in range(10):
            compiled(large)
        done.set()

    thread = threading.Thread(target=work)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10.0)
    try:
        thread.start()
        while not done.is_set():
            counted += 1
            time.sleep(0)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert counted > 0


def test_each_place_is_checked():
    code = call.machine_code()
    kinds = {
        "entry": ({"k": X}, "k"),
        "attribute": (type("Holder", (), {})(), "k"),
        "item": ([1, X], 1),
    }
    for kind, (holder, key) in kinds.items():
        if kind == "attribute":
            holder.k = X
        asked: list[Any] = []

        def following(*args, asked=asked, **kwargs):
            asked.append((args, kwargs))
            return "asked"

        kernel = cr.compile(lambda x: x * 2.0)
        kernel(X)
        made = kernel._held[0][1].compiled
        function, _ = call.function(
            code.entry, name="f", kernel=made.address, arena_bytes=0, arguments=[call.Array(X.dtype, (3,))],
            captures=[], results=[call.Array(X.dtype, (3,))], assemble=False, following=following,
            raise_=call.raise_from_callback, places=[call.Place(kind, holder, key, X)], keep=made,
        )  # fmt: skip
        np.testing.assert_array_equal(function(X), X * 2)
        if kind == "attribute":
            del holder.k
        elif kind == "entry":
            holder.clear()
        else:
            holder[1] = None
        assert function(X) == "asked"
        assert function(X, y=1) == "asked"
        assert function() == "asked"
        assert asked[1][1] == {"y": 1}


def test_a_question_that_raises_is_a_no():
    def question():
        msg = "the question"
        raise ValueError(msg)

    function, _ = call.function(
        call.machine_code().entry, name="f", kernel=0, arena_bytes=0, arguments=[], captures=[], results=[],
        assemble=True, following=lambda: "asked", raise_=call.raise_from_callback,
        places=[call.Place("question", question)],
    )  # fmt: skip
    assert function() == "asked"


def test_a_changed_byte_changes_the_hash():
    address = call.machine_code().hash
    rng = np.random.default_rng(0)
    for size in (*range(70), 1000):
        data = rng.integers(0, 256, size, dtype=np.uint8)
        seen = {call.content_hash(address, data)}
        for place in range(size):
            data[place] ^= 1
            seen.add(call.content_hash(address, data))
            data[place] ^= 1
        assert len(seen) == size + 1
    values = rng.normal(size=64)
    alterations = [
        -values,
        values[::-1],
        np.roll(values, 4),
        np.roll(values, 1),
        values + 1,
        values * 2,
        np.abs(values),
    ]
    for first in range(12):
        for second in range(first):
            changed = values.copy()
            changed[[first, second]] *= -1
            alterations.append(changed)
            changed = values.copy()
            changed[[first, second]] = changed[[second, first]]
            alterations.append(changed)
    seen = {call.content_hash(address, np.ascontiguousarray(one)) for one in (values, *alterations)}
    assert len(seen) == len(alterations) + 1


def test_without_machine_code_everything_is_the_same():
    script = (
        "import numpy as np, chainrule as cr, warnings\n"
        "rate = 2.0\n"
        "def f(x, n): return np.sum(x ** n * rate) if x[0] > 0 else np.sum(x) * rate\n"
        "g = cr.compile(cr.value_and_grad(f))\n"
        "x = np.array([1.0, 2.0])\n"
        "print(g(x, 2), g(-x, 2), g(x, 3), g({'a': 1}['a'] * x, n=2))\n"
        "rate = 3.0\n"
        "print(g(x, 2), type(g).__call__)\n"
        "try: g.llvm(x, 2)\n"
        "except cr.CompileError as error: print('refused')\n"
    )
    said = []
    for mode in ("off", "asked"):
        env = {**os.environ, "CHAINRULE_NATIVE": mode, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
        said.append(done.stdout.splitlines())
    assert said[0][0] == said[1][0]
    assert said[0][1].rpartition(" <")[0] == said[1][1].rpartition(" <")[0]
    assert "built-in" in said[1][1]
    assert "built-in" not in said[0][1]
    assert said[0][2:] == ["refused"]


def test_why_it_is_refused(monkeypatch):
    call.refusal.cache_clear()
    try:
        monkeypatch.setenv("CHAINRULE_NATIVE", "off")
        assert "CHAINRULE_NATIVE" in str(call.refusal())
        monkeypatch.delenv("CHAINRULE_NATIVE")
        for name, value in (("sys.implementation.name", "pypy"), ("sys.maxsize", 2**31 - 1)):
            call.refusal.cache_clear()
            with monkeypatch.context() as patch:
                patch.setattr(name, value)
                assert call.refusal() is not None
        call.refusal.cache_clear()
        assert call.refusal() is None
    finally:
        call.refusal.cache_clear()
