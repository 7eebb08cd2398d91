"""Programs with loops, each with a point: carries, sequences, writes in place, numbers that grow, loops in loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tests.test_loop import F8, at, body_of, looped, put

from chainrule.build import Builder
from chainrule.program import Program, array_type
from chainrule.rule import RULES, apply

__all__ = ["LOOPS"]

LOOPS: dict[str, tuple[Program, list[Any]]] = {}


def loop(**shapes: tuple[int, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Keep the program of the decorated code on inputs of these shapes."""

    def keep(code: Callable[..., Any]) -> Callable[..., Any]:
        builder = Builder(code.__name__)
        inputs = [builder.input(array_type(shape, F8), name) for name, shape in shapes.items()]
        program = builder.finish(code(builder, *inputs)).verify()
        rng = np.random.default_rng(len(LOOPS))
        LOOPS[code.__name__] = program, [rng.normal(size=shape)[()] for shape in shapes.values()]
        return code

    return keep


@loop(x=(3,), W=(4, 3, 3), b=(3,))
def layers(builder, x, W, b):
    def code(l, h, W, b):
        h = np.tanh(W @ h + b)
        return [h, h]

    last, every = looped(builder, body_of("layer", [("h", (3,)), ("W", (3, 3)), ("b", (3,))], code), [x, W, b], 4, 1, 1)
    return [np.sum(last), every]


@loop(x=(9,))
def written(builder, x):
    def code(l, y, x):
        grown = apply(RULES["number_at"], (l,), (1, (1,), "float64", True))
        return [put(y, at(y, l, ("affine", 0, 1)) + at(x, l, ("affine", 2, 1)) * grown, l, ("affine", 1, 1))]

    zeros = builder.constant_array(np.float64(0), (5,))
    return looped(builder, body_of("body", [("y", (5,)), ("x", (9,))], code), [zeros, x], 4, 1, 0)


@loop(x=(4,))
def backwards(builder, x):
    body = body_of("body", [("h", ()), ("x", ())], lambda l, h, x: [h * x + 1.0, h])
    return looped(builder, body, [2.0, x], 4, 1, 1, True)


@loop(x=(0,))
def no_trips(builder, x):
    body = body_of("body", [("h", ()), ("x", ())], lambda l, h, x: [h * x, np.stack([h, x])])
    return looped(builder, body, [2.0, x], 0, 1, 1)


@loop(y=(3,))
def carried_twice(builder, y):
    body = body_of("body", [("y", (3,)), ("z", (3,))], lambda l, y, z: [put(y, 7.0, l, ("affine", 0, 1)), y])
    return looped(builder, body, [y, y], 3, 2, 0)


@loop(x=())
def fibonacci(builder, x):
    body = body_of("body", [("a", ()), ("b", ())], lambda l, a, b: [b, a + b * 0.5])
    last = looped(builder, body, [x, 1.0], 7, 2, 0)
    return [last[0] * last[1]]


@loop(a=(3, 4), v=(4,))
def nested(builder, a, v):
    inner = body_of("inner", [("s", ()), ("x", ()), ("w", ())], lambda l, s, x, w: [s + np.sin(x) * w, s])

    def code(l, total, row, v):
        held = total.builder
        s, every = looped(held, inner, [0.0, row, at(v, l, ("affine", 0, 1))], 4, 1, 1)
        return [total + s * every, s]

    body = body_of("outer", [("total", (4,)), ("row", (4,)), ("v", (4,))], code)
    zeros = builder.constant_array(np.float64(0), (4,))
    return looped(builder, body, [zeros, a, v], 3, 1, 1)


@loop(x=(8, 2))
def windows(builder, x):
    def code(l, g, x):
        window = at(x, l, ("affine", "0:3", 2))
        g = apply(RULES["add_at"], (g, window * 2.0, l), ((("affine", "0:3", 2),),))
        return [g, np.sum(window, axis=0)]

    zeros = builder.constant_array(np.float64(0), (8, 2))
    return looped(builder, body_of("body", [("g", (8, 2)), ("x", (8, 2))], code), [zeros, x], 3, 1, 0, True)


@loop(x=(3,), y=(3,), z=(4, 3))
def packed(builder, x, y, z):
    rows = apply(RULES["pack"], (x, z, y), ("float64", (None, (2, 0, -1), None)))
    back = apply(RULES["pack"], (z,), ("float64", ((3, -1, -1),)))
    body = body_of("body", [("h", (3,)), ("r", (3,)), ("s", (3,))], lambda l, h, r, s: [h * r + s])
    (last,) = looped(builder, body, [x, rows, back], 4, 1, 2)
    return [last, apply(RULES["unpack"], (rows,), (1,)), apply(RULES["pack"], (x[0], y[0], 1.0), ("float64", ()))]
