"""Random programs, and the comparison of what compiled code gives with what the interpreter gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from chainrule import native
from chainrule.build import Builder, Value
from chainrule.errors import ChainruleError
from chainrule.program import Literal, Program, array_type
from chainrule.rule import Index

#: Extents around every vector width, and the ends.
EXTENTS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65)
UNARY: tuple[Callable[..., Any], ...] = (
    np.negative, np.square, np.absolute, np.sign, np.sqrt, np.exp, np.expm1, np.log, np.log1p, np.sin, np.cos, np.tan,
    np.tanh, np.sinh, np.cosh, np.arctan, np.arcsin, np.arcsinh, np.cbrt, np.floor, np.ceil, np.trunc, np.rint,
    np.isnan, np.isfinite, np.reciprocal, np.logical_not, special.expit, special.log_expit, special.erf,
    special.gammaln, np.log2, np.exp2,
)  # fmt: skip
BINARY: tuple[Callable[..., Any], ...] = (
    np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.fmax, np.fmin, np.power, np.hypot,
    np.arctan2, np.logaddexp, np.copysign, np.remainder, np.floor_divide, np.fmod, np.less, np.less_equal, np.equal,
    np.not_equal, np.greater, np.logical_and, np.logical_or, np.heaviside, special.xlogy,
)  # fmt: skip
REDUCTIONS: tuple[Callable[..., Any], ...] = (np.sum, np.sum, np.prod, np.max, np.min, np.any, np.all, np.mean)
DTYPES = (np.float64, np.float64, np.float64, np.float64, np.float32, np.int64, np.int32, np.bool_)
SPECIALS = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, -1e300, 1e300, 0.5, -1.0, 2.0)


def array(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, specials: bool) -> Any:
    """Random numbers; among them, if ``specials``, those on which IEEE 754 has a chapter."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "i":
        return rng.integers(-9, 10, shape).astype(dtype)
    made = np.asarray(rng.normal(size=shape) * 2)
    if specials:
        with np.errstate(all="ignore"):
            made = np.where(rng.random(shape) < 0.3, rng.choice(SPECIALS, shape), made)
    return np.asarray(made, dtype=dtype)


def _shape(pick: random.Random) -> tuple[int, ...]:
    return tuple(pick.choice(EXTENTS) for _ in range(pick.choice((0, 1, 1, 1, 2, 2, 3))))


def _key(pick: random.Random, shape: tuple[int, ...]) -> tuple[Any, ...]:
    key: list[Any] = []
    for extent in shape:
        kind = pick.randrange(6)
        if kind == 0 and extent:
            key.append(pick.randrange(-extent, extent))
        elif kind == 1 and extent:
            start = pick.randrange(extent)
            key.append(slice(start, pick.randrange(start, extent + 1), pick.choice((None, 1, 2, 3))))
        elif kind == 2:
            key.append(slice(None, None, -1))
        elif kind == 3:
            key += [None, slice(None)]
        else:
            key.append(slice(None))
        if pick.random() < 0.2:
            break
    return tuple(key)


class Maker:
    """Makes one random program."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.builder = Builder(f"random_{seed}")
        self.arguments: list[Any] = []
        self.constants: list[Any] = []
        self.pool: list[Value] = []
        self.specials = self.pick.random() < 0.3

    def start(self) -> None:
        shapes = [_shape(self.pick)]
        for _ in range(self.pick.randrange(3)):
            base = shapes[-1]
            cut = base[self.pick.randrange(len(base) + 1) :] if base else ()
            shapes.append(
                self.pick.choice((base, cut, tuple(self.pick.choice((1, one)) for one in base), _shape(self.pick)))
            )
        for shape in shapes:
            made = array(self.rng, shape, self.pick.choice(DTYPES), self.specials)
            if self.pick.random() < 0.15 and made.ndim:
                var = self.builder.capture(made)
                self.pool.append(Value(self.builder, var))
            else:
                self.pool.append(self.builder.input(array_type(made.shape, made.dtype)))
                self.arguments.append(made)

    def operand(self) -> Any:
        return self.pool[-1] if self.pick.random() < 0.4 else self.pick.choice(self.pool)

    def other(self, x: Any) -> Any:
        if self.pick.random() < 0.2:
            return self.pick.choice((1, 2, 3, -1, 0, 0.5, 2.5, -0.0, np.float64(1.5), np.float32(0.25), np.inf))
        alike = [one for one in self.pool if one.shape == x.shape[x.ndim - one.ndim :]]
        return self.pick.choice(alike or self.pool)

    def step(self) -> Any:
        pick, x = self.pick, self.operand()
        kind = pick.randrange(21)
        if kind < 5:
            return pick.choice(UNARY)(x)
        if kind < 10:
            args = (x, self.other(x))
            return pick.choice(BINARY)(*(args if pick.random() < 0.7 else args[::-1]))
        if kind == 10:
            return np.where(self.operand() > 0, x, self.other(x))
        if kind == 11:
            axis = None if not x.ndim or pick.random() < 0.4 else pick.randrange(x.ndim)
            return pick.choice(REDUCTIONS)(x, axis=axis)
        if kind == 12:
            return np.sum(x, axis=tuple(sorted(pick.sample(range(x.ndim), pick.randrange(x.ndim + 1)))), keepdims=True)
        if kind == 13:
            return x[_key(pick, x.shape)]
        if kind == 14:
            return np.transpose(x, pick.sample(range(x.ndim), x.ndim))
        if kind == 15:
            return self.moved(x)
        if kind == 16:
            return np.broadcast_to(x, (pick.choice((1, 2, 3, 8, 9)), *x.shape))
        if kind == 17:
            return self.joined(x)
        if kind == 18:
            return self.written(x)
        if kind == 20:
            return pick.choice((np.cumsum, np.cumprod))(x, axis=pick.randrange(x.ndim) if x.ndim else None)
        return self.product(x)

    def moved(self, x: Any) -> Any:
        if self.pick.random() < 0.5:
            return np.reshape(x, -1)
        return np.reshape(x, (*x.shape[: self.pick.randrange(x.ndim + 1)], 1, -1)) if x.size else np.ravel(x)

    def joined(self, x: Any) -> Any:
        pick = self.pick
        if not x.ndim:
            return np.stack([x, x * 2])
        alike = [one for one in self.pool if one.shape[1:] == x.shape[1:] and one.ndim == x.ndim]
        axis = 0
        parts = [x, pick.choice(alike)]
        return (
            np.concatenate(parts, axis=axis)
            if pick.random() < 0.7
            else np.stack([x, x + 1], axis=pick.randrange(x.ndim))
        )

    def written(self, x: Any) -> Any:
        from chainrule.rule import RULES, apply
        from chainrule.rules.gather import encode, key_shape

        pick = self.pick
        rule = RULES[pick.choice(("setitem", "index_add", "index_add"))]
        if x.ndim and x.shape[0] and pick.random() < 0.3:
            count = pick.choice((1, 3, 8, 9))
            index = self.builder.value(self.builder.capture(self.rng.integers(-x.shape[0], x.shape[0], count)))
            part = key_shape(x.shape, ("?",), ((count,),))
            found = [one for one in self.pool if one.shape == part and one.dtype == x.dtype]
            if pick.random() < 0.4:
                return apply(RULES["getitem"], (x, index), (("?",),))
            if found or part == (count,):
                v = pick.choice(found) if found else np.asarray(self.rng.normal(size=part), x.dtype)
                return apply(rule, (x, v, index), (("?",),))
        key = _key(pick, x.shape)
        template, _ = encode(key)
        part = key_shape(x.shape, template, ())
        found = [one for one in self.pool if one.shape == part[len(part) - one.ndim :] and one.dtype == x.dtype]
        v = pick.choice(found) if found else x.dtype.type(3)
        return apply(rule, (x, v), (template,))

    def product(self, x: Any) -> Any:
        if x.ndim == 0:
            return x * 2
        fitting = [one for one in self.pool if one.ndim and x.shape[-1] == one.shape[-2 if one.ndim > 1 else 0]]
        if fitting:
            return np.matmul(x, self.pick.choice(fitting))
        return np.matmul(x, np.swapaxes(x, -1, -2)) if x.ndim > 1 else np.matmul(x, x)

    def program(self, steps: int) -> Program:
        self.start()
        for _ in range(steps):
            try:
                with np.errstate(all="ignore"):
                    made = self.step()
            except (ChainruleError, TypeError, ValueError, IndexError, NotImplementedError):
                continue
            if isinstance(made, Value) and made.size <= 20_000 and made.dtype.itemsize <= 8:
                self.pool.append(made)
        used: list[Any] = [one for one in self.pool[-3:] if self.pick.random() < 0.7] or [self.pool[-1]]
        if self.pick.random() < 0.1:
            used += [used[0], 2.5]
        return self.builder.finish(used)


def random_program(seed: int) -> tuple[Program, list[Any]]:
    """A random program and arguments for it."""
    maker = Maker(seed)
    program = maker.program(maker.pick.choice((1, 2, 4, 8, 16, 30)))
    return program, maker.arguments


def same(got: Any, want: Any, tolerance: float) -> None:
    """Equal up to a tolerance relative to the largest number; NaN and infinities in the same places."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype, (got.dtype, want.dtype)
    assert got.shape == want.shape, (got.shape, want.shape)
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    if want.dtype == np.float32:
        tolerance = max(tolerance, 3e-5)
    finite = np.isfinite(want)
    scale = float(np.max(np.abs(want[finite]), initial=0.0))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * min(scale, 1e300))


def compare(program: Program, arguments: list[Any], tolerance: float = 1e-11) -> native.Compiled:
    """Compile a program, and hold its results against the interpreter's."""
    compiled = native.build(program)
    if any(kind.dtype in {np.dtype(np.float32), np.dtype(np.float16)} for kind in program.types):
        tolerance = max(tolerance, 1e-4)
    try:
        want = program.run(arguments)
    except (ValueError, IndexError, np.linalg.LinAlgError) as error:
        try:
            compiled.run(arguments)
        except (type(error), native.Withdrawn):
            return compiled
        raise
    got = compiled.run(arguments)
    try:
        for one, other in zip(got, want, strict=True):
            same(one, other, tolerance)
    except AssertionError:
        if not any(differs(jittered(program, arguments, seed), want, tolerance) for seed in range(6)):
            raise
    return compiled


def differs(got: list[Any], want: list[Any], tolerance: float) -> bool:
    """Whether results are not the same."""
    try:
        for one, other in zip(got, want, strict=True):
            same(one, other, tolerance)
    except AssertionError:
        return True
    return False


def jittered(program: Program, arguments: list[Any], seed: int) -> list[Any]:
    """What the interpreter gives where every result of a step is off by a few roundings: how much they matter."""
    rng = np.random.default_rng(seed)
    env: dict[int, Any] = dict(zip(program.inputs, arguments, strict=True))
    env.update(zip(program.captures, program.constants, strict=True))

    def value(operand: Any) -> Any:
        return operand.value if isinstance(operand, Literal) else env[operand]

    with np.errstate(all="ignore"):
        for step in program.steps:
            given = [value(one) for one in step.inputs]
            if isinstance(step.rule, Index) and len(given) == 2 and seed % 2:
                # The sum in the other order: overflows and their cancellation depend on it.
                given = [given[0][..., ::-1], given[1][..., ::-1, :] if given[1].ndim > 1 else given[1][::-1]]
            if isinstance(step.rule, Index) and len(given) == 1 and seed % 2:
                kind = program.types[step.outputs[0]]
                given = [np.flip(given[0], step.params[0]) if kind.size < np.size(given[0]) else given[0]]
            made = step.rule.value(*given, *step.params)
            for var, one in zip(step.outputs, made if len(step.outputs) > 1 else (made,), strict=True):
                one = np.asarray(one, program.types[var].dtype)
                if one.dtype.kind == "f" and one.size:
                    unit = np.finfo(one.dtype).eps * np.max(np.abs(one[np.isfinite(one)]), initial=0.0)
                    near = rng.integers(-3, 4, one.shape) * np.finfo(one.dtype).eps
                    one = (one * (1 + near) + (rng.integers(-1, 2, one.shape) * unit * 0.5)).astype(one.dtype)
                    # The sign of a NaN is nobody's promise.
                    one = np.where(np.isnan(one) & (rng.random(one.shape) < 0.5), -one, one)
                env[var] = one[()]
    return [np.asarray(value(one)) for one in program.outputs]
