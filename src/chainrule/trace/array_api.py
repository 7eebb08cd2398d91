"""Twins of SciPy's array-API layer, through which many of its Python functions reach NumPy's names.

``xp = array_namespace(x); xp.asarray(x)`` is NumPy spelt otherwise. The layer is private to SciPy: where a version of
it looks different, nothing is replaced, and what was refused stays refused.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Adder", "add_array_api"]

Adder = Callable[[Any, Any], None]

_LAYER = "scipy._lib.array_api_compat.numpy"
_HOMES = ("scipy._lib._array_api", "scipy._lib.array_api_compat", "scipy._lib.array_api_compat.common._helpers")
#: What the layer asks of an array by its exact type, and NumPy's answers.
_ANSWERS: dict[str, Any] = {
    "is_numpy_array": True,
    "is_writeable_array": True,
    "is_array_api_obj": True,
    "is_lazy_array": False,
    "is_jax_array": False,
    "is_torch_array": False,
    "is_cupy_array": False,
    "is_dask_array": False,
    "is_ndonnx_array": False,
    "is_pydata_sparse_array": False,
    "device": "cpu",
}


def add_array_api(
    namespace: types.ModuleType,
    module_twin: Callable[[types.ModuleType, dict[str, Any]], types.ModuleType],
    function_twin: Callable[[Any, Callable[..., Any]], Any],
    mentions: Callable[[Any], bool],
    add: Adder,
) -> None:
    """Add the layer's twins, whose names are those of ``namespace`` (the twin of NumPy), where SciPy has loaded it."""
    layer = sys.modules.get(_LAYER)
    if layer is None:
        return
    twin = module_twin(layer, _names(layer, namespace))
    add(layer, twin)
    for home in _HOMES:
        module = sys.modules.get(home)
        original = getattr(module, "array_namespace", None)
        if original is not None:
            add(original, function_twin(original, _given(original, mentions, twin)))
        for name, answer in _ANSWERS.items():
            asked = getattr(module, name, None)
            if isinstance(asked, types.FunctionType):
                add(asked, function_twin(asked, _given(asked, mentions, answer)))


def _given(original: Any, mentions: Callable[[Any], bool], answer: Any) -> Callable[..., Any]:
    """The original, but for stand-ins the answer."""

    def code(*args: Any, **kwargs: Any) -> Any:
        return answer if mentions(args) else original(*args, **kwargs)

    return code


def _names(layer: types.ModuleType, namespace: types.ModuleType) -> dict[str, Any]:
    """The layer's names, bound to the twins of NumPy's functions of the same name."""
    names: dict[str, Any] = {}
    for name in dir(layer):
        if name.startswith("_") or isinstance(getattr(layer, name), type) or not hasattr(np, name):
            continue
        target = getattr(np, name)
        if isinstance(target, types.ModuleType):
            if name == "linalg":
                names[name] = _Later(namespace, name)
        elif callable(target) and not isinstance(target, type):
            names[name] = _adapted(namespace, name)
    return names


class _Later:
    """A name of the namespace, looked up when it is used (outside of a trace the namespace shows the originals)."""

    def __init__(self, namespace: types.ModuleType, name: str) -> None:
        self._namespace, self._name = namespace, name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._namespace, self._name), name)


def _adapted(namespace: types.ModuleType, name: str) -> Callable[..., Any]:
    """NumPy's function under the array API's signature: ``correction`` for ``ddof``, ``copy`` of ``asarray``."""

    def code(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("device", None)
        if name in ("std", "var") and "correction" in kwargs:
            kwargs["ddof"] = kwargs.pop("correction")
        if name == "asarray" and kwargs.pop("copy", None):
            return namespace.array(*args, **kwargs)
        if name == "astype":
            array, dtype = args
            return array.astype(dtype)
        return getattr(namespace, name)(*args, **kwargs)

    code.__name__ = name
    return code
