"""A direction on which claim and witness disagree -> the entry (or smallest set) that is at fault, and how surely."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from chainrule.check.compare import Comparison, Site
from chainrule.check.directions import Direction, coordinate, random_line
from chainrule.check.staircase import REACH, staircase, still
from chainrule.numerical.noise import POINTS, measured_noise, spacings

__all__ = [
    "ROUNDINGS",
    "Suspect",
    "find_entry",
    "find_kinks",
    "has_kink",
    "on_stairs",
    "rounding_limit",
    "sentence_on",
    "weigh",
]

FOLLOW = 8.0
FINEST = (23, 27, 31, 35, 38)  # exponents of the steps that may still speak for a claim
ALONE = 3.0  # of 100 lines one exceeds its bound, by a small factor
GREY = 1e-4  # relative mismatches below this may be the rounding of the claim, which is then measured
PERSISTENCE = 0.5
PROBES = 48  # sets that are looked at for kinks
CROWDED = 8  # that many sets at once, and a kink in each: there are more than can be named
KINK_STEPS = ((14, 19), (5, 8))
CONFIRMED = "confirmed by much finer steps: f has kinks, or varies, close to x"
ROUNDINGS = "the roundings of the claimed gradient"
STAIRS = (
    "the claim is the slope across the jumps of f, not between them: a straight-through estimator,"
    " or f is rounded, read from a table, or stops an iteration at a tolerance"
)
_TRUNCATION = "the residual shrinks with the step: truncation or kinks, not a wrong formula"


@dataclasses.dataclass
class Suspect:
    """An entry (or a set that does not split) and the judgement on it."""

    index: int  # -1 for a set
    comparison: Comparison
    verdict: str  # FAIL, WARN, INCONCLUSIVE, OK
    reason: str
    passed: float = 0.0  # where it is OK though outside the bounds: the mismatch up to which it would have been
    pattern: str = ""

    @property
    def relative(self) -> float:
        """The mismatch in units of the larger of claim and measurement."""
        c = self.comparison
        return c.mismatch / max(abs(c.claimed), abs(c.numeric), 1e-300)


def find_entry(
    site: Site, start: Comparison, rng: np.random.Generator, most: int = 600, *, largest: bool = False
) -> tuple[Comparison, bool]:
    """Halves the set of entries and follows the half that disagrees; with ``largest``, the one that disagrees most.

    Ends at one entry, at a set that does not split (False in the second place: neither half disagrees), or when the
    evaluations are spent.
    """
    current = start
    where = start.direction.line.where
    members = np.arange(site.point.size) if where is None else where
    spent = site.evaluator.count
    tries = 0
    while members.size > 1 and site.evaluator.count - spent < most and site.evaluator.left >= 12:
        middle = members.size // 2
        # Entries are split at random: errors that cancel between neighbours do not stay together.
        shuffled = rng.permutation(members) if members.size <= 4 or tries else members
        halves = [np.sort(shuffled[:middle]), np.sort(shuffled[middle:])]
        both: list[Comparison] = []
        scores: list[float] = []
        for half in halves:
            direction = Direction(random_line(site.point, rng, half), "half", "")
            # What is seen in the whole and not in its halves is looked for once more, as closely as in the whole.
            seen = site.compare([direction], effort=16 if tries else 6, sharp=bool(tries))
            seen = [c for c in seen if c.projection == start.projection]
            both += seen
            scores += [0.0 if c.in_kink else c.z if c.status != "kink" else np.inf for c in seen]
            # One half that clearly disagrees is enough: the other may disagree too, but one entry is to be named.
            if scores and ((scores[0] > FOLLOW and not largest) or not seen):
                break
        if not both:
            break
        if max(scores) <= 1:
            tries += 1
            if tries > 1:
                return current, False
            continue
        tries = 0
        pick = int(np.argmax([c.mismatch for c in both] if largest and np.isfinite(scores).all() else scores))
        current, members = both[pick], halves[pick]
    if members.size == 1:
        exact = site.compare([coordinate(site.point, int(members[0]))])
        current = next((c for c in exact if c.projection == start.projection), current)
    return current, True


def find_kinks(site: Site, members: npt.NDArray[np.intp], rng: np.random.Generator) -> list[int] | None:
    """The entries at a kink among ``members``, by halving; None if there are too many to be named.

    A kink at x shows in two steps: (f(x + h) + f(x - h) - 2 f(x)) / h keeps its size as h shrinks. That is no more
    than a hint (4 evaluations for a set); the entries that are found are measured afterwards.
    """
    level = [members]
    found: list[int] = []
    spent = 0
    while level:
        if spent + len(level) > PROBES or site.evaluator.left < 4 * len(level) + 24:
            return None
        spent += len(level)
        hinted = [part for part, hint in zip(level, _kink_hints(site, level, rng), strict=True) if hint]
        if len(hinted) == len(level) >= CROWDED:
            return None
        found += [int(part[0]) for part in hinted if part.size == 1]
        level = [half for part in hinted if part.size > 1 for half in np.array_split(part, 2)]
    return sorted(found)


def has_kink(site: Site, members: npt.NDArray[np.intp], rng: np.random.Generator) -> bool:
    """Whether there is a hint of a kink at x along a direction of the given entries."""
    return _kink_hints(site, [members], rng)[0]


def _kink_hints(site: Site, sets: list[npt.NDArray[np.intp]], rng: np.random.Generator) -> list[bool]:
    lines = [random_line(site.point, rng, part) for part in sets]
    h = 2.0 ** -np.array(KINK_STEPS[0 if site.evaluator.eps < 1e-10 else 1], dtype=float)
    signed = np.concatenate([h, -h])
    values, done = site.evaluator.many(4 * len(lines), lambda k: lines[k // 4].at(site.x, float(signed[k % 4])))
    with np.errstate(all="ignore"):
        moved = ((values - site.evaluator.y0) @ site.cotangents.T).reshape(len(lines), 4, -1)
        bend = (moved[:, :2] + moved[:, 2:]) / h[:, None]
        noise = 8 * site.noise.near / h[:, None]
        size = np.abs(bend)
        stays = np.abs(bend[:, 0] - bend[:, 1]) <= 0.25 * size[:, 1] + noise.max(axis=0)
        hint = np.any(stays & (size[:, 1] > 2 * noise[1]), axis=1) & done.reshape(len(lines), 4).all(axis=1)
    return [bool(one) for one in np.atleast_1d(hint)]


def weigh(site: Site, comparison: Comparison, rtol: float, floor: float, splits: bool = True) -> Suspect:
    """The judgement on a disagreement: kink interval, persistence over the steps, steps the fit has not seen, size."""
    where = comparison.direction.line.where
    index = int(where[0]) if where is not None and where.size == 1 else -1

    def say(verdict: str, reason: str, passed: float = 0.0, pattern: str = "") -> Suspect:
        return Suspect(index, comparison, verdict, reason, max(passed, comparison.mismatch), pattern)

    if comparison.status == "kink":
        if comparison.in_kink:
            return say("OK", "a valid subgradient at a kink")
        return _by_size(say, comparison, rtol, floor, site, kink=True)
    if comparison.z <= 1:
        return say("OK", "within the bounds")
    relative = comparison.mismatch / max(abs(comparison.claimed), abs(comparison.numeric), 1e-300)
    limit = rounding_limit(site, comparison)
    if comparison.mismatch <= limit:
        return say("OK", ROUNDINGS, limit)
    supported, reason = _finer(site, comparison, rtol)
    if supported:
        return say("OK", reason)
    if not splits and comparison.mismatch <= 0.05 * comparison.natural:
        if comparison.mismatch <= rtol * comparison.natural:
            return say(
                "OK",
                "kinks or truncation, seen along one direction and in none of its parts",
                rtol * comparison.natural,
            )
        return say("INCONCLUSIVE", "neither half of these entries disagrees: kinks or truncation along this direction")
    if relative > rtol:
        verdict, jumps = _on_stairs(site, comparison)
        if verdict:
            return say(verdict, jumps, pattern=STAIRS)
    reason = _shrinks(comparison) or reason
    if reason and relative > rtol:
        return say("INCONCLUSIVE", reason)
    if relative > rtol and not _holds_out(site, comparison):
        return say("INCONCLUSIVE", "steps that the fit has not seen do not lie on it: f is not smooth at these steps")
    return _by_size(say, comparison, rtol, floor, site)


def on_stairs(site: Site, comparison: Comparison, rtol: float) -> Suspect | None:
    """The judgement on a direction of many entries along which f moves in jumps; None where it does not."""
    if comparison.mismatch <= rtol * max(abs(comparison.claimed), abs(comparison.numeric)):
        return None
    verdict, reason = _on_stairs(site, comparison)
    return Suspect(-1, comparison, verdict, reason, comparison.mismatch, STAIRS) if verdict else None


def _on_stairs(site: Site, comparison: Comparison) -> tuple[str, str]:
    """The verdict on a claim that is no slope between the jumps of f but may be that across them; empty if neither."""
    stairs = staircase(site, comparison)
    if stairs is None:
        # Jumps that were met elsewhere may be too large for this line to reach the next of them.
        if still(comparison) and REACH * abs(comparison.claimed) <= 2 * site.jump:
            return (
                "INCONCLUSIVE",
                f"f moves in jumps of {site.jump:.2g}, and along this line no further than to the next",
            )
        return "", ""
    site.jump = max(site.jump, stairs.size)
    where = comparison.direction.line.where
    length, place = 1.0, "along this line"
    if where is not None and where.size == 1:
        length = float(comparison.direction.line.step[0])
        index = int(where[0])
        place = f"at {site.point.name(index)} = {float(site.x[index]) + stairs.place * length:.9g}"
    seen = f"f moves in jumps, one of {stairs.size:.2g} {place}; across them its slope is {stairs.slope / length:.4g}"
    seen += f" +- {abs(stairs.bound / length):.1g}"
    if stairs.supports(comparison):
        return "WARN", f"{seen}, as is claimed"
    if stairs.resembles(comparison):
        return "WARN" if still(
            comparison
        ) else "INCONCLUSIVE", f"{seen}: too little to tell whether that is what is claimed"
    return "", ""


def _finer(site: Site, comparison: Comparison, rtol: float) -> tuple[bool, str]:
    """Whether much finer steps confirm the claim, and why they forbid to call it wrong (or nothing)."""
    if site.evaluator.eps > 1e-10 or site.evaluator.left < 2 * len(FINEST):
        return False, ""
    line, p = comparison.direction.line, comparison.projection
    sigma, near = float(site.noise.sigma[p]), float(site.noise.near[p])
    fine, coarse, _ = spacings(site.evaluator.eps)
    claimed = abs(comparison.claimed)
    far = claimed > 100 * (abs(comparison.numeric) + comparison.error)
    if site.noise.roundings[p] > 1e4 and claimed * (coarse if far else fine) > sigma:
        return False, "the claimed slope is steeper than what the noise of f lets differences resolve (chaos?)"
    h = 2.0 ** -np.array(FINEST, dtype=float)
    values, done = site.evaluator.many(
        2 * h.size, lambda k: line.at(site.x, float(h[k // 2]) * (1 if k % 2 == 0 else -1))
    )
    if not done.all():
        return False, ""
    with np.errstate(all="ignore"):
        slopes = (values[0::2] - values[1::2]) @ site.cotangents[p] / (2 * h)
    noise = 4 * near / h
    residual = np.abs(slopes - comparison.claimed)
    own = comparison.allowance - comparison.error
    for k in range(h.size - 1):
        bound = abs(slopes[k] - slopes[k + 1]) + noise[k + 1] + own
        if residual[k] <= bound <= min(rtol * comparison.natural, comparison.mismatch / 2):
            return True, CONFIRMED
    if bool(np.any((noise < comparison.mismatch) & (residual < 0.5 * comparison.mismatch))):
        return (
            False,
            "much finer steps support the claim: f varies faster, or has kinks closer, than the others resolve",
        )
    return False, ""


def rounding_limit(site: Site, comparison: Comparison) -> float:
    """How far the claim may be off by its own roundings; 0 where it is off by more than any roundings make it."""
    relative = comparison.mismatch / max(abs(comparison.claimed), abs(comparison.numeric), 1e-300)
    if relative >= GREY:
        return 0.0
    return comparison.allowance + 8 * _claim_noise(site, comparison)


def _claim_noise(site: Site, comparison: Comparison) -> float:
    """The noise of the claimed derivative along its own line: that of seven pullbacks at close points."""
    if site.gradients is None:
        return 0.0
    line = comparison.direction.line
    v = site.cotangents[comparison.projection]
    tau = spacings(2 * site.rounding)[1 if site.rounding < 1e-10 else 0]
    values: list[float] = []
    for k in range(POINTS):
        try:
            gradient = site.claim.forward(line.at(site.x, k * tau))[1](v)
        except Exception:  # noqa: BLE001 - outside the domain anything may be raised
            return 0.0
        values.append(float((gradient if line.where is None else gradient[line.where]) @ line.step))
    if not np.isfinite(values).all():
        return 0.0
    return float(measured_noise(np.array(values)[:, None] - values[0])[0][0])


def _by_size(
    say: Callable[..., Suspect],
    comparison: Comparison,
    rtol: float,
    floor: float,
    site: Site,
    kink: bool = False,
) -> Suspect:
    mismatch = comparison.mismatch
    if kink:
        low, high = min(comparison.left, comparison.right), max(comparison.left, comparison.right)
        mismatch = max(low - comparison.claimed, comparison.claimed - high)
        if mismatch <= 8 * comparison.slack:
            return say("OK", "a subgradient at a kink, within the bounds")
    relative = mismatch / max(abs(comparison.claimed), abs(comparison.numeric), 1e-300)
    coarse = site.rounding > 1e-10 and not site.lifted
    limit = max(rtol, 0.05) if coarse else rtol
    if relative > limit and mismatch > floor:
        return say(
            "FAIL", "outside the one-sided slopes of a kink" if kink else "the mismatch does not depend on the step"
        )
    if coarse and relative <= rtol:
        return say("OK", "below what float32 resolves", rtol * max(abs(comparison.claimed), abs(comparison.numeric)))
    if comparison.z <= ALONE and comparison.status != "kink":
        return say("OK", "roundings", ALONE * comparison.allowance)
    return say("WARN", "significant, but smaller than the tolerance")


def _shrinks(comparison: Comparison) -> str:
    """Why the residual does not keep its size over the steps at which noise leaves power; empty if it does."""
    h, d = np.array(comparison.trace["h"]), np.array(comparison.trace["D"])
    with np.errstate(all="ignore"):
        residual = np.abs(comparison.claimed - d)
    noise = comparison.trace["sigma"] / np.maximum(h, 1e-300)
    # Neighbouring steps that support the claim: f has structure that only the finer ones see.
    order = np.argsort(-h)
    near = (residual[order] < 0.05 * comparison.mismatch) & (noise[order] < comparison.mismatch / 20)
    if bool(np.any(near[1:] & near[:-1])):
        return "wider steps support the claim and only narrower ones do not: f varies faster than differences resolve"
    if abs(comparison.numeric) <= comparison.error and residual[order[0]] < 0.3 * comparison.mismatch:
        return "f is constant close to x and moves as claimed at wider steps: it is rounded, or moves in jumps"
    if comparison.second_order:
        return ""
    use = np.isfinite(residual) & (noise < residual / 4)
    if use.sum() < 2:
        return "" if comparison.z > FOLLOW else _TRUNCATION
    kept = residual[use][np.argsort(-h[use])]
    most = np.max(kept[: max(1, kept.size // 2)])
    stays = kept[-1] >= PERSISTENCE * most or kept.min() >= PERSISTENCE * kept.max()
    return "" if stays else _TRUNCATION


def _holds_out(site: Site, comparison: Comparison) -> bool:
    """Whether two more quotients lie where the extrapolated value and the present ones say that they must."""
    if site.evaluator.left < 4 or comparison.status == "kink":
        return True
    h, d = np.array(comparison.trace["h"]), np.array(comparison.trace["D"])
    good = np.isfinite(d)
    if good.sum() < 3:
        return False
    three = slice(0, 3) if comparison.second_order else slice(-3, None)
    h, d = h[good][three], d[good][three]
    line = comparison.direction.line
    steps = (0.75 * h[0], 0.75 * h[1])
    values, done = site.evaluator.many(4, lambda k: line.at(site.x, steps[k // 2] * (1 if k % 2 == 0 else -1)))
    if not done.all():
        return True
    v = site.cotangents[comparison.projection]
    fit = np.polynomial.Polynomial.fit(h**2, d, 2, domain=[0.0, float(h[0] ** 2)])
    for k, step in enumerate(steps):
        with np.errstate(all="ignore"):
            quotient = float(v @ (values[2 * k] - values[2 * k + 1])) / (2 * step)
        room = 0.25 * comparison.mismatch + 4 * comparison.trace["sigma"] / step + 0.5 * abs(d[0] - d[-1])
        if not abs(quotient - float(fit(step**2))) <= room:
            return False
    return True


def sentence_on(site: Site, suspect: Suspect) -> str:
    """What is wrong where: the entry, claimed and true value with its bound."""
    c = suspect.comparison
    word = "close to x" if suspect.pattern else "true"
    if suspect.index < 0:
        number = site.point.size if c.direction.line.where is None else c.direction.line.where.size
        return (
            f"along a direction of {number} entries: claimed {c.claimed:.6g}, {word} {c.numeric:.6g} +- {c.error:.1g}"
            f" (relative error {suspect.relative:.2g})"
        )
    length = float(c.direction.line.step[0])
    true = c.numeric / length
    if c.status == "kink":
        between = f"{min(c.left, c.right) / length:.6g} to {max(c.left, c.right) / length:.6g}"
        name = site.point.name(suspect.index)
        return f"entry {name}: claimed {c.claimed / length:.6g}, the slopes at this kink are {between}"
    return (
        f"entry {site.point.name(suspect.index)}: claimed {c.claimed / length:.6g}, {word} {true:.6g}"
        f" +- {c.error / abs(length):.1g} (relative error {suspect.relative:.2g})"
    )
