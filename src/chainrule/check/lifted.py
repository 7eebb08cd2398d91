"""A float32 gradient beside float64 differences: whether what is left is its rounding, by the same pass in float64."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import numpy as np

from chainrule.check.compare import Site
from chainrule.check.drill import Suspect
from chainrule.numerical.point import FloatArray

__all__ = ["ROUNDED", "settled"]

ROUNDINGS = 64  # in units of the gradient's root mean square: a few long sums
LOST = 1e-2  # more than this is no matter of digits
ROUNDED = "roundings of float32: in float64 the same backward pass is right"


def settled(site: Site, suspects: Sequence[Suspect]) -> list[Suspect]:
    """The suspects, those set free whose mismatch is gone when the claim itself is run in float64.

    An entry that is a small difference of large terms has the rounding of the terms: more than a tolerance relative
    to the entry allows, and no mistake. What a wrong formula does stays wrong in float64.
    """
    accused = [s for s in suspects if s.verdict in ("FAIL", "WARN")]
    if not site.lifted or not accused or site.gradients is None:
        return list(suspects)
    wide = _in_double(site)
    return list(suspects) if wide is None else [_weighed(site, wide, s) for s in suspects]


def _in_double(site: Site) -> FloatArray | None:
    """The claimed gradients at the same point and for the same weights, all in float64; None where that can not be."""
    claim = copy.copy(site.claim)
    claim.point = site.evaluator.point
    claim.remarks = []
    try:
        with np.errstate(all="ignore"):
            claim.learn_output(claim.value(claim.point.build(site.x)))
            pull = claim.forward(site.x)[1]
            rows = [pull(v) for v in site.cotangents]
    except Exception:  # noqa: BLE001 - a claim that takes no float64 is judged as it is
        return None
    finally:
        site.claim.calls = claim.calls
    made = np.stack(rows)
    return made if np.isfinite(made).all() else None


def _weighed(site: Site, wide: FloatArray, suspect: Suspect) -> Suspect:
    c = suspect.comparison
    assert site.gradients is not None
    if suspect.verdict not in ("FAIL", "WARN") or c.status == "kink":
        return suspect
    line = c.direction.line
    row = wide[c.projection] if line.where is None else wide[c.projection][line.where]
    gap = abs(float(row @ line.step) - c.numeric)
    own = 64 * np.finfo(float).eps * float(np.abs(row * line.step).sum())
    if gap > c.error + own or gap > c.mismatch / 10:
        return suspect
    rms = float(np.sqrt(np.mean((site.gradients[c.projection] * site.point.scale) ** 2)))
    size = max(rms, c.natural)
    limit = ROUNDINGS * site.rounding * size
    if c.mismatch <= limit:
        return dataclasses.replace(suspect, verdict="OK", reason=ROUNDED, passed=limit)
    if c.mismatch <= LOST * size:
        return dataclasses.replace(
            suspect, verdict="WARN", reason="float32 loses digits here: in float64 the same backward pass is right"
        )
    return suspect
