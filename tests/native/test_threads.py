"""The pool: every piece once, whoever calls, in threads and in forked children."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.native import call, threads
from chainrule.native.words import Words

if call.refusal() is not None:
    pytest.skip(str(call.refusal()), allow_module_level=True)


@pytest.fixture(scope="module")
def square():
    """A task ``(frame, piece)``: it adds piece ** 2 to the word of that number in the frame."""
    from chainrule.native import llvm
    from chainrule.native.linking import link

    to = Words("define void @task(i64 %frame, i64 %piece) {")
    to.put("%frame", "%piece", to.op("add", to.word("%frame", "%piece"), to.op("mul", "%piece", "%piece")))
    to.lines.append("  ret void")
    return link(llvm.object_code(to.text()), ["task"])


def run(task, pieces):
    words = (ctypes.c_int64 * 2).from_address(threads.context())
    share = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(words[0])
    frame = np.zeros(max(pieces, 1), dtype=np.int64)
    share(words[1], task.address("task"), frame.ctypes.data, pieces)
    return frame[:pieces]


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_every_piece_is_done_once(square, number):
    with cr.threads(number):
        for pieces in (0, 1, 2, 3, 64, 1000):
            for _ in range(50):
                np.testing.assert_array_equal(run(square, pieces), np.arange(pieces) ** 2)


def test_callers_in_several_threads_do_not_meet(square):
    wrong = []

    def work():
        for _ in range(200):
            if not np.array_equal(run(square, 100), np.arange(100) ** 2):
                wrong.append(1)  # noqa: PERF401 - each is another run

    with cr.threads(3):
        callers = [threading.Thread(target=work) for _ in range(5)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(square):
    with cr.threads(3):
        run(square, 100)
        child = os.fork()
        if child == 0:
            good = all(np.array_equal(run(square, 100), np.arange(100) ** 2) for _ in range(100))
            os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        np.testing.assert_array_equal(run(square, 100), np.arange(100) ** 2)


def test_how_many(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NUM_THREADS", "5")
    assert threads.count() == 5
    with cr.threads(2):
        assert threads.count() == 2
        with cr.threads(4):
            assert threads.count() == 4
        assert threads.count() == 2
    assert threads.count() == 5
    monkeypatch.setenv("CHAINRULE_NUM_THREADS", "many")
    assert threads.count() >= 1
    refused: Any = (0, -1, 2.0, True, "two")
    for bad in refused:
        with pytest.raises(cr.ArgumentError), cr.threads(bad):
            pass


def test_threadpoolctl_limits_the_pool(square):
    control = pytest.importorskip("threadpoolctl")
    threads._made.cache_clear()
    run(square, 3)
    before = threads.count()
    with control.threadpool_limits(limits=1):
        assert threads.count() == 1
    assert threads.count() == before
