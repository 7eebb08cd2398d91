"""A nested container of real numbers -> one flat float64 vector with scales and names, and back."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.containers import Structure, flatten, leaf_paths, unflatten
from chainrule.errors import ArgumentError

__all__ = ["FloatArray", "Leaf", "Point", "flatten_numbers", "spread"]

FloatArray = npt.NDArray[np.float64]


class Leaf(NamedTuple):
    """Where one array of the container lies in the flat vector, and what it was."""

    name: str
    kind: str  # "float" (a Python number), "scalar" (a NumPy scalar) or "array"
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


class Point:
    """The point of differentiation: flat, snapped to a grid on which every step of a line is exact.

    ``x`` is the snapped flat vector, ``given`` the vector before snapping, ``scale`` a power of two for every entry,
    ``eps`` the spacing of the coarsest input type at 1.
    """

    def __init__(self, tree: Any, *, root: str = "x", scale: Any = None, snap: bool = True) -> None:
        values, self.structure = flatten(tree)
        names = leaf_paths(self.structure, root)
        self.leaves: list[Leaf] = []
        pieces: list[FloatArray] = []
        start = 0
        for name, value in zip(names, values, strict=True):
            kind, array = _as_real(name, value)
            stop = start + array.size
            self.leaves.append(Leaf(name, kind, array.dtype, array.shape, start, stop))
            pieces.append(array.astype(np.float64).ravel())
            start = stop
        self.size = start
        self.given: FloatArray = np.concatenate(pieces) if pieces else np.zeros(0)
        self.eps = max((float(np.finfo(leaf.dtype).eps) for leaf in self.leaves), default=float(np.finfo(float).eps))
        self.eps = max(self.eps, float(np.finfo(np.float64).eps))
        self.scale = self._scales(scale)
        self.x = self._snap() if snap else self.given.copy()

    def _scales(self, scale: Any) -> FloatArray:
        if scale is not None:
            given = spread(scale, self, "scale")
            if not bool(np.all(np.isfinite(given) & (given > 0))):
                raise ArgumentError("scale has entries that are not positive", cure="give the size of a typical change")
            return _power_of_two(given)
        scales = np.ones(self.size)
        for leaf in self.leaves:
            size = np.abs(self.given[leaf.start : leaf.stop])
            scales[leaf.start : leaf.stop] = _array_scales(size)
        return scales

    def _snap(self) -> FloatArray:
        # 2^-50 of the scale (2^-20 in float32) leaves three bits: x + h u is then exact for every h and u of a line.
        bits = np.full(self.size, 50.0)
        for leaf in self.leaves:
            bits[leaf.start : leaf.stop] = {2: 8.0, 4: 20.0}.get(leaf.dtype.itemsize, 50.0)
        grid = self.scale * 2.0**-bits
        with np.errstate(all="ignore"):
            snapped = np.round(self.given / grid) * grid
        keep = ~np.isfinite(snapped) | (np.abs(self.given) >= 8 * self.scale) | ((snapped == 0) & (self.given != 0))
        return np.where(keep, self.given, snapped)

    def build(self, flat: npt.NDArray[Any]) -> Any:
        """The container that holds the entries of ``flat``; arrays are fresh, so a callee may write to them."""
        leaves: list[Any] = []
        imaginary = np.iscomplexobj(flat)
        for leaf in self.leaves:
            part = flat[leaf.start : leaf.stop]
            if leaf.kind == "float":
                leaves.append(complex(part[0]) if imaginary else float(part[0]))
                continue
            dtype: Any = leaf.dtype
            if imaginary:
                dtype = np.complex64 if leaf.dtype.itemsize <= 4 else np.complex128
            array = part.astype(dtype).reshape(leaf.shape)
            leaves.append(array[()] if leaf.kind == "scalar" else array)
        return unflatten(self.structure, leaves)

    def build_batch(self, rows: npt.NDArray[Any]) -> Any:
        """The container with a leading axis: one point for every row."""
        leaves = [
            rows[:, leaf.start : leaf.stop].astype(leaf.dtype).reshape((len(rows), *leaf.shape)) for leaf in self.leaves
        ]
        return unflatten(self.structure, leaves)

    def arrange(self, flat: npt.NDArray[Any], lead: tuple[int, ...] = ()) -> Any:
        """The container of float64 (or string) results; the last axis of ``flat`` runs over the entries."""
        leaves: list[Any] = []
        for leaf in self.leaves:
            part = flat[..., leaf.start : leaf.stop].reshape((*lead, *leaf.shape))
            leaves.append(part.item() if part.ndim == 0 else part)
        return unflatten(self.structure, leaves)

    def name(self, index: int) -> str:
        """The name of one entry: ``params['W'][3, 7]``."""
        for leaf in self.leaves:
            if leaf.start <= index < leaf.stop:
                if not leaf.shape:
                    return leaf.name
                place = np.unravel_index(index - leaf.start, leaf.shape)
                return f"{leaf.name}[{', '.join(str(int(i)) for i in place)}]"
        raise ArgumentError(f"there is no entry {index} in a point of {self.size} entries")

    def leaf_of(self, index: int) -> Leaf:
        """The array that holds entry ``index``."""
        return next(leaf for leaf in self.leaves if leaf.start <= index < leaf.stop)


def _as_real(name: str, value: Any) -> tuple[str, npt.NDArray[Any]]:
    if isinstance(value, bool | np.bool_):
        raise ArgumentError(
            f"{name} is a bool: a derivative needs real numbers", cure="pass floats, or leave it out of the argument"
        )
    if isinstance(value, float) and not isinstance(value, np.floating):
        return "float", np.asarray(value, dtype=np.float64)
    if isinstance(value, numbers.Number | np.ndarray | np.generic) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.floating):
            kind = "array" if not isinstance(value, np.generic) else "scalar"
            return kind, array
        if np.issubdtype(array.dtype, np.complexfloating):
            raise ArgumentError(
                f"{name} is complex ({array.dtype}): steps are taken along real numbers",
                cure="pass its real and imaginary part as two real arrays, and put them together inside f",
            )
        if np.issubdtype(array.dtype, np.integer):
            raise ArgumentError(
                f"{name} holds integers ({array.dtype}), which can not be moved by a small step",
                cure=f"convert it: {name} = np.asarray({name}, dtype=float)",
            )
        raise ArgumentError(f"{name} holds {array.dtype}, not real numbers", cure="pass arrays of floats")
    raise ArgumentError(
        f"{name} is a {type(value).__name__}, not a real number or an array of them",
        cure="leave it out of the argument that is differentiated (argnums, functools.partial)",
    )


def _power_of_two(size: FloatArray) -> FloatArray:
    return np.asarray(2.0 ** np.clip(np.floor(np.log2(size)), -960, 960))


def _array_scales(size: FloatArray) -> FloatArray:
    """A power of two for each entry of one array: its own size, held up by the root mean square of its neighbours."""
    good = size[np.isfinite(size) & (size > 0)]
    if good.size == 0:
        return np.ones(size.shape)
    top = float(good.max())
    middle, low = float(np.median(good)), float(good.min())
    filled = np.where(np.isfinite(size) & (size > 0), size, middle)
    if top / middle > 2.0**10 or low / middle < 2.0**-20:
        return _power_of_two(filled)
    rms = top * float(np.sqrt(np.mean((good / top) ** 2)))
    return _power_of_two(np.maximum(np.where(size > 0, filled, 0.0), rms / 4))


def spread(value: Any, point: Point, word: str) -> FloatArray:
    """A scalar, or a container like the point's, as one number for every entry."""
    if isinstance(value, numbers.Real):
        return np.full(point.size, float(value))
    leaves, structure = flatten(value)
    if structure != point.structure:
        raise ArgumentError(
            f"{word} has another structure than the point: {structure!r} against {point.structure!r}",
            cure=f"give {word} as one number or in the container of the point",
        )
    pieces: list[FloatArray] = []
    for leaf, part in zip(point.leaves, leaves, strict=True):
        try:
            pieces.append(np.broadcast_to(np.asarray(part, dtype=np.float64), leaf.shape).ravel())
        except (ValueError, TypeError) as problem:
            raise ArgumentError(
                f"{word} of {leaf.name} has shape {np.shape(part)}, the point has {leaf.shape}",
                cure="shapes must broadcast to those of the point",
            ) from problem
    return np.concatenate(pieces) if pieces else np.zeros(0)


def flatten_numbers(
    tree: Any, say: Callable[[str], str]
) -> tuple[npt.NDArray[Any], Structure, tuple[tuple[int, ...], ...], float]:
    """An output container as one flat float64 (or complex128) vector, its structure, shapes, and coarsest spacing.

    ``say`` turns a description of what is wrong into the sentence of the error.
    """
    leaves, structure = flatten(tree)
    pieces: list[npt.NDArray[Any]] = []
    shapes: list[tuple[int, ...]] = []
    eps = float(np.finfo(np.float64).eps)
    for leaf in leaves:
        if leaf is None:
            raise ArgumentError(say("None"), cure="does it lack a return statement?")
        try:
            array = np.asarray(leaf)
        except Exception as problem:
            raise ArgumentError(say(f"a {type(leaf).__name__}"), cure="return real numbers") from problem
        if array.dtype == object or not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
            raise ArgumentError(
                say(f"a {type(leaf).__name__} of {array.dtype}"), cure="return real numbers or arrays of them"
            )
        if np.issubdtype(array.dtype, np.floating):
            eps = max(eps, float(np.finfo(array.dtype).eps))
        elif np.issubdtype(array.dtype, np.complexfloating):
            eps = max(eps, float(np.finfo(array.dtype).eps))
        shapes.append(array.shape)
        wide = np.complex128 if np.issubdtype(array.dtype, np.complexfloating) else np.float64
        pieces.append(array.astype(wide).ravel())
    flat = np.concatenate(pieces) if pieces else np.zeros(0)
    return flat, structure, tuple(shapes), eps
