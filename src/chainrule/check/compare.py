"""A claim and a witness at one place -> for each direction the claimed and the measured derivative."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.check.claim import Claim
from chainrule.check.directions import Direction
from chainrule.numerical.evaluate import Evaluator
from chainrule.numerical.line import Noise, differentiate
from chainrule.numerical.point import FloatArray, Point

__all__ = ["Comparison", "Site", "all_steps", "magnitude"]


def magnitude(rows: FloatArray) -> FloatArray:
    """The norm along the last axis, of numbers whose squares may leave the range of floats."""
    unit = np.max(np.abs(rows), axis=-1, initial=0.0)
    unit = np.where(unit > 0, unit, 1.0)
    with np.errstate(all="ignore"):
        return np.asarray(unit * np.linalg.norm(rows / unit[..., None], axis=-1))


@dataclasses.dataclass
class Comparison:
    """One direction and one projection of the output: claimed against measured."""

    direction: Direction
    projection: int
    claimed: float
    numeric: float
    error: float
    allowance: float
    natural: float
    status: str
    left: float
    right: float
    slack: float
    second_order: bool
    trace: dict[str, Any]

    @property
    def mismatch(self) -> float:
        """How far the claim is from the measurement."""
        return abs(self.claimed - self.numeric)

    @property
    def z(self) -> float:
        """The mismatch in units of what roundings and the witness's bound allow."""
        if not np.isfinite(self.allowance) or not np.isfinite(self.numeric):
            return 0.0
        return self.mismatch / self.allowance if self.allowance > 0 else (np.inf if self.mismatch > 0 else 0.0)

    @property
    def in_kink(self) -> bool:
        """Whether this is a kink and the claim lies between the one-sided slopes."""
        if self.status != "kink":
            return False
        low, high = min(self.left, self.right), max(self.left, self.right)
        room = self.slack + 64 * np.finfo(float).eps * (abs(low) + abs(high))
        return bool(low - room <= self.claimed <= high + room)

    @property
    def wrong(self) -> bool:
        """Whether the claim is outside what is allowed (at a kink: outside the interval of slopes)."""
        return not self.in_kink if self.status == "kink" else self.z > 1


@dataclasses.dataclass
class Site:
    """A point at which claim and witness are held against each other."""

    claim: Claim
    point: Point
    evaluator: Evaluator
    x: FloatArray
    noise: Noise
    cotangents: FloatArray  # (projections, outputs)
    gradients: FloatArray | None  # (projections, entries); None where only a push-forward is claimed
    rounding: float  # unit roundoff of the claim
    lifted: bool
    jump: float = 0.0  # the largest jump of f that was met

    def claimed(self, direction: Direction) -> FloatArray:
        """The claimed derivative of every projection along a direction."""
        if self.gradients is None:
            return np.asarray(self.cotangents @ self.claim.push(self.x, direction.dense(self.point.size)))
        where = direction.line.where
        part = self.gradients if where is None else self.gradients[:, where]
        return np.asarray(part @ direction.line.step)

    def _natural(self, direction: Direction, claimed: FloatArray) -> tuple[FloatArray, FloatArray]:
        if self.gradients is None:
            return np.abs(claimed), np.abs(claimed)
        where = direction.line.where
        part = (self.gradients if where is None else self.gradients[:, where]) * direction.line.step
        return magnitude(part), np.sum(np.abs(part), axis=1)

    def compare(self, directions: Sequence[Direction], *, effort: int = 16, sharp: bool = True) -> list[Comparison]:
        """All comparisons along the given directions: every projection of each, in one set of rounds."""
        claims = [self.claimed(d) for d in directions]
        naturals = [self._natural(d, c) for d, c in zip(directions, claims, strict=True)]
        target = 1e-8 * np.max([n for n, _ in naturals], axis=0) if naturals else 0.0
        lines = differentiate(
            self.evaluator, self.x, [d.line for d in directions], self.noise, self.cotangents,
            target=target, relative=1e-8 if sharp else 1e-4, effort=effort,
        )  # fmt: skip
        unit = self.rounding
        result: list[Comparison] = []
        for k, direction in enumerate(directions):
            if not lines.done[k]:
                continue
            natural, total = naturals[k]
            for p in range(len(self.cotangents)):
                own = (16 if self.lifted else 64) * unit * (natural[p] + abs(claims[k][p]))
                own += 0.0 if self.lifted else 8 * unit * total[p]
                status = str(lines.status[k, p])
                error = float(lines.error[k, p]) if status != "kink" else float(lines.truncation[k, p])
                trace = {**lines.trace[k], "D": [float(d[p]) for d in lines.trace[k]["D"]]}
                trace["range"] = max((abs(float(r[p])) for r in trace["range"]), default=0.0)
                trace["sigma"] = float(self.noise.sigma[p])
                result.append(
                    Comparison(
                        direction, p, float(claims[k][p]), float(lines.value[k, p]), error, error + float(own),
                        float(natural[p]), status, float(lines.left[k, p]), float(lines.right[k, p]),
                        error + float(own), bool(lines.second_order[k, p]), trace,
                    )
                )  # fmt: skip
        return result


def all_steps(site: Site, comparison: Comparison) -> tuple[list[float], list[float]] | None:
    """Central differences along one direction at steps from far too wide to far too fine; None if out of budget."""
    eps = site.evaluator.eps
    exponents = np.arange(1, 47, 2) if eps < 1e-10 else np.arange(1, 21) if eps < 1e-5 else np.arange(1, 9)
    h = 2.0 ** -exponents.astype(float)
    line, v = comparison.direction.line, site.cotangents[comparison.projection]
    if site.evaluator.left < 2 * h.size or site.evaluator.stopped:
        return None
    values, done = site.evaluator.many(
        2 * h.size, lambda k: line.at(site.x, float(h[k // 2]) * (1 if k % 2 == 0 else -1))
    )
    if not done.all():
        return None
    with np.errstate(all="ignore"):
        return h.tolist(), ((values[0::2] - values[1::2]) @ v / (2 * h)).tolist()
