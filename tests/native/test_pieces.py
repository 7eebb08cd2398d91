"""Large loops are cut into pieces that threads may share: the digits depend neither on their order nor on threads."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.native.programs import compare, same

import chainrule as cr
from chainrule import native

rng = np.random.default_rng(0)
_SHARE = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)


def run_with(compiled: native.Compiled, inputs: list[Any], share: Callable[..., None] | None) -> list[Any]:
    """What the kernel computes when its pieces are handed out by ``share``."""
    outputs = [np.empty(kind.shape, kind.dtype) for kind in compiled.output_types]
    arena = np.empty(compiled.arena_bytes + 64, np.uint8)
    start = arena.ctypes.data + -arena.ctypes.data % 64
    handed = _SHARE(share) if share is not None else None
    context = (ctypes.c_void_p * 2)(ctypes.cast(handed, ctypes.c_void_p) if handed is not None else None, None)

    def table(arrays: list[Any]) -> Any:
        return (ctypes.c_void_p * max(len(arrays), 1))(*[one.ctypes.data for one in arrays])

    kernel = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 5)(compiled.address)
    given = [np.ascontiguousarray(one) for one in inputs]
    assert kernel(table(given), table([]), table(outputs), start, context if handed is not None else None) == 0
    return outputs


def backwards(pool: int, task: Any, frame: Any, pieces: int) -> None:
    order = list(range(pieces))
    random.Random(1).shuffle(order)
    for piece in order:
        _TASK(task)(frame, piece)


def by_threads(pool: int, task: Any, frame: Any, pieces: int) -> None:
    workers = [threading.Thread(target=_TASK(task), args=(frame, piece)) for piece in range(pieces)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()


def total(x):
    return np.sum(np.exp(-x * x) * x)


def rows(x):
    return np.sum(np.log(np.sum(np.exp(x), axis=-1))) + np.sum(np.where(np.any(x > 3, axis=-1), 1.0, 0.5))


@pytest.mark.parametrize("shape", [(65536,), (65537,), (70001,), (200003,), (300, 400), (70000, 3), (3, 70000)])
@pytest.mark.parametrize("function", [total, rows])
def test_the_same_digits_in_any_order(function, shape):
    x = rng.normal(size=shape)
    compiled = compare(cr.value_and_grad(function).program(x), [x])
    assert "piece" in compiled.llvm()
    alone = run_with(compiled, [x], None)
    for share in (backwards, by_threads):
        for one, other in zip(run_with(compiled, [x], share), alone, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_small_loop_is_not_shared():
    x = rng.normal(size=1000)
    assert "piece" not in native.build(cr.value_and_grad(total).program(x)).llvm()


def test_a_sum_over_rows_is_right_in_pieces():
    x = rng.normal(size=(400, 500))
    compiled = native.build(cr.trace(lambda x: np.sum(x, axis=0) + np.max(x, axis=0), x))
    same(compiled.run([x])[0], np.sum(x, axis=0) + np.max(x, axis=0), 1e-13)
