"""A gradient that is right, a function and a point -> how many mistakes planted in it a check at that point catches."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.check.claim import selected_point
from chainrule.check.core import check
from chainrule.check.report import Report
from chainrule.containers import flatten, unflatten
from chainrule.errors import ArgumentError
from chainrule.numerical.point import Point
from chainrule.provider import default_provider

__all__ = ["Mutant", "MutationPower", "mutation_power"]

Backward = Callable[..., Any]  # (*args, v) -> gradient; for a function of one number v is 1


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One planted mistake: its ``kind``, ``place`` (array or entry), what it did, and what the check said.

    ``change`` is the norm of the change of the gradient at the point, relative to the gradient's; ``reason`` says why
    a mistake was not caught.
    """

    kind: str
    place: str
    change: float
    verdict: str
    caught: bool
    reason: str


@dataclasses.dataclass(frozen=True, repr=False)
class MutationPower:
    """What became of the planted mistakes: ``mutants`` in order, ``baseline`` the check of the gradient as it is."""

    mutants: list[Mutant]
    baseline: Report
    seconds: float

    @property
    def caught(self) -> int:
        """How many were caught."""
        return sum(mutant.caught for mutant in self.mutants)

    @property
    def power(self) -> float:
        """The share that was caught, from 0 to 1."""
        return self.caught / len(self.mutants)

    @property
    def missed(self) -> list[Mutant]:
        """Those that were not, each with its reason."""
        return [mutant for mutant in self.mutants if not mutant.caught]

    def __repr__(self) -> str:
        lines = [f"{self.caught} of {len(self.mutants)} planted mistakes are caught at this point ({self.power:.0%})"]
        kinds = dict.fromkeys(mutant.kind for mutant in self.mutants)
        width = max(len(kind) for kind in kinds)
        for kind in kinds:
            alike = [mutant for mutant in self.mutants if mutant.kind == kind]
            lines.append(f"  {kind:<{width}}  {sum(m.caught for m in alike)} of {len(alike)}")
        if self.missed:
            lines.append("not caught:")
            lines.extend(f"  {m.kind}, {m.place}: {m.reason}" for m in self.missed)
        lines.append(f"the gradient itself: {self.baseline.verdict}; {self.seconds:.1f} s")
        return "\n".join(lines)


def mutation_power(
    f: Callable[..., Any],
    grad: Callable[..., Any] | None,
    args: Any,
    n: int = 20,
    seed: int = 0,
    *,
    vjp: Callable[..., Any] | None = None,
    argnums: int | Sequence[int] = 0,
    **options: Any,
) -> MutationPower:
    """Plants ``n`` mistakes in a gradient, one at a time, and says how many ``check`` catches at ``args``.

    It measures the point, not the gradient: zeros, a symmetric matrix or the flat side of a relu let mistakes pass that
    change nothing there (``check`` looks at points nearby too, unless ``probes=False``). ``grad(*args)`` or
    ``vjp(*args, v)`` is the gradient, arrays of the shapes of the arguments (``grad=None`` without ``vjp``: the
    registered backend's); ``args`` is the tuple of arguments, or the only one; the other ``options`` are those of
    ``check``. Kinds: a factor, the sign, an entry zero, two entries swapped, transposed, shifted by one, a dropped
    term, 1e-3 in one entry, rounded to float32, stale (that of the call before). A kind that does not fit (one number
    can not be swapped) is left out.

    Raises ``CheckFailed`` if the gradient is wrong to begin with or can not be judged at ``args``, ``ArgumentError`` if
    there is none, or ``n`` < 1.

    >>> import numpy as np
    >>> f, g = lambda x: np.sum(np.exp(x)), np.exp
    >>> apart = mutation_power(f, g, np.array([0.3, -1.0, 2.0]), probes=False)
    >>> equal = mutation_power(f, g, np.zeros(3), probes=False)
    >>> apart.power > equal.power
    True
    >>> next(m.reason for m in equal.missed if m.kind == "shifted by one")
    'it changes nothing at this point'
    """
    began = time.perf_counter()
    if n < 1:
        raise ArgumentError(f"n={n}: there is nothing to plant", cure="plant at least one mistake")
    args = args if isinstance(args, tuple) else (args,)
    right, form = _backward(f, grad, vjp, argnums)

    def judged(backward: Backward) -> Report:
        claim: dict[str, Any] = {form: _as_claim(backward, form)}
        return check(f, *args, argnums=argnums, seed=seed, **claim, **options)

    baseline = judged(right)
    if baseline.verdict in ("FAIL", "INCONCLUSIVE"):
        baseline.raise_if_wrong()
    rng = np.random.default_rng(seed)
    point, _ = selected_point(f, args, argnums, None, snap=False)
    y_leaves, y_structure = flatten(f(*copy.deepcopy(args)))
    cotangent = unflatten(y_structure, [_like(leaf, rng.uniform(0.5, 1.5, np.shape(leaf))) for leaf in y_leaves])
    cotangent = 1.0 if form == "grad" else cotangent
    plant = _Planter(right, point, args, cotangent, rng)
    mutants: list[Mutant] = []
    turn = idle = 0
    while len(mutants) < n and idle < len(_KINDS):
        kind = _KINDS[turn % len(_KINDS)]
        turn += 1
        planted = plant(kind)
        idle = idle + 1 if planted is None else 0
        if planted is None:
            continue
        wrong, place, change = planted
        report = judged(wrong)
        caught = report.verdict == "FAIL" or (report.verdict == "WARN" and baseline.verdict != "WARN")
        mutants.append(Mutant(kind, place, change, report.verdict, caught, "" if caught else _reason(change, report)))
    if not mutants:
        raise ArgumentError(
            "the gradient has no entry that a mistake could be planted in", cure="give a point with one"
        )
    return MutationPower(mutants, baseline, time.perf_counter() - began)


def _backward(
    f: Callable[..., Any], grad: Callable[..., Any] | None, vjp: Callable[..., Any] | None, argnums: Any
) -> tuple[Backward, str]:
    """The gradient as a function of the arguments and a cotangent, and the form in which ``check`` takes it."""
    if grad is not None and vjp is not None:
        raise ArgumentError("both grad and vjp were given", cure="give one: the one that your program uses")
    if grad is not None:
        return lambda *call: grad(*call[:-1]), "grad"
    if vjp is not None:
        return vjp, "vjp"
    provider = default_provider()
    if provider is None:
        raise ArgumentError("no gradient was given and no backend is registered", cure="pass grad or vjp=")
    return lambda *call: provider(f, call[:-1], argnums)[1](call[-1]), "vjp"


def _as_claim(backward: Backward, form: str) -> Callable[..., Any]:
    return (lambda *args: backward(*args, 1.0)) if form == "grad" else backward


def _reason(change: float, report: Report) -> str:
    if change == 0:
        return "it changes nothing at this point"
    told = f"it changes the gradient by {change:.1e} of its norm"
    if report.verdict in ("PASS", "PASS*"):
        return f"{told}: {report.verdict}, with a resolution of {report.resolution:.1e}"
    return f"{told}: {report.verdict}, {report.sentence}"


def _like(leaf: Any, values: Any) -> Any:
    """Values in the type that a leaf has: a Python float stays one, an array keeps its dtype."""
    if isinstance(leaf, np.ndarray):
        return np.asarray(values, dtype=leaf.dtype)
    if isinstance(leaf, np.generic):
        return leaf.dtype.type(values)
    return float(values) if isinstance(leaf, float) else np.asarray(values, dtype=np.asarray(leaf).dtype)


_KINDS = (
    "factor",
    "sign",
    "entry zero",
    "entries swapped",
    "transposed",
    "shifted by one",
    "dropped term",
    "1e-3 in one entry",
    "float32 rounding",
    "stale",
)


class _Planter:
    """Makes one wrong backward function of the right one, at a random place, fixed when it is planted."""

    def __init__(
        self, right: Backward, point: Point, args: tuple[Any, ...], cotangent: Any, rng: np.random.Generator
    ) -> None:
        self.right, self.point, self.args, self.cotangent, self.rng = right, point, args, cotangent, rng
        self.leaves, self.structure = flatten(right(*copy.deepcopy((*args, cotangent))))

    def __call__(self, kind: str) -> tuple[Backward, str, float] | None:
        """The wrong function, where the mistake is, and the change that it makes; None if the kind does not fit."""
        places = [k for k, leaf in enumerate(self.leaves) if leaf is not None and np.size(leaf)]
        if not places:
            return None
        if kind == "stale":
            return self._stale()
        if kind == "dropped term" and sum(np.size(leaf) for leaf in flatten(self.cotangent)[0]) > 1:
            return self._forgotten_output()
        # Places are tried in random order, because a kind may fit one array (two axes, say) and not another.
        for k in self.rng.permutation(places):
            found = self._change(kind, int(k))
            if found is not None:
                change, place = found
                wrong = self._with(int(k), change)
                return wrong, place, self._distance(wrong, self.args)
        return None

    def _with(self, k: int, change: Callable[[Any], Any]) -> Backward:
        right = self.right

        def wrong(*call: Any) -> Any:
            leaves, structure = flatten(right(*call))
            leaves[k] = _like(leaves[k], change(np.array(leaves[k])))
            return unflatten(structure, leaves)

        return wrong

    def _change(self, kind: str, k: int) -> tuple[Callable[[Any], Any], str] | None:
        """The change of one array and its place in words."""
        array, rng, name = np.asarray(self.leaves[k]), self.rng, self.point.leaves[k].name
        start = self.point.leaves[k].start
        one = int(rng.integers(array.size))
        if kind == "factor":
            factor = float(rng.choice([0.5, 2.0, float(array.size)] if array.size > 2 else [0.5, 2.0]))
            return (lambda g: g * factor), f"{name} times {factor:g}"
        if kind == "sign":
            return np.negative, name
        if kind == "entry zero":
            return (lambda g: _at(g, one, 0.0)), self.point.name(start + one)
        if kind == "1e-3 in one entry":
            return (lambda g: _at(g, one, 1.001)), self.point.name(start + one)
        if kind == "float32 rounding" and array.dtype == np.float64:
            return (lambda g: g.astype(np.float32)), name
        if array.size < 2:
            return None
        if kind == "entries swapped":
            other = (one + 1 + int(rng.integers(array.size - 1))) % array.size
            return (lambda g: _swapped(g, one, other)), (
                f"{self.point.name(start + one)} and {self.point.name(start + other)}"
            )
        if kind == "transposed" and array.ndim > 1 and sum(side > 1 for side in array.shape) > 1:
            # An array that is not square keeps its shape, or the shape alone would give it away.
            return (lambda g: np.swapaxes(g, -1, -2).reshape(g.shape)), name
        if kind == "shifted by one":
            return (lambda g: np.roll(g.ravel(), 1).reshape(g.shape)), name
        if kind == "dropped term":
            count = max(array.size // 4, 1)
            first = int(rng.integers(array.size - count + 1))
            return (lambda g: _without(g, first, count)), (
                f"{count} of {array.size} entries of {name} from {self.point.name(start + first)}"
            )
        return None

    def _forgotten_output(self) -> tuple[Backward, str, float]:
        """The path through one entry of the output is left out."""
        sizes = [np.size(leaf) for leaf in flatten(self.cotangent)[0]]
        k = int(self.rng.choice([i for i, size in enumerate(sizes) if size]))
        one = int(self.rng.integers(sizes[k]))
        right = self.right

        def wrong(*call: Any) -> Any:
            leaves, structure = flatten(call[-1])
            leaves[k] = _like(leaves[k], _at(np.array(leaves[k]), one, 0.0))
            return right(*call[:-1], unflatten(structure, leaves))

        place = f"entry {one} of the output" if len(sizes) == 1 else f"entry {one} of array {k} of the output"
        return wrong, f"the path through {place}", self._distance(wrong, self.args)

    def _stale(self) -> tuple[Backward, str, float]:
        """The gradient at the arguments of the call before; the first call has none before it and is right."""
        right, before = self.right, list[tuple[Any, ...]]()

        def wrong(*call: Any) -> Any:
            before.append(copy.deepcopy(call[:-1]))
            old = before.pop(0) if len(before) > 1 else before[0]
            return right(*copy.deepcopy(old), call[-1])

        # At the point itself nothing is wrong: what counts is the change from the arguments of another call.
        moved = copy.deepcopy(self.args)
        for leaf in flatten(moved)[0]:
            if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f":
                leaf *= 1.0 + 2.0**-6
        with np.errstate(all="ignore"):
            change = self._distance(lambda *call: right(*moved, call[-1]), self.args)
        return wrong, "the call before", change

    def _distance(self, wrong: Backward, args: tuple[Any, ...]) -> float:
        """How far a wrong gradient at the point is from the right one, relative to the norm of that."""
        leaves = flatten(wrong(*copy.deepcopy((*args, self.cotangent))))[0]
        pairs = [(a, b) for a, b in zip(leaves, self.leaves, strict=True) if a is not None and b is not None]
        gap = sum(float(np.sum((np.asarray(a, dtype=float) - np.asarray(b, dtype=float)) ** 2)) for a, b in pairs)
        size = sum(float(np.sum(np.asarray(b, dtype=float) ** 2)) for _, b in pairs)
        return float(np.sqrt(gap / size)) if size else float(gap > 0)


def _at(g: Any, index: int, factor: float) -> Any:
    g.flat[index] *= factor
    return g


def _swapped(g: Any, one: int, other: int) -> Any:
    g.flat[one], g.flat[other] = g.flat[other], g.flat[one]
    return g


def _without(g: Any, first: int, count: int) -> Any:
    g.flat[first : first + count] = 0
    return g
