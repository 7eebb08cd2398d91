"""The checks that every rule of the table must pass; each raises AssertionError with the rule's name and figures."""

from __future__ import annotations

import itertools
from typing import Any

import latex2mathml.converter
import numpy as np
from tests.rules.points import Case
from tests.rules.witness import slope

from chainrule.build import Builder
from chainrule.errors import NoRule, NotDifferentiable
from chainrule.program import Program, array_type
from chainrule.rule import Cost, Discrete, Elementwise, Rule
from chainrule.transforms.backprop import backprop
from chainrule.transforms.batch import batch
from chainrule.transforms.forward import forward
from chainrule.transforms.simplify import simplify

__all__ = [
    "check_batch", "check_facets", "check_first_order", "check_float32", "check_second_order", "check_text",
    "check_value", "differentiable", "record",
]  # fmt: skip

EPS = float(np.finfo(np.float64).eps)
#: Roundings that one partial may make, in units of its terms: a dozen operations of one unit, and some in the library.
ROUNDINGS = 64


def record(rule: Rule, case: Case) -> Program:
    """The program of one step."""
    builder = Builder(rule.name)
    inputs = [
        builder.input(array_type(np.shape(one), np.asarray(one).dtype), f"x{n}") for n, one in enumerate(case.arguments)
    ]
    made = builder.record(rule, inputs, case.params)
    return builder.finish(made if isinstance(made, tuple) else [made]).verify()


def results(rule: Rule, case: Case) -> tuple[Any, ...]:
    """What NumPy makes of it."""
    with np.errstate(all="ignore"):
        made = rule.value(*case.arguments, *case.params)
    return made if isinstance(made, tuple) else (made,)


def floats(arrays: Any) -> list[int]:
    """Positions of the floating arrays."""
    return [place for place, one in enumerate(arrays) if np.asarray(one).dtype.kind == "f"]


def differentiable(rule: Rule, case: Case) -> list[int]:
    """Positions of the arguments that the rule has a derivative in; the others must be refused by the right error."""
    program = record(rule, case)
    kept = []
    for place in floats(case.arguments):
        try:
            backprop(program, [place], seeded=True)
        except (NotDifferentiable, NoRule):
            continue
        kept.append(place)
    return kept


def dot(arrays: Any, others: Any) -> tuple[float, float]:
    """The sum of products, and that of their sizes."""
    products = [np.asarray(one, float) * np.asarray(other, float) for one, other in zip(arrays, others, strict=True)]
    return float(sum(one.sum() for one in products)), float(sum(np.abs(one).sum() for one in products))


def _directions(arrays: Any, rng: np.random.Generator) -> list[Any]:
    return [rng.uniform(0.5, 1.0, np.shape(one)) * rng.choice([-1.0, 1.0], np.shape(one)) for one in arrays]


def _moved(case: Case, active: list[int], directions: list[Any], t: float) -> Case:
    arguments = list(case.arguments)
    for place, direction in zip(active, directions, strict=True):
        arguments[place] = arguments[place] + t * direction
    return Case(tuple(arguments), case.params)


def _seeds(found: Any, rng: np.random.Generator) -> list[Any]:
    kept = floats(found)
    return [
        np.asarray(
            rng.uniform(0.5, 1.0, np.shape(one)) if place in kept else np.zeros(np.shape(one)), np.asarray(one).dtype
        )
        for place, one in enumerate(found)
    ]


def _equal(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return (
        one.shape == other.shape
        and one.dtype == other.dtype
        and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    )


def check_value(rule: Rule, case: Case) -> None:
    """The recorded program computes what the rule's value computes, with the shape and dtype that were inferred."""
    program = record(rule, case)
    wanted = results(rule, case)
    for number, (one, other) in enumerate(zip(program.run(case.arguments), wanted, strict=True)):
        kind = program.type_of(program.outputs[number])
        assert kind.shape == np.shape(other), f"{rule.name}: inferred shape {kind.shape}, got {np.shape(other)}"
        assert kind.dtype == np.asarray(other).dtype, (
            f"{rule.name}: inferred {kind.dtype}, got {np.asarray(other).dtype}"
        )
        assert _equal(one, other), f"{rule.name}: {one} is not {other}"


def check_first_order(rule: Rule, case: Case) -> None:
    """Backward and forward agree with each other to rounding, and with the witness to its error."""
    found = results(rule, case)
    active = differentiable(rule, case)
    if not active or not floats(found):
        return
    rng = np.random.default_rng(1)
    program = record(rule, case)
    seeds, directions = _seeds(found, rng), _directions([case.arguments[place] for place in active], rng)
    reverse = simplify(backprop(program, active, seeded=True)).verify()
    adjoints = reverse.run([*case.arguments, *seeds])
    for place, adjoint in zip(active, adjoints, strict=True):
        argument = np.asarray(case.arguments[place])
        assert np.shape(adjoint) == argument.shape, f"{rule.name}: adjoint {place} has shape {np.shape(adjoint)}"
        assert adjoint.dtype == argument.dtype, f"{rule.name}: adjoint {place} is {adjoint.dtype}"
    backward, size = dot(adjoints, directions)
    tangents = simplify(forward(program, active)).verify().run([*case.arguments, *directions])[len(found) :]
    kept = floats(found)
    onward, other = dot([tangents[place] for place in kept], [seeds[place] for place in kept])
    rounding = ROUNDINGS * EPS * max(size, other)
    assert abs(backward - onward) <= rounding, f"{rule.name}: <w, Jv> is {onward!r}, <J'w, v> is {backward!r}"
    if isinstance(rule, Discrete):
        assert not any(np.any(one) for one in adjoints), f"{rule.name} is discrete"
        return

    def along(t: float) -> tuple[float, float]:
        made = results(rule, _moved(case, active, directions, t))
        return dot([made[place] for place in kept], [seeds[place] for place in kept])

    _agrees(f"{rule.name}, first order", backward, rounding, along)


def _agrees(title: str, mine: float, rounding: float, along: Any) -> None:
    # Where a function is constant the witness is exact, and so must the derivative be.
    seen = slope(along)
    assert seen.error <= 1e-7 * (1 + abs(seen.value)), f"{title}: the witness is too weak: {seen}"
    assert abs(mine - seen.value) <= seen.error + rounding, f"{title}: {mine!r}, the witness has {seen}"


def check_second_order(rule: Rule, case: Case) -> None:
    """Backprop of backprop, and forward of backprop, against differences of backprop."""
    found = results(rule, case)
    active = differentiable(rule, case)
    if not active or not floats(found) or isinstance(rule, Discrete):
        return
    rng = np.random.default_rng(2)
    seeds, directions = _seeds(found, rng), _directions([case.arguments[place] for place in active], rng)
    first = simplify(backprop(record(rule, case), active, seeded=True)).verify()
    again = simplify(backprop(first, active, seeded=True)).verify()
    bends = again.run([*case.arguments, *seeds, *directions])
    backward, size = dot(bends, directions)
    tangents = simplify(forward(first, active)).verify().run([*case.arguments, *seeds, *directions])[len(active) :]
    onward, other = dot(tangents, directions)

    def along(t: float) -> tuple[float, float]:
        return dot(first.run([*_moved(case, active, directions, t).arguments, *seeds]), directions)

    rounding = ROUNDINGS * EPS * max(size, other, along(0.0)[1])
    assert abs(backward - onward) <= rounding, f"{rule.name}, second order: {onward!r} forward, {backward!r} backward"
    _agrees(f"{rule.name}, second order", backward, rounding, along)


def check_batch(rule: Rule, case: Case) -> None:
    """A batch is a Python loop, whichever arguments are batched."""
    size = 3
    program = record(rule, case)
    rng = np.random.default_rng(3)
    for flags in itertools.product((False, True), repeat=len(case.arguments)):
        if not any(flags):
            continue
        rows = []
        for _ in range(size):
            row = list(case.arguments)
            for place, yes in enumerate(flags):
                one = row[place]
                if yes and one.dtype.kind == "f":
                    row[place] = one * rng.uniform(0.98, 1.02, one.shape)
                elif yes and one.dtype.kind in "iu" and one.ndim:
                    row[place] = rng.permuted(one, axis=-1)
            rows.append(row)
        given = [
            np.stack([row[place] for row in rows]) if yes else case.arguments[place] for place, yes in enumerate(flags)
        ]
        made = simplify(batch(program, flags, size)).verify().run(given)
        for number, one in enumerate(made):
            wanted = np.stack([np.asarray(program.run(row)[number]) for row in rows])
            assert one.dtype == wanted.dtype, f"{rule.name}: batched {flags}, {one.dtype} is not {wanted.dtype}"
            assert one.shape == wanted.shape, f"{rule.name}: batched {flags}, shape {one.shape} is not {wanted.shape}"
            if one.dtype.kind in "iub":
                assert np.array_equal(one, wanted), f"{rule.name}: batched {flags}"
            elif one.size:
                # Another order of the sums inside, so the roundings are those of the largest element.
                bound = ROUNDINGS * np.finfo(one.dtype).eps * np.max(np.abs(wanted), initial=0)
                assert np.all(np.abs(one - wanted) <= bound), f"{rule.name}: batched {flags}"


def check_float32(rule: Rule, case: Case) -> None:
    """float32 stays float32, and is the float64 result of the same numbers up to their own rounding."""
    single = Case(
        tuple(one.astype(np.float32) if one.dtype.kind == "f" else one for one in map(np.asarray, case.arguments)),
        case.params,
    )
    check_value(rule, single)
    found = results(rule, single)
    active = differentiable(rule, single)
    if not active or not floats(found):
        return
    rng = np.random.default_rng(4)
    seeds = _seeds(found, rng)
    reverse = simplify(backprop(record(rule, single), active, seeded=True)).verify()
    adjoints = reverse.run([*single.arguments, *seeds])
    double = Case(
        tuple(one.astype(np.float64) if one.dtype.kind == "f" else one for one in single.arguments), single.params
    )
    wide = [one.astype(np.float64) if one.dtype.kind == "f" else one for one in seeds]
    exact = simplify(backprop(record(rule, double), active, seeded=True))
    wanted = exact.run([*double.arguments, *wide])
    eps = float(np.finfo(np.float32).eps)
    moved = []
    for _ in range(4):
        nudged = [
            one * (1 + eps * rng.choice([-1.0, 1.0], one.shape)) if one.dtype.kind == "f" else one
            for one in double.arguments
        ]
        moved.append(exact.run([*nudged, *wide]))
    for number, (one, other) in enumerate(zip(adjoints, wanted, strict=True)):
        assert one.dtype == np.float32, f"{rule.name}: the adjoint of a float32 is {one.dtype}"
        change = np.max([np.abs(row[number] - other) for row in moved], axis=0)
        spread = np.max(np.abs(other), initial=0) if not isinstance(rule, Elementwise) else np.abs(other)
        bound = ROUNDINGS * (eps * spread + np.max(change, initial=0))
        assert np.all(np.abs(one - other) <= bound), f"{rule.name}: {one} in float32, {other} in float64"


def check_text(rule: Rule, case: Case) -> None:
    """A program of the rule, and its gradient, print and parse to themselves."""
    program = record(rule, case)
    assert Program.parse(str(program), program.constants) == program
    active = differentiable(rule, case)
    if active and floats(results(rule, case)):
        reverse = backprop(program, active, seeded=True)
        assert Program.parse(str(reverse), reverse.constants) == reverse
    cost = program.cost()
    assert min(cost) >= 0


def check_facets(rule: Rule) -> None:
    """The LaTeX compiles; there is a cost; an elementwise rule has a native form."""
    shown = rule.latex.format(*"xyzuvw", **dict.fromkeys(rule.params, "0"))
    assert shown.count("{") == shown.count("}"), f"{rule.name}: braces of {shown}"
    assert latex2mathml.converter.convert(shown).startswith("<math"), rule.name
    assert isinstance(rule.cost, Cost) or callable(rule.cost), rule.name
    if isinstance(rule, Elementwise):
        assert rule.native, f"{rule.name} has no native form"
