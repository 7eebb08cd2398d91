"""Arrays as expressions of an index: in memory, pointwise of others, a view; evaluated at any affine index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.native.forms import FORMS, Scribe
from chainrule.native.loops import Affine, Buffer, Value

__all__ = ["Memory", "Node", "Number", "Pointwise", "at", "c_strides"]

Index = tuple[Affine, ...]
START = Affine(0)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a C-contiguous array."""
    strides = [1] * len(shape)
    for place in range(len(shape) - 2, -1, -1):
        strides[place] = strides[place + 1] * shape[place + 1]
    return tuple(strides)


class Node:
    """An array that can be evaluated at an index. ``work``: operations an element; ``calls``: maths-library calls."""

    __slots__ = ("calls", "kind", "shape", "size", "work")

    def __init__(self, shape: tuple[int, ...], kind: str, work: int = 0, calls: int = 0) -> None:
        self.shape = shape
        self.kind = kind
        size = 1
        for extent in shape:
            size *= extent
        self.size = size
        self.work = work
        self.calls = calls


class Number(Node):
    """A literal."""

    __slots__ = ("value",)

    def __init__(self, value: Any, kind: str) -> None:
        super().__init__((), kind)
        self.value = value


class Memory(Node):
    """A strided array in a buffer. ``task`` is what fills it, or None where it is there before the first of them."""

    __slots__ = ("buffer", "place", "reduced", "strides", "task")

    def __init__(
        self, shape: tuple[int, ...], buffer: Buffer, task: Any = None, place: Affine = START,
        strides: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(shape, buffer.kind)
        self.buffer = buffer
        self.task = task
        self.place = place
        self.strides = c_strides(shape) if strides is None else strides
        self.reduced = False

    @property
    def contiguous(self) -> bool:
        return self.size <= 1 or all(
            have == want or extent == 1
            for have, want, extent in zip(self.strides, c_strides(self.shape), self.shape, strict=True)
        )


class Pointwise(Node):
    """A form of other arrays, element by element, broadcast."""

    __slots__ = ("args", "form", "kinds")

    def __init__(
        self, form: str, kind: str, shape: tuple[int, ...], args: tuple[Node, ...], kinds: tuple[str, ...], calls: int
    ) -> None:
        super().__init__(shape, kind, 1 + sum(one.work for one in args), calls + sum(one.calls for one in args))
        self.form = form
        self.args = args
        self.kinds = kinds


def at(node: Node, index: Index, scribe: Scribe, memo: dict[Any, Value]) -> Value:
    """The value of the array at an index."""
    if isinstance(node, Number):
        return scribe.constant(node.value, node.kind)
    key = (id(node), index)
    found = memo.get(key)
    if found is None:
        found = memo[key] = _RULES[type(node)](node, index, scribe, memo)
    return found


def _at_memory(node: Memory, index: Index, scribe: Scribe, memo: dict[Any, Value]) -> Value:
    place = node.place
    for one, stride in zip(index, node.strides, strict=True):
        if stride:
            place = place.plus(one.times(stride))
    return scribe.value("load", node.kind, attr=(node.buffer, place), bits=place.bits)


def _at_pointwise(node: Pointwise, index: Index, scribe: Scribe, memo: dict[Any, Value]) -> Value:
    values = []
    for arg, kind in zip(node.args, node.kinds, strict=True):
        values.append(scribe.cast(at(arg, aligned(node.shape, index, arg.shape), scribe, memo), kind))
    return FORMS[node.form](scribe, node.kind, *values)


def aligned(shape: tuple[int, ...], index: Index, wanted: tuple[int, ...]) -> Index:
    """The index into an array that is broadcast to ``shape``."""
    if shape == wanted:
        return index
    extra = len(shape) - len(wanted)
    return tuple([
        Affine(0) if wanted[place] == 1 else index[extra + place] for place in range(len(wanted))
    ])  # fmt: skip


_RULES: dict[type, Callable[..., Value]] = {Memory: _at_memory, Pointwise: _at_pointwise}


def number(value: Any) -> Any:
    """A literal's number as Python has it."""
    return value.item() if isinstance(value, np.generic) else value
