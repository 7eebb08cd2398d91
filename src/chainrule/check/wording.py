"""Comparisons and suspects -> the verdict of the report and the sentence that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chainrule.check.compare import Comparison, Site
from chainrule.check.drill import CONFIRMED, Suspect, sentence_on
from chainrule.check.lifted import ROUNDED

if TYPE_CHECKING:
    from chainrule.check.judgement import Judgement

__all__ = ["say"]


def say(
    j: Judgement,
    site: Site,
    seen: list[Comparison],
    kinks: list[Comparison],
    entries: list[Comparison],
    suspects: list[Suspect],
) -> None:
    """Writes verdict and sentence into the report."""
    report = j.report
    assert j.rtol is not None
    by = {v: [s for s in suspects if s.verdict == v] for v in ("FAIL", "WARN", "INCONCLUSIVE")}
    stairs = [s for s in by["WARN"] if s.pattern] or [s for s in by["INCONCLUSIVE"] if s.pattern]
    if stairs and not by["FAIL"]:
        report.verdict, report.pattern = stairs[0].verdict, stairs[0].pattern
        report.sentence = f"{sentence_on(site, stairs[0])}: {stairs[0].reason}."
        return
    if by["FAIL"]:
        report.verdict, report.sentence = "FAIL", f"{sentence_on(site, by['FAIL'][0])}."
        return
    if by["INCONCLUSIVE"]:
        report.sentence = f"{sentence_on(site, by['INCONCLUSIVE'][0])}: {by['INCONCLUSIVE'][0].reason}."
        return
    blind = [c for c in seen if c.status in ("jump", "nan", "unresolved", "noisy") and c.direction.kind == "all"]
    if not j.gate <= j.rtol:
        report.verdict = "INCONCLUSIVE"
        word = {"jump": "f jumps at x", "nan": "f is not finite near x", "noisy": "f is noisy"}
        reason = word.get(blind[0].status, "") if blind else ""
        if j.random and reason in ("", "f is noisy"):
            reason = "f is random"
        elif reason == "" and report.limited_by == "noise" and _single(site):
            reason = "the noise of f is that of float32"
        if np.isfinite(j.gate):
            seen_text = (
                f"only errors above {j.gate:.1e} of the gradient would have been seen, and {j.rtol:.0e} is asked for"
            )
        else:
            seen_text = "differences say nothing about the gradient here"
        report.sentence = f"{reason + ': ' if reason else ''}{seen_text} (limited by {report.limited_by})."
        return
    if by["WARN"]:
        pattern = f": {report.pattern}" if report.pattern else ""
        report.verdict, report.sentence = (
            "WARN",
            f"{sentence_on(site, by['WARN'][0])}: {by['WARN'][0].reason}{pattern}.",
        )
        return
    tiny = [c for c in seen if c.direction.kind != "all" and not (0 < c.allowance <= 0.1 * c.natural) and c.natural > 0]
    if tiny:
        names = ", ".join(sorted({c.direction.name for c in tiny})[:3])
        report.notes.append(f"too small beside the others to be resolved by differences: {names}")
    order = max((6 if c.second_order else 2 for c in seen), default=2)
    number = len([c for c in seen if c.direction.kind == "all"])
    text = f"{number} projections of the gradient agree with differences of order {order}"
    if kinks or any(c.status == "kink" for c in seen):
        report.verdict = "PASS*"
        names = ", ".join(sorted({c.direction.name for c in kinks})[:3])
        report.sentence = (
            f"{text}; f has a kink at x ({names or 'along the lines'}), where the claim is a valid subgradient,"
            " as anything between the slopes to both sides would be."
        )
        return
    report.verdict = "PASS"
    lines = len({id(c.direction) for c in seen if c.direction.kind == "all"})
    chance = 1 - 16.0**-lines
    report.sentence = (
        f"{text}; an error above {report.resolution:.1e} of {report.unit} in one entry would have been seen,"
        f" one of 16 times that in any combination of entries with probability {chance:.5f}."
    )
    if any(s.reason == CONFIRMED for s in suspects):
        report.notes.append(
            "some directions were confirmed by very small steps only: f has kinks, or varies, close to x"
        )
    if any(s.reason == ROUNDED for s in suspects):
        report.notes.append(f"some entries differ by {ROUNDED}")
    if all(c.claimed == 0 for c in seen) and not entries:
        report.notes.append("the gradient is zero along all lines: f does not depend on its input here")


def _single(site: Site) -> bool:
    """Whether a function of float64 has noise of the size that float32 leaves behind."""
    size = float(np.max(np.abs(site.evaluator.y0), initial=0.0))
    return site.evaluator.eps < 1e-10 and bool(3e-9 * size < np.max(site.noise.sigma) < 3e-6 * size)
