"""``primitive``: the user's own rule, for a function that chainrule can not look into (C code, a simulator)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.build import is_recorded
from chainrule.errors import ArgumentError, NoRule, ShapeError, TraceError
from chainrule.operators import vjp
from chainrule.rule import RULES, Cost, Opaque, apply, register
from chainrule.trace.standin import StandIn, lowered
from chainrule.trace.tracer import paused

__all__ = ["Primitive", "primitive"]

_NUMBERS = itertools.count(2)


class Primitive:
    """A function with a rule of the user's. Call it like the function; inside ``grad`` its pullback is used."""

    def __init__(
        self, function: Callable[..., Any], pullback: Callable[..., Any], forward: Callable[..., Any] | None
    ) -> None:
        if not callable(function):
            raise ArgumentError(f"primitive takes a function, got {function!r:.60}")
        if not callable(pullback):
            raise ArgumentError(
                "primitive needs pullback=, a function (g, result, *args) -> adjoints of the arguments",
                cure="primitive(f, pullback=lambda g, y, x: g * df_dx(x))",
            )
        self.function = function
        self.pullback = pullback
        self.forward = forward
        self.__name__ = getattr(function, "__name__", "primitive")
        self.__doc__ = getattr(function, "__doc__", None)
        self.__wrapped__ = function
        self._rules: dict[tuple[int, Any], Opaque] = {}

    def __repr__(self) -> str:
        return f"<primitive {self.__name__}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value; recorded as one step where an argument is being differentiated."""
        if not any(map(is_recorded, args)):
            return self.function(*args, **kwargs)
        args = tuple(
            one if is_recorded(one) or isinstance(one, bool | int | float | np.generic) else np.asarray(one)
            for one in args
        )
        try:
            options = tuple(sorted(kwargs.items()))
            hash(options)
        except TypeError:
            raise ArgumentError(
                f"keyword arguments of the primitive {self.__name__} must be hashable (numbers, strings, tuples)",
                cure="pass arrays as positional arguments",
            ) from None
        values = [_value(one) for one in args]
        with paused():
            made = self.function(*values, **kwargs)
        several = isinstance(made, tuple)
        parts = made if several else (made,)
        kinds = tuple((np.shape(one), np.asarray(one).dtype.name) for one in parts)
        rule = self._rule(len(parts) if several else 0, options, kwargs)
        return apply(rule, args, (kinds,))

    def _rule(self, outputs: int, options: Any, kwargs: dict[str, Any]) -> Opaque:
        found = self._rules.get((outputs, options))
        if found is not None:
            return found
        name = f"user.{self.__name__}" if self.__name__.isidentifier() else "user.primitive"
        while name in RULES:
            name = f"user.{self.__name__}_{next(_NUMBERS)}"

        def value(*rest: Any) -> Any:
            with paused():
                made = self.function(*rest[:-1], **kwargs)
            if not outputs:
                return np.asarray(made)[()] if np.ndim(made) == 0 else np.asarray(made)
            return tuple(np.asarray(one)[()] for one in made)

        def pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> list[Any]:
            try:
                made = self.pullback(g, y, *arguments, **kwargs)
            except (TraceError, NoRule):
                # The pullback is foreign code itself: it runs on arrays, and has no derivative of its own.
                made = self._foreign_pullback(kwargs, g, y, arguments)
            adjoints = list(made) if isinstance(made, tuple | list) else [made]
            if len(adjoints) != len(arguments):
                raise ShapeError(
                    f"the pullback of {self.__name__} gave {len(adjoints)} adjoints for {len(arguments)} arguments"
                )
            for place, (adjoint, argument) in enumerate(zip(adjoints, arguments, strict=True)):
                if adjoint is not None and wanted[place] and np.shape(adjoint) != np.shape(argument):
                    raise ShapeError(
                        f"the pullback of {self.__name__} gave an adjoint of shape {np.shape(adjoint)} for argument "
                        f"{place} of shape {np.shape(argument)}",
                        cure="an adjoint has the shape of what it belongs to (sum over broadcast axes)",
                    )
            return adjoints

        pullback.__wrapped__, pullback.__name__ = self.pullback, self.__name__  # type: ignore[attr-defined]

        def forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
            if self.forward is not None:
                filled = [
                    np.zeros(np.shape(one)) if t is None else t for t, one in zip(tangents, arguments, strict=True)
                ]
                return self.forward(tuple(filled), y, *arguments, **kwargs)
            return _forward_by_transposition(pullback, tangents, y, arguments, params)

        rule: Opaque = register(
            Opaque(
                name=name,
                value=value,
                params=("results",),
                infer=lambda types, params: list(params[0]),
                forward=forward,
                pullback=pullback,
                batch=lambda batched, size, args, params: _batched_by_loop(rule, batched, size, args, params),
                outputs=max(outputs, 1),
                latex=r"\operatorname{{" + self.__name__.replace("_", r"\_") + "}}({0})",
                cost=lambda types, params, outs: Cost(sum(one.size for one in outs)),
            )
        )
        self._rules[outputs, options] = rule
        return rule

    def _foreign_pullback(self, kwargs: dict[str, Any], g: Any, y: Any, arguments: Any) -> tuple[Any, ...]:
        results = y if isinstance(y, tuple) else (y,)
        adjoints = g if isinstance(g, tuple) else (g,)
        count = len(results)

        def value(*rest: Any) -> Any:
            gs, ys, args = rest[:count], rest[count : 2 * count], rest[2 * count : -1]
            with paused():
                made = self.pullback(
                    gs if isinstance(g, tuple) else gs[0], ys if isinstance(y, tuple) else ys[0], *args, **kwargs
                )
            parts = made if isinstance(made, tuple | list) else (made,)
            whole = tuple(
                np.zeros(shape, dtype) if part is None else np.asarray(part, dtype).reshape(shape)
                for part, (shape, dtype) in zip(parts, rest[-1], strict=True)
            )
            return whole if len(whole) > 1 else whole[0]

        def refuse(*_: Any) -> Any:
            raise NoRule(
                f"the pullback of the primitive {self.__name__} is foreign code, so it has no derivative",
                cure="write the pullback with NumPy functions, or with another primitive",
            )

        name = f"user.{self.__name__}.pullback"
        while name in RULES:
            name = f"user.{self.__name__}.pullback_{next(_NUMBERS)}"
        kinds = tuple((np.shape(one), np.dtype(getattr(one, "dtype", np.float64)).name) for one in arguments)
        rule: Opaque = register(
            Opaque(
                name=name,
                value=value,
                params=("results",),
                infer=lambda types, params: list(params[0]),
                forward=refuse,
                pullback=refuse,
                batch=lambda batched, size, args, params: _batched_by_loop(rule, batched, size, args, params),
                outputs=len(arguments),
                latex=r"\operatorname{{pullback}}({0})",
                cost=lambda types, params, outs: Cost(sum(one.size for one in outs)),
            )
        )
        made = apply(rule, (*adjoints, *results, *arguments), (kinds,))
        return made if isinstance(made, tuple) else (made,)


def _batched_by_loop(rule: Any, batched: Any, size: int, arguments: Any, params: Any) -> Any:
    rows = [
        apply(rule, [one[place] if yes else one for one, yes in zip(arguments, batched, strict=True)], params)
        for place in range(size)
    ]
    if not isinstance(rows[0], tuple):
        return np.stack(rows)
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


def _forward_by_transposition(pullback: Any, tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    # The pullback is linear in g, so the derivative of <pullback(g), t> with respect to g is the tangent of the result.
    active = [place for place, one in enumerate(tangents) if one is not None]

    def pulled(g: Any) -> Any:
        adjoints = pullback(g, y, arguments, params, [place in active for place in range(len(arguments))])
        return tuple(adjoints[place] if adjoints[place] is not None else 0.0 * arguments[place] for place in active)

    parts = y if isinstance(y, tuple) else (y,)
    seed = tuple(np.zeros(np.shape(one)) + 0.0 * one for one in parts)
    _, back = vjp(pulled, seed if isinstance(y, tuple) else seed[0])
    return back(tuple(tangents[place] for place in active))[0]


def _value(argument: Any) -> Any:
    here = lowered(argument, None)
    while type(here) is StandIn:
        if not here.is_plain and here._trace.abstract:
            # Only the shape of the result is wanted, and in a batched trace there is no value to compute it from.
            return np.ones(here.shape, here.dtype)[()]
        here = here._array() if here.is_plain else here._trace.evaluate(here._read())
    if is_recorded(here):
        return np.ones(here.shape, here.dtype)
    return here


def primitive(
    function: Callable[..., Any], *, pullback: Callable[..., Any], forward: Callable[..., Any] | None = None
) -> Primitive:
    """Give a function a rule of your own.

    ``pullback(g, result, *args, **kwargs)`` returns the adjoint of each argument (an array of its shape, or None for
    no dependence): a tuple, or for one argument the adjoint itself. ``forward(tangents, result, *args, **kwargs)``
    returns the tangent of the result; without it, forward mode transposes the pullback. Write both with NumPy: they
    are differentiated themselves for higher orders. Arguments and results are arrays or numbers.

    Hold the rule against differences with ``chainrule.check``.

    Raises ArgumentError (not a function), ShapeError (an adjoint of the wrong shape).

    >>> import numpy as np
    >>> from chainrule import grad
    >>> cube = primitive(lambda x: x**3, pullback=lambda g, y, x: g * 3.0 * x**2)
    >>> grad(lambda x: np.sum(cube(x)))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """
    return Primitive(function, pullback, forward)
