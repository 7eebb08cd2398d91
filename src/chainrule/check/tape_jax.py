"""A function of JAX arrays -> its tape: every equation of its jaxpr a step, a ``custom_vjp`` or a scan one of them.

Calls of jitted functions are written out. An equation is run alone as a jaxpr of this one equation, so its backward
pass is the one that ``jax.vjp`` finds for it, the user's rule included.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import os.path
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.provider import Tape, TapeStep, Untraceable

__all__ = ["jax_tape"]

_INLINED = frozenset({"jit", "pjit", "closed_call", "core_call"})


def jax_tape(
    jax: Any, extend: Any, double: Callable[[], Any], flat: Callable[..., Any], leaves: Sequence[Any], labels: list[str]
) -> Tape:
    """The tape of ``flat(*leaves) -> list of outputs``; ``extend`` is ``jax.extend.core``, ``double`` its precision.

    Raises Untraceable where there is no jaxpr with an equation for each step.
    """
    with double():
        closed = jax.make_jaxpr(flat)(*leaves)
        return _tape(jax, extend, double, closed, labels)


def _tape(jax: Any, extend: Any, double: Callable[[], Any], closed: Any, labels: Sequence[str]) -> Tape:
    walk = _Walk(jax, extend, double)
    roots = [walk.new(var) for var in closed.jaxpr.invars]
    walk.names.update(zip(roots, labels, strict=True))
    for var, constant in zip(closed.jaxpr.constvars, closed.consts, strict=True):
        walk.constants[walk.new(var)] = constant
    walk.enter(closed.jaxpr)
    results = [walk.number(var) for var in closed.jaxpr.outvars]

    def everything(*given: Any) -> dict[int, Any]:
        values = dict(walk.constants)
        values.update(zip(roots, given, strict=True))
        for step, call in walk.steps:
            made = call(*[values[number] for number in step.inputs])
            values.update(zip(step.outputs, made, strict=True))
        return values

    compiled = jax.jit(everything)

    def replay(given: Sequence[Any]) -> Mapping[int, Any]:
        with double():
            made = compiled(*[jax.numpy.asarray(one) for one in given])
            return {number: _array(jax, value) for number, value in made.items()}

    return Tape([step for step, _ in walk.steps], roots, results, replay)


class _Walk:
    """Numbers the variables of a jaxpr and of the jitted ones inside of it."""

    def __init__(self, jax: Any, extend: Any, double: Callable[[], Any]) -> None:
        self.jax, self.extend, self.double = jax, extend, double
        self.constants: dict[int, Any] = {}
        self.names: dict[int, str] = {}
        self.steps: list[tuple[TapeStep, Callable[..., Any]]] = []
        self.scope: dict[Any, int] = {}
        self.count = 0

    def new(self, var: Any) -> int:
        self.count += 1
        self.scope[var] = self.count
        return self.count

    def number(self, atom: Any) -> int:
        if isinstance(atom, self.extend.Literal):
            self.count += 1
            self.constants[self.count] = np.asarray(atom.val)
            return self.count
        return self.scope[atom]

    def enter(self, jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            inner = equation.params.get("jaxpr") if equation.primitive.name in _INLINED else None
            if inner is None:
                self.step(equation)
                continue
            given = [self.number(one) for one in equation.invars]
            outer, self.scope = self.scope, {}
            self.scope.update(zip(inner.jaxpr.invars, given, strict=True))
            for var, constant in zip(inner.jaxpr.constvars, inner.consts, strict=True):
                self.constants[self.new(var)] = constant
            self.enter(inner.jaxpr)
            made = [self.number(one) for one in inner.jaxpr.outvars]
            self.scope = outer
            self.scope.update(zip(equation.outvars, made, strict=True))

    def step(self, equation: Any) -> None:
        ins = [one for one in equation.invars if isinstance(one, self.extend.Var)]
        ins = list(dict.fromkeys(ins))
        alone = self.extend.Jaxpr([], ins, equation.outvars, [equation], equation.effects)
        call = self.extend.jaxpr_as_fun(self.extend.ClosedJaxpr(alone, []))
        inputs = tuple(self.scope[one] for one in ins)
        outputs = tuple(self.new(one) for one in equation.outvars)
        place, text = _line(self.jax, equation)
        step = TapeStep(
            _name(equation), inputs, outputs, self.forward(call), self.vjp(call),
            tuple(self.names.get(number, "") for number in inputs), place, text, _written_at(equation),
            functools.partial(self.inside, equation, ins) if equation.primitive.name in ("scan", "cond") else None,
        )  # fmt: skip
        self.steps.append((step, call))

    def inside(self, equation: Any, ins: list[Any], *values: Any) -> tuple[Tape, list[Any]]:
        """The tape of the pass in the middle of a scan, or of the branch that is taken, and what goes into it."""
        with self.double():
            known = dict(zip(ins, self.given(values), strict=True))
            given = [known[one] if isinstance(one, self.extend.Var) else one.val for one in equation.invars]
            parameters = equation.params
            if equation.primitive.name == "cond":
                branches = parameters["branches"]
                body, leaves = branches[int(np.clip(given[0], 0, len(branches) - 1))], given[1:]
            else:
                body = parameters["jaxpr"]
                fixed, carried = parameters["num_consts"], parameters["num_consts"] + parameters["num_carry"]
                run = self.extend.jaxpr_as_fun(body)
                carry, rows = given[fixed:carried], range(parameters["length"])
                order = list(reversed(rows)) if parameters["reverse"] else list(rows)
                for row in order[: len(order) // 2]:
                    carry = run(*given[:fixed], *carry, *[one[row] for one in given[carried:]])[: len(carry)]
                row = order[len(order) // 2]
                leaves = [*given[:fixed], *carry, *[one[row] for one in given[carried:]]]
            tape = _tape(self.jax, self.extend, self.double, body, [""] * len(leaves))
            return tape, [_array(self.jax, one) for one in leaves]

    def given(self, values: Sequence[Any]) -> list[Any]:
        return [self.jax.numpy.asarray(one) for one in values]

    def forward(self, call: Callable[..., Any]) -> Callable[..., list[Any]]:
        compiled = self.jax.jit(call)

        def run(*values: Any) -> list[Any]:
            with self.double():
                return [_array(self.jax, one) for one in compiled(*self.given(values))]

        return run

    def vjp(self, call: Callable[..., Any]) -> Callable[..., Any]:
        jax, real = self.jax, functools.partial(_is_real, self.jax)
        forward = self.forward(call)

        def pulled(values: list[Any], weights: list[Any]) -> list[Any]:
            made, pull = jax.vjp(lambda *given: tuple(call(*given)), *values)
            full = tuple(
                w if real(y) else np.zeros(y.shape, jax.dtypes.float0) for w, y in zip(weights, made, strict=True)
            )
            return [part if real(value) else None for part, value in zip(pull(full), values, strict=True)]

        compiled = jax.jit(pulled)

        def run(*values: Any) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
            made = forward(*values)

            def pullback(adjoints: Sequence[Any]) -> list[Any]:
                with self.double():
                    weights = [jax.numpy.asarray(g, dtype=y.dtype) for g, y in zip(adjoints, made, strict=True)]
                    parts = compiled(self.given(values), weights)
                    return [None if one is None else np.asarray(one) for one in parts]

            return made, pullback

        return run


def _is_real(jax: Any, value: Any) -> bool:
    return bool(jax.numpy.issubdtype(value.dtype, jax.numpy.inexact))


def _array(jax: Any, value: Any) -> Any:
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise Untraceable("it draws random numbers by keys inside")
    array = np.asarray(value)
    if array.dtype.kind == "c":
        raise Untraceable("it uses complex numbers inside")
    return array


def _name(equation: Any) -> str:
    """The name of the user's function where the equation is a call of one, else that of the primitive."""
    own = equation.params.get("name")
    if not isinstance(own, str):
        debug = getattr(getattr(equation.params.get("call_jaxpr"), "jaxpr", None), "debug_info", None)
        own = str(getattr(debug, "func_name", "")) or None
    return own if own and equation.primitive.name.startswith("custom_") else str(equation.primitive.name)


def _line(jax: Any, equation: Any) -> tuple[str, str]:
    """The innermost line outside of JAX and of this package that made an equation."""
    traceback = getattr(equation.source_info, "traceback", None)
    folders = (os.path.dirname(str(jax.__file__)), os.path.dirname(__file__))
    for frame in getattr(traceback, "frames", ()):
        if not frame.file_name.startswith((*folders, "<")):
            return f"{os.path.basename(frame.file_name)}:{frame.line_num}", linecache.getline(
                frame.file_name, frame.line_num
            ).strip()
    return "", ""


def _written_at(equation: Any) -> str:
    """Where the rule of a ``custom_vjp`` or ``custom_jvp`` is written, as far as JAX lets that be seen."""
    for key in ("bwd", "jvp_jaxpr_fun", "jvp_jaxpr_thunk"):
        code = _code(equation.params.get(key))
        if code is not None and os.path.dirname(code.co_filename) not in ("", os.path.dirname(inspect.__file__)):
            return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"
    return ""


def _code(function: Any, depth: int = 4) -> Any:
    """The code of a function, of a partial one, or of what a wrapper of JAX holds as ``f``."""
    for _ in range(depth):
        if function is None or hasattr(function, "__code__"):
            break
        function = getattr(function, "func", None) or getattr(function, "f", None)
    unwrapped = inspect.unwrap(function) if callable(function) else None
    code = getattr(unwrapped, "__code__", None)
    return None if code is None or f"{os.sep}jax{os.sep}" in code.co_filename else code
