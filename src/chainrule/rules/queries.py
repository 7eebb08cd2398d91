"""Functions that ask for the shape or the dtype of an array, and never for its values."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.rule import implements

__all__: list[str] = []


@implements(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    return tuple(a.shape)


@implements(np.ndim)
def ndim(a: Any) -> int:
    return len(a.shape)


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    if axis is None:
        return int(a.size)
    axes = axis if isinstance(axis, tuple) else (axis,)
    count = 1
    for one in axes:
        count *= a.shape[one]
    return count


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    return bool(x.dtype.kind == "c")


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    return not iscomplexobj(x)


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    return np.result_type(*[getattr(one, "dtype", one) if hasattr(one, "shape") else one for one in arrays_and_dtypes])


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    return bool(np.can_cast(from_.dtype if hasattr(from_, "dtype") else from_, to, casting))


@implements(np.common_type)
def common_type(*arrays: Any) -> Any:
    return np.common_type(*[np.empty(0, one.dtype) for one in arrays])


@implements(np.min_scalar_type)
def min_scalar_type(a: Any) -> Any:
    return a.dtype


@implements(np.may_share_memory, np.shares_memory)
def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return a is b
