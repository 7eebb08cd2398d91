"""Questions that a stand-in answers by itself, without a step: how it prints, whether it is a scalar, its positions."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np

from chainrule.errors import TraceError
from chainrule.rule import FUNCTIONS, implements
from chainrule.source import excerpt
from chainrule.trace.frames import user_site
from chainrule.trace.standin import StandIn
from chainrule.trace.tracer import active

__all__ = ["ErrorState", "enumerate_array"]


@implements(np.isscalar)
def isscalar(element: Any) -> bool:
    return element.ndim == 0 and (type(element) is not StandIn or element._scalar)


@implements(np.iterable)
def iterable(y: Any) -> bool:
    return bool(y.ndim > 0)


def enumerate_array(array: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """``np.ndenumerate``."""
    for place in np.ndindex(*array.shape):
        yield place, array[place]


FUNCTIONS[np.ndenumerate] = enumerate_array


def _printing(function: Any) -> Any:
    def code(a: Any, *args: Any, **kwargs: Any) -> str:
        value = a._printable() if type(a) is StandIn else None
        return str(a) if value is None else str(function(value, *args, **kwargs))

    return code


for _function in (np.array2string, np.array_repr, np.array_str):
    FUNCTIONS[_function] = _printing(_function)


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise TraceError(
        "np.nditer walks through the memory of arrays, where a value that is being differentiated can not be followed",
        where=excerpt(user_site()),
        cure="write the loop over np.ndindex(x.shape), or use whole-array operations",
    )


FUNCTIONS[np.nditer] = _refuse


class ErrorState:
    """``np.errstate``: where it asks for exceptions, a trace does each step at once, so that they come in time."""

    def __init__(self, **kinds: Any) -> None:
        self._inner = np.errstate(**kinds)
        self._raises = "raise" in kinds.values()
        self._trace: Any = None

    def __enter__(self) -> Any:
        self._inner.__enter__()
        self._trace = active()
        if self._raises and self._trace is not None:
            self._trace.strict += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._raises and self._trace is not None:
            self._trace.strict -= 1
        self._inner.__exit__(kind, error, traceback)

    def __call__(self, function: Any) -> Any:
        return self._inner(function)
