"""``chainrule bench``: seconds a call of a function and of its gradient, here and with other libraries, in one run.

Everybody is timed in turns and the least of many rounds is kept: on a shared machine the rest is what the neighbours
cost. JAX and PyTorch (``torch._numpy``) are given the same function with their own namespace in the place of NumPy's;
where they do not understand it, or are not installed, the row says so.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.compiled import compile as compiled
from chainrule.containers import flatten, unflatten
from chainrule.operators import grad

__all__ = ["Row", "bench", "table"]

_ROUNDS = 7
_ROUND = 0.03

Call = Callable[[], Any]


class Row(NamedTuple):
    """One library: seconds a call of the function, of the gradient, and of the gradient's first call."""

    who: str
    function: float | None = None
    gradient: float | None = None
    first: float | None = None
    #: Why there are no figures.
    why: str = ""

    @property
    def ratio(self) -> float | None:
        """Gradient over function."""
        return self.gradient / self.function if self.gradient and self.function else None


def bench(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], argnums: Sequence[int]
) -> list[Row]:
    """The rows: NumPy, chainrule compiled and not, JAX, PyTorch."""
    places: Any = argnums[0] if len(argnums) == 1 else tuple(argnums)
    makers: list[tuple[str, Callable[[], tuple[Call | None, Call | None]]]] = [
        ("numpy", lambda: (lambda: function(*args, **kwargs), None)),
        ("chainrule", lambda: _here(function, args, kwargs, places)),
        ("chainrule uncompiled", lambda: (None, lambda: grad(function, places)(*args, **kwargs))),
        ("jax", lambda: _jax(function, args, kwargs, places)),
        ("torch", lambda: _torch(function, args, kwargs, argnums)),
    ]
    rows = {}
    calls: dict[str, tuple[Call | None, Call | None]] = {}
    for who, make in makers:
        module = who.partition(" ")[0]
        if module in ("jax", "torch") and importlib.util.find_spec(module) is None:
            rows[who] = Row(who, why="not installed")
            continue
        try:
            if module in ("jax", "torch"):
                importlib.import_module(module)
            made = make()
            first = None
            if made[0] is not None:
                made[0]()
            if made[1] is not None:
                start = time.perf_counter()
                made[1]()
                first = time.perf_counter() - start
        except Exception as problem:
            if module not in ("jax", "torch"):
                raise
            rows[who] = Row(who, why=f"does not run: {str(problem).strip().splitlines()[0]:.70}")
            continue
        calls[who] = made
        rows[who] = Row(who, first=first)
    for who, (own, gradient) in _timed(calls).items():
        rows[who] = rows[who]._replace(function=own, gradient=gradient)
    return [rows[who] for who, _ in makers]


def _timed(calls: dict[str, tuple[Call | None, Call | None]]) -> dict[str, tuple[float | None, float | None]]:
    """The least time of each call over rounds in which everybody has a turn."""
    flat = [(who, place, one) for who, pair in calls.items() for place, one in enumerate(pair) if one is not None]
    times = [1] * len(flat)
    best = [float("inf")] * len(flat)
    for _ in range(_ROUNDS):
        for number, (_, _, call) in enumerate(flat):
            while True:
                start = time.perf_counter()
                for _ in range(times[number]):
                    call()
                spent = time.perf_counter() - start
                if spent >= _ROUND or best[number] < float("inf"):
                    break
                times[number] = max(2 * times[number], int(times[number] * _ROUND / max(spent, 1e-7)))
            best[number] = min(best[number], spent / times[number])
    found: dict[str, list[float | None]] = {who: [None, None] for who in calls}
    for (who, place, _), least in zip(flat, best, strict=True):
        found[who][place] = least
    return {who: (pair[0], pair[1]) for who, pair in found.items()}


def _here(function: Any, args: Sequence[Any], kwargs: dict[str, Any], places: Any) -> tuple[Call, Call]:
    own, gradient = compiled(function), compiled(grad(function, places))
    if len(args) == 1 and not kwargs:
        # A call as users write it: unpacking a tuple would cost more than the call.
        (x,) = args
        return (lambda: own(x)), (lambda: gradient(x))
    return (lambda: own(*args, **kwargs)), (lambda: gradient(*args, **kwargs))


def _in_namespace(function: Any, namespace: Any) -> Any:
    """The function with another module in the place of NumPy."""
    code = getattr(function, "__code__", None)
    if code is None:
        msg = "not a Python function"
        raise TypeError(msg)
    seen = {name: namespace if value is np else value for name, value in function.__globals__.items()}
    cells = tuple(
        types.CellType(namespace) if cell.cell_contents is np else cell for cell in function.__closure__ or ()
    )
    made = types.FunctionType(code, seen, function.__name__, function.__defaults__, cells or None)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _jax(function: Any, args: Sequence[Any], kwargs: dict[str, Any], places: Any) -> tuple[Call, Call]:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", val=True)
    moved = _in_namespace(function, importlib.import_module("jax.numpy"))
    given = jax.tree_util.tree_map(lambda one: jax.numpy.asarray(one) if isinstance(one, np.ndarray) else one, args)
    own, gradient = jax.jit(moved), jax.jit(jax.grad(moved, argnums=places))
    return (
        lambda: jax.block_until_ready(own(*given, **kwargs)),
        lambda: jax.block_until_ready(gradient(*given, **kwargs)),
    )


def _torch(function: Any, args: Sequence[Any], kwargs: dict[str, Any], argnums: Sequence[int]) -> tuple[Call, Call]:
    torch = importlib.import_module("torch")
    namespace = importlib.import_module("torch._numpy")
    moved = _in_namespace(function, namespace)
    leaves, tree = flatten(tuple(args))
    wanted = {id(leaf) for place in argnums for leaf in flatten(args[place])[0]}

    def call(*, backward: bool) -> Any:
        given, inputs = [], []
        for one in leaves:
            tensor = torch.as_tensor(one) if isinstance(one, np.ndarray | float) else None
            if tensor is not None and id(one) in wanted:
                tensor = tensor.clone().requires_grad_(backward)
                inputs.append(tensor)
            given.append(one if tensor is None else namespace.asarray(tensor))
        made = moved(*unflatten(tree, given), **kwargs)
        result = getattr(made, "tensor", made)
        return torch.autograd.grad(result, inputs) if backward else result

    return (lambda: call(backward=False)), (lambda: call(backward=True))


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    cells = [("", "function", "gradient", "ratio", "first call")]
    for row in rows:
        if row.why:
            cells.append((row.who, row.why, "", "", ""))
            continue
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        cells.append((row.who, _said(row.function), _said(row.gradient), ratio, _said(row.first)))
    whys = ["", *[row.why for row in rows]]
    figures = [cell for cell, why in zip(cells, whys, strict=True) if not why]
    first = max(len(cell[0]) for cell in cells)
    widths = [max(len(cell[place]) for cell in figures) for place in range(1, 5)]
    lines = []
    for cell, why in zip(cells, whys, strict=True):
        rest = [why] if why else [text.rjust(width) for text, width in zip(cell[1:], widths, strict=True)]
        lines.append("  ".join([cell[0].ljust(first), *rest]).rstrip())
    return "\n".join(lines)


def _said(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
