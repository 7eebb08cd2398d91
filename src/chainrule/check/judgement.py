"""A claim, a witness and a point -> the verdict: directions, comparison, drilling, weighing, other points."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.check.branches import Branches
from chainrule.check.claim import Claim, ClaimProblem
from chainrule.check.compare import Comparison, Site, all_steps, magnitude
from chainrule.check.directions import Direction, coordinate, random_line, strata
from chainrule.check.drill import (
    ALONE,
    CONFIRMED,
    ROUNDINGS,
    Suspect,
    find_entry,
    find_kinks,
    has_kink,
    on_stairs,
    rounding_limit,
    sentence_on,
    weigh,
)
from chainrule.check.explain import explain
from chainrule.check.lifted import settled
from chainrule.check.power import let_pass, resolution
from chainrule.check.report import Report
from chainrule.check.wording import say
from chainrule.numerical.evaluate import Evaluator
from chainrule.numerical.line import Line, Noise, measure_noise
from chainrule.numerical.noise import rounding_floor
from chainrule.numerical.point import FloatArray, Point

__all__ = ["Judgement", "judge"]

SMALL = 64  # entries: below this every one of them is measured
LINES = 4
COTANGENTS = 4
SAMPLE = 32
SINGLE = 8  # entries at kinks that are looked at one by one where not all entries are
NEIGHBOURS = 3


@dataclasses.dataclass
class Judgement:
    """Everything that the stages of a check hand to each other."""

    claim: Claim
    point: Point
    evaluator: Evaluator
    rng: np.random.Generator
    reference: Callable[..., Any] | None
    rtol: float | None
    elementwise: bool | None
    probes: bool
    order: int
    pull: Callable[[FloatArray], FloatArray] | None
    report: Report
    branches: Branches
    thorough: bool = False
    site: Site | None = None  # where the verdict was found
    random: bool = False  # whether two calls of f at one point differ
    asked: bool = False  # whether the tolerance was given by the user
    gate: float = float("inf")  # the least error that is outside what is allowed, in units of the gradient's norm


def judge(j: Judgement) -> None:
    """Fills in the report."""
    report = j.report
    rounding = j.point.eps / 2
    witness, lifted = _lift(j)
    if witness is not j.evaluator:
        report.notes.append("differences are taken in float64, the gradient is that of the given type (lifted)")
    eps = max(j.point.eps, j.evaluator.eps)
    if lifted:
        rounding = eps / 2
    report.lifted = lifted
    j.asked = j.rtol is not None
    if j.rtol is None:
        j.rtol = 1e-5 if eps < 1e-10 else 5e-2 if eps > 1e-5 else 1e-5 if lifted else 2e-3
    report.rtol = j.rtol
    cotangents = _cotangents(j)
    gradients = None if j.pull is None else np.stack([j.pull(v) for v in cotangents])
    site = _site(j, witness, j.point.x, cotangents, gradients, max(rounding, witness.eps / 2), lifted)
    if site is None:
        return
    j.site = site
    if gradients is not None and not np.isfinite(gradients).all():
        _not_finite(j, site)
        _count(j, witness)
        return
    problem = _transpose(j, site) or (_symmetry(j, site) if j.order == 2 else "")
    if problem:
        report.verdict, report.sentence = "FAIL", problem
        _count(j, witness)
        return
    _verdict(j, site)
    if (
        j.probes
        and report.verdict in ("PASS", "PASS*", "INCONCLUSIVE")
        and gradients is not None
        and not report.pattern
    ):
        _elsewhere(j, site)
    _count(j, witness)


def _count(j: Judgement, witness: Evaluator) -> None:
    if witness is not j.evaluator:
        j.report.evaluations += witness.count


def _lift(j: Judgement) -> tuple[Evaluator, bool]:
    """An evaluator in float64 for an input of lower precision (or a given reference), if it is the same function."""
    if j.reference is None and j.point.eps < 1e-10:
        return j.evaluator, False
    wide = Point(j.point.build(j.point.x), snap=False)
    wide.leaves = [
        leaf._replace(dtype=np.dtype(np.float64), name=old.name)
        for leaf, old in zip(wide.leaves, j.point.leaves, strict=True)
    ]
    wide.x, wide.scale, wide.eps = j.point.x, j.point.scale, float(np.finfo(float).eps)
    claim = j.claim
    reference = j.reference

    def function(tree: Any) -> Any:
        return claim.neighbour(tree) if reference is None else reference(*claim.arguments(tree))

    try:
        witness = Evaluator(function, wide, budget=j.evaluator.budget, progress=j.evaluator.progress)
    except Exception:  # noqa: BLE001 - a function that takes no float64 is simply not lifted
        return j.evaluator, False
    y32, y64 = j.evaluator.y0, witness.y0
    size = np.max(np.abs(y32), initial=0.0)
    eps = max(j.point.eps, j.evaluator.eps)
    if witness.eps > 1e-10 or y64.size != y32.size or not np.all(np.abs(y64 - y32) <= 1e3 * eps * size):
        if reference is not None:
            j.report.notes.append("the reference does not return the value of f at this point and is not used")
        return j.evaluator, False
    witness.bounds = j.evaluator.bounds
    return witness, eps > 1e-10


def _cotangents(j: Judgement) -> FloatArray:
    """Weights of the outputs: 1 for a scalar, else random ones, and one set for each array of several."""
    m = j.evaluator.y0.size
    if m == 1:
        return np.ones((1, 1))
    rows = [j.rng.choice([-1.0, 1.0], m) * j.rng.integers(8, 16, m) / 8.0 for _ in range(COTANGENTS)]
    sizes = [int(np.size(leaf)) for leaf in j.claim.out_leaves]
    if len(sizes) > 1:
        start = 0
        for size in sizes[:4]:
            row = np.zeros(m)
            row[start : start + size] = rows[0][start : start + size]
            rows.append(row)
            start += size
    return np.stack(rows)


def _site(
    j: Judgement,
    witness: Evaluator,
    x: FloatArray,
    cotangents: FloatArray,
    gradients: FloatArray | None,
    rounding: float,
    lifted: bool,
) -> Site | None:
    line = random_line(j.point, j.rng)
    if witness.left >= 18 + 12:
        noise = measure_noise(witness, x, line, cotangents)
    else:
        floor = rounding_floor(witness.y0, witness.eps)
        noise = Noise.assumed(4 * magnitude(cotangents * floor))
        j.report.notes.append("the budget was too small to measure the noise of f: four roundings are assumed")
    return Site(j.claim, j.point, witness, x, noise, cotangents, gradients, rounding, lifted)


def _transpose(j: Judgement, site: Site) -> str:
    """<v, J u> = <J' v, u> where the claim has both directions: exact, so it sees errors far below differences."""
    if j.claim.jvp is None or site.gradients is None:
        return ""
    u = random_line(j.point, j.rng).step
    forward = site.cotangents @ j.claim.push(site.x, u)
    backward = site.gradients @ u
    size = np.sum(np.abs(site.gradients * u), axis=1)
    defect = np.abs(forward - backward)
    if np.any(defect > 1e3 * site.rounding * 2 * size):
        worst = int(np.argmax(defect / np.maximum(size, 1e-300)))
        return (
            f"jvp and vjp are not transposes of each other: <v, J u> = {forward[worst]:.8g},"
            f" <J' v, u> = {backward[worst]:.8g}."
        )
    return ""


def _symmetry(j: Judgement, site: Site) -> str:
    """<w, H u> = <H w, u>: a Hessian is symmetric."""
    if j.pull is None or site.evaluator.y0.size != j.point.size:
        return ""
    u, w = (j.rng.choice([-1.0, 1.0], j.point.size) * j.rng.integers(8, 16, j.point.size) / 8.0 for _ in range(2))
    left, right = j.pull(u), j.pull(w)
    size = float(np.sum(np.abs(left * w)) + np.sum(np.abs(right * u)))
    defect = abs(float(left @ w - right @ u))
    if defect > 1e4 * 2 * site.rounding * size:
        return f"the Hessian is not symmetric: <w, H u> and <H w, u> differ by {defect / size:.2g} of their size."
    return ""


def _not_finite(j: Judgement, site: Site) -> None:
    """Entries that are claimed to be nan or infinite: wrong where the differences are finite."""
    assert site.gradients is not None
    report = j.report
    bad = np.nonzero(~np.isfinite(site.gradients).all(axis=0))[0]
    finite = np.where(np.isfinite(site.gradients), site.gradients, 0.0)
    safe = dataclasses.replace(site, gradients=finite)
    seen = safe.compare([coordinate(j.point, int(i)) for i in bad[:4]])
    first = j.point.name(int(bad[0]))
    value = site.gradients[:, bad[0]][~np.isfinite(site.gradients[:, bad[0]])][0]
    clear = [c for c in seen if c.status in ("ok", "kink") and np.isfinite(c.error)]
    if clear:
        c = clear[0]
        entry = c.direction.line.where
        assert entry is not None
        length = float(c.direction.line.step[0])
        report.verdict = "FAIL"
        report.sentence = (
            f"{bad.size} of {j.point.size} entries of the gradient are not finite: {j.point.name(int(entry[0]))} is"
            f" claimed to be {value}, the slope is {c.numeric / length:.6g} +- {c.error / length:.1g}"
            " (the branch of a where() that was not taken, or 0 times inf?)."
        )
        return
    report.sentence = (
        f"{first} is claimed to be {value}, and f has no finite slope there that differences could find"
        f" ({seen[0].status if seen else 'not computed'})."
    )


def _verdict(j: Judgement, site: Site) -> None:
    report, point = j.report, j.point
    assert j.rtol is not None
    few = site.evaluator.left < 6 * LINES
    every = j.elementwise if j.elementwise is not None else point.size <= SMALL
    every = every and site.evaluator.left >= 6 * point.size + (6 if few else 24)
    number = max(1, min(LINES, int(min(site.evaluator.left, 24) // 6)))
    if j.thorough and site.evaluator.left > 18 * LINES + 36:
        number = 3 * LINES
    full = [Direction(random_line(point, j.rng), "all", "all entries") for _ in range(number)]
    parts: list[Direction] = []
    if site.evaluator.left >= 6 * number + 36:
        parts = strata(point, None if site.gradients is None else site.gradients[0], j.rng)
        if every:
            parts = [d for d in parts if d.kind == "array"] if point.size > 8 else []
    seen = site.compare(full + parts, effort=3 if few else 16)
    if not seen:
        report.sentence = "the budget did not allow a single line of differences: 8 evaluations do."
        return
    kinks: list[Comparison] = []
    entries: list[Comparison] = []
    if every:
        entries = site.compare([coordinate(point, i) for i in range(point.size)], sharp=False)
        kinks = [c for c in entries if c.status == "kink"]
    if any(c.status == "kink" for c in seen):
        seen, kinks = _beside_kinks(j, site, seen, entries, kinks)
    mains = [c for c in seen if c.direction.kind == "all"]
    resolution(j, site, mains)
    suspects = settled(site, _suspects(j, site, seen, entries))
    first = [s.comparison for v in ("FAIL", "WARN", "INCONCLUSIVE") for s in suspects if s.verdict == v][:1]
    _keep_trace(j, site, first + sorted(mains or seen, key=lambda c: -c.z))
    let_pass(j, site, suspects)
    _worst(j, site, entries, suspects)
    say(j, site, seen, kinks, entries, suspects)


def _beside_kinks(
    j: Judgement, site: Site, seen: list[Comparison], entries: list[Comparison], kinks: list[Comparison]
) -> tuple[list[Comparison], list[Comparison]]:
    """Comparisons along directions that leave out the entries at kinks, and those entries on their own.

    The slopes on both sides of one kink may be far apart: an interval along all entries would hide errors in the rest.
    """
    point = j.point
    if entries:
        out = sorted({int(c.direction.line.where[0]) for c in kinks if c.direction.line.where is not None})
    else:
        x = site.x
        _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
        tied = np.nonzero((x == 0) | (counts[inverse] > 1))[0]
        rest = np.setdiff1d(np.arange(point.size), tied)
        out = tied.tolist()
        found: list[int] | None = None
        if not tied.size or (rest.size and has_kink(site, rest, j.rng)) or tied.size > point.size // 2:
            found = find_kinks(site, np.arange(point.size), j.rng)
            out = found if found is not None else out
        if found is None:
            j.report.notes.append(
                f"{len(out)} entries may be at kinks; a sample of them was held against the interval of slopes"
            )
        picked = j.rng.permutation(np.array(out, dtype=np.intp))[:SINGLE] if out else np.array([], dtype=np.intp)
        single = site.compare([coordinate(point, int(i)) for i in picked], sharp=False)
        kinks = [c for c in single if c.status == "kink"]
        entries.extend(single)
    keep = np.setdiff1d(np.arange(point.size), np.array(out, dtype=np.intp))
    together = [c for c in site.compare(_ties_kept(j, site, out)) if c.status != "kink"]
    if keep.size in {0, point.size}:
        return seen + together, kinks
    beside = [
        Direction(random_line(point, j.rng, keep), "all", "all entries that are not at a kink") for _ in range(LINES)
    ]
    return site.compare(beside) + together, kinks


def _ties_kept(j: Judgement, site: Site, out: list[int]) -> list[Direction]:
    """Directions along which equal entries stay equal: ties are kinks for each of their entries, not for all of them.

    Each entry of a tie may claim any share between none and all; together they must claim exactly all.
    """
    zero = [i for i in out if site.x[i] == 0]
    members = np.setdiff1d(np.arange(j.point.size), np.array(zero, dtype=np.intp))
    values, inverse = np.unique(site.x[members], return_inverse=True)
    if values.size == members.size:
        return []
    kept: list[Direction] = []
    for _ in range(2):
        q = j.rng.choice([-1.0, 1.0], values.size) * j.rng.integers(8, 16, values.size) / 8.0
        line = Line(q[inverse] * j.point.scale[members], members)
        kept.append(Direction(line, "together", "equal entries moved together"))
    return kept


def _keep_trace(j: Judgement, site: Site, comparisons: Sequence[Comparison]) -> None:
    ranked = comparisons[:3]
    j.report.trace = [
        {
            "name": c.direction.name or "half of the entries", "h": c.trace["h"], "D": c.trace["D"],
            "claimed": c.claimed, "sigma": c.trace["sigma"], "mismatch": c.mismatch, "allowance": c.allowance,
            "status": c.status, "left": c.left, "right": c.right,
        }
        for c in ranked
    ]  # fmt: skip
    if not ranked:
        return
    first, kept = ranked[0], j.report.trace[0]

    def sweep() -> dict[str, Any] | None:
        steps = all_steps(site, first)
        return None if steps is None else {**kept, "h": steps[0], "D": steps[1]}

    j.report._sweep = sweep  # noqa: SLF001 - the report is the judge's own


def _suspects(j: Judgement, site: Site, seen: list[Comparison], entries: list[Comparison]) -> list[Suspect]:
    """Disagreements drilled down to entries and weighed."""
    assert j.rtol is not None
    point = j.point
    gradients = site.gradients
    rms = (
        magnitude(gradients * point.scale) / np.sqrt(point.size)
        if gradients is not None
        else np.zeros(len(site.cotangents))
    )
    # Errors of this size are roundings of a gradient in its own precision, however surely they are seen.
    floor = (1e4 if site.rounding < 1e-10 else 64) * site.rounding * rms
    wrong = sorted((c for c in seen if c.wrong), key=lambda c: -c.z)
    suspects: list[Suspect] = []
    across = next((c for c in wrong if c.direction.kind == "all" and c.status != "kink"), None)
    if across is not None and point.size > 1:
        suspects += [s for s in [on_stairs(site, across, j.rtol)] if s is not None]
    single = [c for c in entries if c.wrong and (c.z > 2 or c.status == "kink")]
    if single:
        # Without a disagreement along a direction an entry must stand out of the many that were looked at.
        bar = 1.0 if wrong else 4.0
        ranked = sorted(single, key=lambda c: -c.mismatch)
        for c in [c for c in ranked if c.z > bar or c.status == "kink"][:4]:
            suspect = weigh(site, c, j.rtol, float(floor[c.projection]))
            if suspect.verdict == "WARN" and not wrong and c.z < 8:
                continue
            suspects.append(suspect)
            if suspect.verdict == "FAIL":
                return suspects
    if any(s.pattern for s in suspects):
        return suspects  # all entries disagree with the slope between jumps: halving would follow none of them
    looked: set[Any] = set()
    for c in wrong[:6]:
        if len(looked) >= 3:
            break
        drilled = point.size > 1 and c.direction.kind != "together"
        limit = rounding_limit(site, c)
        if c.mismatch <= limit:
            suspects.append(Suspect(-1, c, "OK", ROUNDINGS, limit))
            continue
        # Above a background of roundings every part disagrees a little, and the one at fault most.
        largest = limit > 2 * c.allowance
        found, splits = find_entry(site, c, j.rng, largest=largest) if drilled else (c, True)
        where = found.direction.line.where
        key = (found.projection, None if where is None else where.tobytes())
        if key in looked:
            continue
        looked.add(key)
        suspects.append(weigh(site, found, j.rtol, float(floor[c.projection]), splits))
        if suspects[-1].verdict == "FAIL":
            break
    return suspects + _everywhere(j, seen, suspects)


def _everywhere(j: Judgement, seen: list[Comparison], suspects: list[Suspect]) -> list[Suspect]:
    """A disagreement along most directions that came to nothing in the parts: it is there, if below the tolerance.

    Parts are measured with larger bounds than the whole, so an error may be seen in the whole only.
    """
    assert j.rtol is not None
    mains = [c for c in seen if c.direction.kind == "all"]
    clear = [c for c in mains if c.status != "kink" and c.z > ALONE]
    explained = any(s.verdict != "OK" or s.reason in (ROUNDINGS, CONFIRMED) for s in suspects)
    if explained or len(clear) < 2 or 2 * len(clear) <= len(mains):
        return []
    c = max(clear, key=lambda c: c.z)
    small = c.mismatch <= j.rtol * c.natural
    reason = "significant along most directions, and in no entry that was looked at"
    return [Suspect(-1, c, "WARN" if small else "INCONCLUSIVE", reason, c.mismatch)]


def _worst(j: Judgement, site: Site, entries: list[Comparison], suspects: list[Suspect]) -> None:
    """The table of the worst entries, and the pattern in the array of the first suspect."""
    point, report = j.point, j.report
    failing = [s for s in suspects if s.verdict in ("FAIL", "WARN")]
    sample = list(entries)
    if failing and site.evaluator.left >= 6:
        first = failing[0]
        c = first.comparison
        where = c.direction.line.where
        anchor = first.index if first.index >= 0 else int(where[0]) if where is not None else 0
        leaf = point.leaf_of(anchor)
        if not entries:
            pool = np.arange(leaf.start, leaf.stop)
            near = np.clip(np.arange(anchor - NEIGHBOURS, anchor + NEIGHBOURS + 1), leaf.start, leaf.stop - 1)
            room = int(min(SAMPLE // 2, site.evaluator.left // 6))
            picked = np.unique(np.concatenate([near, j.rng.permutation(pool)[:room], [anchor]]))[: room + 8]
            sample = site.compare([coordinate(point, int(i)) for i in picked], effort=6, sharp=False)
        _explain(j, site, sample, leaf, c.projection)
    elif failing:
        sample = [s.comparison for s in failing]
    sample += [s.comparison for s in suspects if s.index >= 0]
    rows: dict[int, dict[str, Any]] = {}
    for c in sorted(sample, key=lambda c: -(c.z if np.isfinite(c.z) else 1e300)):
        where = c.direction.line.where
        if where is None or where.size != 1 or int(where[0]) in rows:
            continue
        index = int(where[0])
        length = float(c.direction.line.step[0])
        leaf = point.leaf_of(index)
        rows[index] = {
            "name": point.name(index),
            "flat": index,
            "index": tuple(int(k) for k in np.unravel_index(index - leaf.start, leaf.shape)) if leaf.shape else (),
            "projection": c.projection,
            "claimed": c.claimed / length,
            "numeric": c.numeric / length,
            "error": c.error / abs(length),
            "relative": c.mismatch / max(abs(c.claimed), abs(c.numeric), 1e-300),
            "ratio": c.claimed / c.numeric if c.numeric != 0 else None,
            "x": float(site.x[index]),
            "status": c.status,
            "z": c.z,
        }
    report.worst = list(rows.values())[:16]


def _explain(j: Judgement, site: Site, sample: list[Comparison], leaf: Any, projection: int) -> None:
    if site.gradients is None:
        return
    mine = [
        c for c in sample
        if c.projection == projection and c.direction.line.where is not None and np.isfinite(c.error)
        and c.direction.line.where.size == 1 and leaf.start <= int(c.direction.line.where[0]) < leaf.stop
    ]  # fmt: skip
    unique = {int(c.direction.line.where[0]): c for c in mine}  # type: ignore[index]
    mine = [unique[i] for i in sorted(unique)]
    if not mine:
        return
    lengths = np.array([float(c.direction.line.step[0]) for c in mine])
    index = np.array(sorted(unique), dtype=np.intp) - leaf.start
    report_index = slice(leaf.start, leaf.stop)
    j.report.pattern = explain(
        np.array([c.claimed for c in mine]) / lengths, np.array([c.numeric for c in mine]) / lengths,
        np.array([c.allowance for c in mine]) / np.abs(lengths), index, leaf.shape,
        site.gradients[projection, report_index], site.x[report_index], site.evaluator.y0.size,
    )  # fmt: skip


def _elsewhere(j: Judgement, site: Site) -> None:
    """Other points, where only a failure counts: x jittered by a quarter, and with random signs."""
    claim, point = j.claim, j.point
    here = site.evaluator.y0
    for x, word in _others(j, site.x):
        if site.evaluator.left < 48:
            return
        base = np.round(x / (point.scale * 2.0**-18)) * point.scale * 2.0**-18
        if site.evaluator.bounds is not None:
            base = np.clip(base, *site.evaluator.bounds)
        try:
            with j.branches.watching():
                values, _ = site.evaluator.many(1, lambda _, at=base: at)  # type: ignore[misc]
            if not np.isfinite(values).all():
                continue
            _, pull = claim.forward(base)
            gradients = np.stack([pull(v) for v in site.cotangents])
        except ClaimProblem:
            raise
        except Exception:  # noqa: BLE001, S112 - outside the domain anything may be raised
            continue
        try:
            site.evaluator.y0 = values[0]
            _at_probe(j, site, base, gradients, word, here)
        finally:
            site.evaluator.y0 = here
        if j.report.verdict == "FAIL":
            return


def _others(j: Judgement, x: FloatArray) -> list[tuple[FloatArray, str]]:
    """The points of ``_elsewhere`` in words; with ``thorough`` four times as many, some of them further away."""
    found: list[tuple[FloatArray, str]] = []
    size = j.point.size
    for far in (1.0, 1.0, 2.0, 4.0) if j.thorough else (1.0,):
        jitter = x * (1 + 0.25 * far * j.rng.uniform(-1, 1, size))
        jitter = jitter + 0.25 * far * j.point.scale * (x == 0) * j.rng.uniform(-1, 1, size)
        flipped = np.where(j.rng.random(size) < 0.5, -jitter, jitter)
        found += [(jitter, "a neighbouring point"), (flipped, "a point with other signs")]
    return found


def _at_probe(j: Judgement, site: Site, base: FloatArray, gradients: FloatArray, word: str, here: FloatArray) -> None:
    assert j.rtol is not None
    report = j.report
    if not np.isfinite(gradients).all():
        return
    growth = max(1.0, float(np.max(np.abs(site.evaluator.y0)) / max(float(np.max(np.abs(here))), 1e-300)))
    if growth < 1e3:
        quick = Noise(*(np.asarray(part * growth) for part in site.noise))
    else:
        quick = measure_noise(site.evaluator, base, random_line(j.point, j.rng), site.cotangents)
    there = dataclasses.replace(site, x=base, gradients=gradients, noise=quick)
    lines = [Direction(random_line(j.point, j.rng), "all", "all entries") for _ in range(4 if j.thorough else 2)]
    if j.thorough and j.point.size <= SMALL:
        lines += [coordinate(j.point, i) for i in range(j.point.size)]
    wrong = [c for c in there.compare(lines, effort=6) if c.wrong]
    if not wrong:
        return
    exact = measure_noise(site.evaluator, base, lines[0].line, site.cotangents)
    there = dataclasses.replace(there, noise=exact)
    wrong = [c for c in there.compare(lines) if c.wrong]
    if not wrong:
        return
    suspects = settled(there, _suspects(j, there, wrong, []))
    failing = [s for s in suspects if s.verdict == "FAIL"]
    if not failing:
        return
    place = failing[0].index
    at = f" ({j.point.name(place)} = {base[place]:.6g})" if place >= 0 else ""
    j.site = there
    _worst(j, there, [], suspects)
    _keep_trace(j, there, [failing[0].comparison])
    report.verdict = "FAIL"
    report.sentence = f"right at x, wrong at {word}{at}: {sentence_on(there, failing[0])}."
