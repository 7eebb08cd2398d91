"""What a problem is: a NumPy function, the point, what its peers run, and a gradient in C."""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Problem", "in_namespace", "problems"]

#: The files of this folder, in the order of the table.
FILES = ("rosenbrock", "logistic", "mixture", "network", "options", "logsumexp", "heat", "bundle", "particles", "loops")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """``function(*arguments)`` is a number; its gradient in the arguments ``wrt`` is what is timed.

    ``torch`` is the same with PyTorch's functions. ``jax`` is only given where the NumPy code with ``jax.numpy`` in the
    place of ``numpy`` is not what a user of JAX would write (a loop). ``by_hand`` is NumPy code for the gradient, where
    people write it. ``c`` holds ``double run(const double **in, double **out)``, whose sizes are given by ``defines``
    and whose ``in`` are the arguments, ``out`` the gradients; integers go as int64.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    c: str
    torch: Callable[..., Any]
    wrt: tuple[int, ...] = (0,)
    jax: Callable[..., Any] | None = None
    by_hand: Callable[..., Any] | None = None
    casadi: Callable[..., Any] | None = None
    defines: dict[str, int] | None = None


def in_namespace(function: Callable[..., Any], replaced: dict[str, Any]) -> Callable[..., Any]:
    """The same code with other modules under the names of its globals, in the functions of its file too."""
    own = function.__globals__
    space = dict(own)
    for name, value in own.items():
        if isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
            space[name] = types.FunctionType(value.__code__, space, name, value.__defaults__, value.__closure__)
    space.update({name: value for name, value in replaced.items() if name in own})
    made = types.FunctionType(
        function.__code__,
        space,
        function.__name__,
        function.__defaults__,
        function.__closure__,  # type: ignore[attr-defined]
    )
    made.__kwdefaults__ = function.__kwdefaults__  # type: ignore[attr-defined]
    return made


def problems() -> list[Problem]:
    """All of them."""
    found: list[Problem] = []
    for name in FILES:
        found += importlib.import_module(f"cases.{name}").PROBLEMS
    return found


def random() -> Any:
    """The generator that every problem draws its data from, anew."""
    return np.random.default_rng(7)
