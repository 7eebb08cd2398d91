"""Arrays as inline SVG: bars, heat maps and histograms, of a size that does not grow with the array."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.derive.page.markup import Markup, element, joined

__all__ = ["histogram", "number", "picture", "summary", "thumbnail"]

SIDE = 28  # cells of a heat map, at most, along each axis
BARS = 40  # bars of a vector, at most
BINS = 27
LEVELS = 8  # shades on each side of zero


def number(value: Any) -> str:
    """A number as a reader wants it: four digits, a proper minus, a power of ten where it is small or large.

    >>> number(-0.00001234), number(3.0), number(True), number(1234567)
    ('−1.234·10⁻⁵', '3', 'True', '1234567')
    """
    value = np.asarray(value)[()]
    if isinstance(value, np.bool_ | bool):
        return str(bool(value))
    if isinstance(value, np.integer | int):
        return str(int(value)).replace("-", "−")
    if isinstance(value, np.complexfloating | complex):
        return str(value)
    value = float(value)
    if not np.isfinite(value):
        return {"inf": "∞", "-inf": "−∞"}.get(str(value), "NaN")
    text = f"{value + 0.0:.4g}"  # minus zero is zero
    if "e" in text:
        digits, power = text.split("e")
        times = {"1": "", "-1": "-"}.get(digits, f"{digits}·")
        text = f"{times}10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return text.replace("-", "−")


def summary(array: Any) -> str:
    """The array in a few words: its value, or its extremes, and how many entries are not finite."""
    array = np.asarray(array)
    if array.size == 0:
        return "empty"
    if array.size == 1:
        return number(array.reshape(-1)[0])
    if array.dtype.kind not in "fiub":
        return f"{array.size} entries"
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    lost = array.size - finite.size
    if finite.size == 0:
        return "no finite entry"
    low, high = finite.min(), finite.max()
    text = f"all {number(low)}" if low == high else f"{number(low)} … {number(high)}"
    return f"{text}, {lost} not finite" if lost else text


def thumbnail(array: Any) -> Markup:
    """A small picture of an array for a row of the ledger; nothing for a single number."""
    cells = _cells(array, 12)
    return Markup("") if cells is None else _heat(cells[0], "thumb", None)


def picture(array: Any, label: str) -> Markup:
    """What an array looks like: bars for a vector, a heat map for a matrix, with a histogram where there are many."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiub" or array.size <= 1:
        return Markup("")
    if array.ndim == 1 and array.size <= BARS:
        return _bars(array, label)
    found = _cells(array, SIDE)
    assert found is not None
    cells, block = found
    note = f", each cell the mean of up to {' × '.join(map(str, block))} entries" if block else ""
    shown = _heat(cells, "heat", f"{label}: {summary(array)}{note}")
    return joined(shown, histogram(array, label) if array.size > BARS else None)


def histogram(array: Any, label: str) -> Markup:
    """How the finite entries of an array are distributed, zero marked."""
    flat = np.asarray(array, dtype=np.float64).reshape(-1)
    flat = flat[np.isfinite(flat)]
    if flat.size < 2 or flat.min() == flat.max():
        return Markup("")
    with np.errstate(all="ignore"):
        span = float(flat.max()) - float(flat.min())
        if not np.isfinite(span) or span < 1e-300:
            return Markup("")
        counts, edges = np.histogram(flat, bins=BINS)
    heights = 30.0 * counts / counts.max()
    # A bin that holds anything is seen.
    heights = np.where(counts > 0, np.maximum(heights, 0.7), 0.0)
    path = "".join(f"M{2 * k}.5 31v-{_short(h)}" for k, h in enumerate(heights) if h)
    zero = None
    if edges[0] < 0.0 < edges[-1]:
        at = _short(2 * BINS * (0.0 - edges[0]) / span)
        zero = element("path", class_="zero", d=f"M{at} 0V33")
    box = f"0 0 {2 * BINS} 33"
    return element(
        "svg",
        element("path", class_="bars", d=path),
        zero,
        class_="histogram",
        viewBox=box,
        role="img",
        aria_label=f"{label}: histogram of {flat.size} entries from {number(flat.min())} to {number(flat.max())}",
        preserveAspectRatio="none",
    )


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _bars(array: Any, label: str) -> Markup:
    """A bar for each entry, up or down from the zero line; what is not finite is a mark across."""
    flat = array.astype(np.float64)
    finite = np.isfinite(flat)
    top = float(np.max(np.abs(flat[finite]), initial=0.0)) or 1.0
    heights = np.where(finite, 15.0 * (flat / top), 0.0)
    up = "".join(f"M{4 * k + 2} 16v{_short(-h)}" for k, h in enumerate(heights) if h > 0)
    down = "".join(f"M{4 * k + 2} 16v{_short(-h)}" for k, h in enumerate(heights) if h < 0)
    lost = "".join(f"M{4 * k + 2} 1v30" for k in np.flatnonzero(~finite))
    return element(
        "svg",
        element("path", class_="zero", d=f"M0 16H{4 * flat.size}"),
        element("path", class_="up", d=up) if up else None,
        element("path", class_="down", d=down) if down else None,
        element("path", class_="lost", d=lost) if lost else None,
        class_="vector",
        viewBox=f"0 0 {4 * flat.size} 32",
        role="img",
        style=f"--n:{flat.size}",
        aria_label=f"{label}: {summary(array)}",
        preserveAspectRatio="none",
    )


def _cells(array: Any, side: int) -> tuple[Any, tuple[int, int] | None] | None:
    """The array as a matrix of at most ``side`` by ``side`` cells, and the size of the blocks that were averaged."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiub" or array.size <= 1:
        return None
    matrix = array.reshape(1, -1) if array.ndim == 1 else array.reshape(-1, array.shape[-1])
    rows, columns = -(-matrix.shape[0] // side), -(-matrix.shape[1] // side)
    if rows == columns == 1:
        return matrix.astype(np.float64), None
    with np.errstate(all="ignore"):
        # reduceat averages blocks of unequal size without a copy of what is outside of them.
        across = np.arange(0, matrix.shape[1], columns)
        down = np.arange(0, matrix.shape[0], rows)
        total = np.add.reduceat(np.add.reduceat(matrix, across, axis=1, dtype=np.float64), down, axis=0)
        count = np.add.reduceat(np.full(matrix.shape[0], 1), down)[:, None] * np.add.reduceat(
            np.full(matrix.shape[1], 1), across
        )
    return total / count, (rows, columns)


def _heat(cells: Any, kind: str, label: str | None) -> Markup:
    """A heat map: one path for each shade, a run of equal cells being one stroke."""
    height, width = cells.shape
    finite = np.isfinite(cells)
    top = float(np.max(np.abs(cells[finite]), initial=0.0)) or 1.0
    with np.errstate(all="ignore"):
        shade = np.where(finite, np.rint(LEVELS * (cells / top)), LEVELS + 1).astype(int)
    strokes: dict[int, list[str]] = {}
    for i, row in enumerate(shade):
        ends = np.flatnonzero(np.diff(row, append=row[-1] + 1)) + 1
        begin = 0
        for end in ends:
            level = int(row[begin])
            if level:
                strokes.setdefault(level, []).append(f"M{begin} {i}h{end - begin}")
            begin = int(end)
    paths = [element("path", class_=_shade_class(level), d="".join(marks)) for level, marks in sorted(strokes.items())]
    # Half a cell up, so that a stroke of width 1 from (0, 0) covers the cell (0, 0).
    named = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return element(
        "svg",
        *paths,
        class_=kind,
        viewBox=f"0 -.5 {width} {height}",
        style=f"--w:{width};--h:{height}",
        preserveAspectRatio="none",
        **named,
    )


def _shade_class(level: int) -> str:
    if level > LEVELS:
        return "lost"
    return f"p{level}" if level > 0 else f"n{-level}"
