"""Hypothesis strategies for points of gradient checks: shapes that broadcast, ties, zeros, signs and scales."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chainrule.errors import ArgumentError

__all__ = ["arrays", "broadcast_arrays", "shapes"]

Shape = tuple[int, ...]


def shapes(number: int = 2, *, max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[tuple[Shape, ...]]:
    """Tuples of ``number`` shapes that broadcast together, axes of length 1 and missing axes among them.

    Raises ``ArgumentError`` if ``number`` is less than one.

    >>> from hypothesis import find
    >>> one, other = find(shapes(2), lambda pair: pair[0] != pair[1] and len(pair[0]) == len(pair[1]) == 2)
    >>> sorted({*one, *other})
    [1, 2]
    """
    if number < 1:
        raise ArgumentError(f"number={number}: there is no shape to draw", cure="give 1 or more")
    drawn = hnp.mutually_broadcastable_shapes(num_shapes=number, max_dims=max_dims, max_side=max_side)
    return drawn.map(lambda found: found.input_shapes)


def arrays(
    shape: Any = None,
    *,
    dtype: Any = np.float64,
    scales: tuple[float, float] = (1e-12, 1e12),
    each_entry: bool = False,
    ties: bool = True,
    zeros: bool = True,
    signs: str = "both",
) -> st.SearchStrategy[Any]:
    """Arrays of finite floats of one scale, a power of ten within ``scales`` (``each_entry=True``: one for each).

    ``shape`` is a tuple, a strategy of tuples, or None (up to three axes of 1 to 4). Entries are of size 1 to 2 times
    the scale. ``ties``: entries of equal size are likely, otherwise there are none (zeros apart). ``zeros``: entries
    may be zero. ``signs``: "both", "positive" or "negative". Examples shrink towards ones.

    Raises ``ArgumentError`` for scales that are not positive or that ``dtype`` does not hold, and other ``signs``.

    >>> import numpy as np
    >>> from hypothesis import find
    >>> x = find(arrays((3,), signs="positive"), lambda x: x.max() > 1e3 and x.min() == 0)
    >>> x.shape, bool(1e3 < x.max() <= 2e12)
    ((3,), True)
    """
    info = np.finfo(dtype)
    low, high = scales
    if not (float(info.tiny) <= low <= high <= float(info.max) / 2):
        raise ArgumentError(
            f"scales={scales} for {np.dtype(dtype)}",
            cure=f"low <= high, both within {float(info.tiny):.1e} and {float(info.max) / 2:.1e}",
        )
    exponents = (math.ceil(round(math.log10(low), 9)), math.floor(round(math.log10(high), 9)))
    if exponents[0] > exponents[1]:
        raise ArgumentError(f"there is no power of ten within scales={scales}", cure="scales=(1, 1) for entries near 1")
    if signs not in ("both", "positive", "negative"):
        raise ArgumentError(f"signs={signs!r}", cure='"both", "positive" or "negative"')
    if shape is None:
        shape = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
    elif not isinstance(shape, st.SearchStrategy):
        shape = st.just(tuple(shape))
    return _arrays(shape, np.dtype(dtype), exponents, each_entry, ties, zeros, signs)


@st.composite
def _arrays(
    draw: st.DrawFn,
    shape: st.SearchStrategy[Shape],
    dtype: np.dtype[Any],
    exponents: tuple[int, int],
    each_entry: bool,
    ties: bool,
    zeros: bool,
    signs: str,
) -> Any:
    chosen = draw(shape)
    # The size is 1 + k / 2^bits with an integer k: what must differ does so in every dtype, and small k are simple.
    bits = min(20, np.finfo(dtype).nmant)
    steps = draw(hnp.arrays(np.int64, chosen, elements=st.integers(0, 2**bits - 1), unique=not ties))
    entries = 1.0 + steps / 2.0**bits
    power = st.integers(*exponents)
    # Scales of single entries could make equal sizes of different k only if a power of ten were within a factor 2.
    entries = entries * 10.0 ** (draw(hnp.arrays(np.int64, chosen, elements=power)) if each_entry else draw(power))
    if signs == "both":
        entries = np.where(draw(hnp.arrays(bool, chosen)), -entries, entries)
    elif signs == "negative":
        entries = -entries
    if zeros:
        entries = np.where(draw(hnp.arrays(bool, chosen)), 0.0, entries)
    return entries.astype(dtype)


@st.composite
def _broadcast_arrays(
    draw: st.DrawFn, number: int, max_dims: int, max_side: int, options: dict[str, Any]
) -> tuple[Any, ...]:
    return tuple(draw(arrays(shape, **options)) for shape in draw(shapes(number, max_dims=max_dims, max_side=max_side)))


def broadcast_arrays(
    number: int = 2, *, max_dims: int = 3, max_side: int = 4, **options: Any
) -> st.SearchStrategy[tuple[Any, ...]]:
    """Tuples of ``number`` arrays whose shapes broadcast together; ``options`` are those of ``arrays``.

    Raises ``ArgumentError`` as ``shapes`` and ``arrays`` do.

    >>> from hypothesis import find
    >>> a, b = find(broadcast_arrays(2), lambda pair: pair[0].shape != pair[1].shape)
    >>> (a + b).shape in {a.shape, b.shape}
    True
    """
    shapes(number)
    arrays((), **options)
    return _broadcast_arrays(number, max_dims, max_side, options)
