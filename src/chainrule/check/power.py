"""What a check compared -> how small an error it would have seen, and what kept it from seeing smaller ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.check.compare import Comparison, Site, magnitude
from chainrule.check.drill import ALONE, Suspect

if TYPE_CHECKING:
    from chainrule.check.judgement import Judgement

__all__ = ["let_pass", "resolution"]


def resolution(j: Judgement, site: Site, mains: Sequence[Comparison]) -> None:
    """The size of an error in one entry that no line would have let pass, in units of the gradient's norm."""
    report = j.report
    worst, reason, j.gate = 0.0, "", 0.0
    if not mains:  # all entries are at kinks
        worst, reason = np.inf, "kinks"
    size = magnitude(site.cotangents * site.evaluator.y0)
    for c in mains:
        unit = _norm(site, c)
        if unit == 0:
            report.unit = "the size of f, for the gradient is zero,"
            unit = max(abs(c.numeric), float(size[c.projection]), c.trace["range"])
        if c.status == "kink":
            unit = max(unit, abs(c.left), abs(c.right))
        allowed = c.allowance if c.status != "kink" else c.slack
        blind = c.status in {"jump", "nan"} or not np.isfinite(allowed) or (unit == 0 and allowed > 0)
        # Errors below the tolerance are only told when they stand well above what is allowed.
        ratio = np.inf if blind else (ALONE * allowed + min(c.mismatch, allowed)) / max(unit, 1e-300)
        if c.status == "kink" and not blind:
            ratio += abs(c.right - c.left) / max(unit, 1e-300)  # any claim between the slopes is valid
        j.gate = max(j.gate, np.inf if blind else allowed / max(unit, 1e-300))
        if ratio >= worst:
            worst = ratio
            reason = _limit(c)
    if site.rounding > 1e-10 and not site.lifted and site.gradients is not None and j.rtol is not None:
        # Of differences in float32 an error of an entry below the tolerance is not told from a rounding.
        scaled = np.abs(site.gradients * j.point.scale)
        part = float(np.max(scaled.max(axis=1, initial=0.0) / np.maximum(magnitude(scaled), 1e-300)))
        if worst < 1.01 * j.rtol * part:
            worst, reason = 1.01 * j.rtol * part, "float32"
    report.resolution, report.limited_by = float(worst), reason
    point = j.point
    contributions = [
        (
            np.zeros(point.size)
            if site.gradients is None
            else site.gradients[c.projection] * c.direction.dense(point.size)
        )
        for c in mains
    ]
    if site.gradients is not None:
        report._power = (contributions, [c.allowance for c in mains], point.name, point.size)  # noqa: SLF001


def let_pass(j: Judgement, site: Site, suspects: list[Suspect]) -> None:
    """What was outside its bounds and had a reason to be: the resolution is no better than what that reason allows."""
    assert j.rtol is not None
    for s in suspects:
        if s.verdict != "OK" or s.comparison.status == "kink":
            continue
        unit = max(_norm(site, s.comparison, whole=True), 1e-300)
        size = s.passed / unit
        # A gradient in float32 can not be closer than its roundings; a tolerance that was asked for is held to.
        if size > j.rtol and (site.rounding < 1e-10 or j.asked):
            j.gate = max(j.gate, size)
        if j.report.resolution < (ALONE - 1) * size:
            j.report.resolution, j.report.limited_by = (ALONE - 1) * size, s.reason


def _norm(site: Site, c: Comparison, *, whole: bool = False) -> float:
    """The norm of the scaled gradient on the entries of a direction; its weights are 1 or more, so none is hidden."""
    if site.gradients is None:
        return c.natural
    where = None if whole else c.direction.line.where
    scaled = site.gradients[c.projection] * site.point.scale
    return float(magnitude(scaled if where is None else scaled[where]))


def _limit(c: Comparison) -> str:
    """What limits a comparison, in words."""
    words = {
        "kink": "kinks",
        "jump": "a jump of f at x",
        "nan": "f not being finite near x",
        "noisy": "the noise of f",
        "unresolved": "f varying faster than the steps resolve",
    }
    if c.status in words:
        return words[c.status]
    if c.error < c.allowance / 2:
        return "roundings"
    h = c.trace["h"]
    return "noise" if h and c.error < 200 * c.trace["sigma"] / h[0] else "truncation"
