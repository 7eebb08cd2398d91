"""The directions a check looked at -> a picture of the error against the step: V, floor or cliff."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import ArgumentError

if TYPE_CHECKING:
    from chainrule.check.report import Report

__all__ = ["curve", "draw", "in_characters"]

COLOURS = {"PASS": "#176f2c", "PASS*": "#176f2c", "WARN": "#8a6100", "FAIL": "#a40e26"}


def curve(entry: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Steps in rising order, the distance of each difference from the claim, and the noise in it."""
    h, d = np.array(entry["h"], dtype=float), np.array(entry["D"], dtype=float)
    order = np.argsort(h)
    with np.errstate(all="ignore"):
        return h[order], np.abs(d - entry["claimed"])[order], (entry["sigma"] / np.sqrt(2) / h)[order]


def draw(report: Report, entries: list[dict[str, Any]], axes: Any = None) -> Any:
    """A matplotlib figure, its own or that of the given axes.

    A right gradient gives a V: truncation falls with the step until noise grows as 1/h.

    A wrong one ends on a floor, which no step gets below; a kink beside x is a cliff. Raises ``ArgumentError`` where
    matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ArgumentError("a plot needs matplotlib", cure="pip install matplotlib") from None
    colour = COLOURS.get(report.verdict, "#444444")
    if axes is None:
        axes = Figure(figsize=(7.5, 5), layout="constrained").add_subplot()
    axes.set_xscale("log", base=10)
    axes.set_yscale("log", base=10)
    for number, entry in enumerate(entries[:3]):
        h, gap, noise = curve(entry)
        seen = np.isfinite(gap)
        if not seen.any():
            continue
        # What is exactly equal to the claim has no place on this axis: it stands at the bottom, hollow.
        some = np.concatenate([gap[seen & (gap > 0)], noise[noise > 0], [1.0] if not noise.any() else []])
        equal = seen & (gap == 0)
        gap = np.where(equal, some.min() / 10, gap)
        if not number and equal.any():
            axes.plot(h[equal], gap[equal], "o", ms=4, mfc="white", mec=colour, zorder=4, label="no distance at all")
        if number:
            axes.plot(h[seen], gap[seen], "-", color="#888888", lw=0.8, zorder=1,
                      label="other directions" if number == 1 else None)  # fmt: skip
            continue
        axes.plot(h[seen], gap[seen], "o-", ms=4, color=colour, zorder=3,
                  label=f"|difference - claimed| along {entry['name']}")  # fmt: skip
        if entry["sigma"] > 0:
            axes.plot(h, noise, ":", color="black", lw=1.2, zorder=2, label="noise of f / h, measured")
        _levels(axes, entry, gap[seen])
    if not axes.has_data():
        axes.text(0.5, 0.5, "no difference was taken, or all are equal to the claim", ha="center",
                  transform=axes.transAxes)  # fmt: skip
    axes.set_xlabel("step h, in units of the scale of x")
    axes.set_ylabel("distance from the claimed slope")
    axes.grid(True, which="major", color="#e5e5e5", lw=0.6)
    axes.set_title("\n".join(textwrap.wrap(f"{report.verdict}. {report.sentence}", 88)[:3]), fontsize=9, loc="left")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", framealpha=0.9)
    return axes.figure


def _levels(axes: Any, entry: dict[str, Any], gap: Any) -> None:
    """The level of the mismatch where it is one, else what roundings and the witness's bound allow."""
    if entry.get("status") == "kink":
        half = abs(entry["right"] - entry["left"]) / 2
        axes.axhspan(float(gap.min()) / 30, max(half, float(gap.min())), color="#176f2c", alpha=0.08)
        axes.axhline(half, color="#176f2c", lw=1, ls="--", label="half the distance of the slopes at the kink")
        return
    allowed, mismatch = entry.get("allowance", np.inf), entry.get("mismatch", 0.0)
    if not np.isfinite(allowed) or allowed <= 0:
        return
    if mismatch > allowed:
        axes.axhline(mismatch, color="#a40e26", lw=1, ls="--", label=f"floor: the mismatch, {mismatch:.2g}")
    axes.axhspan(min(allowed / 30, float(gap.min())), allowed, color="#176f2c", alpha=0.1,
                 label=f"what is allowed, {allowed:.1g}")  # fmt: skip


def in_characters(entry: dict[str, Any]) -> list[str]:
    """The same with characters, of the steps that the check itself took."""
    h, gap, noise = curve(entry)
    use = np.isfinite(gap) & (gap > 0)
    if use.sum() < 2:
        return []
    top = np.log10(gap[use].max())
    low = np.log10(max(min(gap[use].min(), noise[noise > 0].min(initial=np.inf)), 1e-300))
    rows = 8
    span = max(top - low, 1.0)
    canvas = [[" "] * (3 * h.size) for _ in range(rows)]
    for k in range(h.size):
        for value, mark in ((noise[k], "."), (gap[k], "o")):
            if np.isfinite(value) and value > 0:
                row = int(np.clip(round((top - np.log10(value)) / span * (rows - 1)), 0, rows - 1))
                canvas[row][3 * k + 1] = mark
    labels = [f"{10 ** (top - span * r / (rows - 1)):8.0e} |" for r in range(rows)]
    return [
        *(label + "".join(row) for label, row in zip(labels, canvas, strict=True)),
        f"{'':9}+{'-' * (3 * h.size)} h = {h[0]:.0e} .. {h[-1]:.0e}",
    ]
