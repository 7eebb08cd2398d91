"""Every facet of every rule, by going over the table; and the testers themselves, by planted mistakes."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mpmath
import numpy as np
import pytest
from tests.rules import table
from tests.rules.points import Case, cases
from tests.rules.twins import AMPLIFIED, CONSTANT_BY_PIECES, EDGES, TWINS, WITHOUT_TWIN, edges

import chainrule.rules
from chainrule.rule import LAZY, RULES, Control, Cost, Discrete, Elementwise, Gather, Index, Opaque, Rule, Undefined

for _module in LAZY.values():
    importlib.import_module(_module)

#: Programs in programs have no value of their own; their tests are with the transforms that expand them.
NAMES = sorted(name for name, rule in RULES.items() if not isinstance(rule, Control))
#: The value is the argument rounded to fewer digits: differences see the rounding.
ROUNDS_ITS_ARGUMENT = {"as_float16", "as_float32"}

#: Rules that are nothing without another one, with whose tests they are tested.
PART_OF = {"tie_weights": "max"}

ALL = pytest.mark.parametrize("name", NAMES)


def each(name: str) -> Iterator[tuple[Rule, Case]]:
    rule = RULES[name]
    for case in cases(rule):
        yield rule, case


@ALL
def test_facets(name: str) -> None:
    table.check_facets(RULES[name])
    assert cases(RULES[name]) or PART_OF[name] in RULES, f"{name} has no points"


@ALL
def test_value(name: str) -> None:
    for rule, case in each(name):
        table.check_value(rule, case)


@ALL
def test_first_order(name: str) -> None:
    for rule, case in each(name):
        if name not in ROUNDS_ITS_ARGUMENT:
            table.check_first_order(rule, case)


@ALL
def test_second_order(name: str) -> None:
    for rule, case in each(name):
        if name not in ROUNDS_ITS_ARGUMENT:
            table.check_second_order(rule, case)


@ALL
def test_batch(name: str) -> None:
    for rule, case in each(name):
        table.check_batch(rule, case)


@ALL
def test_float32(name: str) -> None:
    for rule, case in each(name):
        table.check_float32(rule, case)


@ALL
def test_text(name: str) -> None:
    for rule, case in each(name):
        table.check_text(rule, case)


def test_the_checks_are_not_empty() -> None:
    """A rule that states a partial is differentiated in that argument, by every case."""
    for name in ELEMENTWISE:
        for rule, case in each(name):
            stated = [
                place for place, one in enumerate(RULES[name].partials)  # type: ignore[attr-defined]
                if not isinstance(one, Undefined) and place not in MISSING.get(name, ())
                and np.asarray(case.arguments[place]).dtype.kind == "f"
            ]  # fmt: skip
            assert table.differentiable(rule, case) == stated, name
    for name, rule in RULES.items():
        if name.startswith("user."):  # another test's
            continue
        if isinstance(rule, Index | Gather):
            assert any(table.differentiable(rule, case) for case in cases(rule)), name
        if isinstance(rule, Opaque):
            assert any(table.differentiable(rule, case) for case in cases(rule)) or name in PART_OF, name


# --- the partials of elementwise rules against mpmath, at the edges ---------------------------------------------------

ELEMENTWISE = sorted(name for name, rule in RULES.items() if isinstance(rule, Elementwise))
VARYING = [name for name in ELEMENTWISE if any(callable(one) for one in RULES[name].partials)]  # type: ignore[attr-defined]


def test_every_elementwise_rule_has_a_twin_or_a_reason() -> None:
    missing = [name for name in VARYING if name not in TWINS and name not in WITHOUT_TWIN]
    assert not missing
    known = set(TWINS) | set(WITHOUT_TWIN) | set(AMPLIFIED) | set(EDGES) | CONSTANT_BY_PIECES
    assert known <= set(ELEMENTWISE)
    assert not set(TWINS) & set(WITHOUT_TWIN)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_partials_against_mpmath(name: str) -> None:
    """The error of a partial is at most what rounding the arguments by one unit would do, times a few."""
    rule: Any = RULES[name]
    twin = TWINS[name]
    points = [point for point in itertools.product(*edges(rule)) if twin_is_smooth(name, point)]
    assert points
    failures = []
    for place, partial in enumerate(rule.partials):
        if isinstance(partial, Undefined) or not callable(partial) or place in MISSING.get(name, ()):
            continue
        columns = [np.array(column) for column in zip(*points, strict=True)]
        with np.errstate(all="ignore"):
            found = np.broadcast_to(partial(rule.value(*columns), *columns), len(points))
        for point, one in zip(points, found.tolist(), strict=True):
            failure = distance(twin, point, place, one, AMPLIFIED.get(name))
            if failure:
                failures.append(f"partial {place} at {point}: {failure}")
    assert not failures, "\n".join([f"{name}: {len(failures)} of {len(points)}", *failures[:12]])


#: Arguments whose derivative exists but is not implemented (asking raises NoRule).
MISSING = {
    "gammainc": (0,), "gammaincc": (0,), "betainc": (0, 1), "hyp1f1": (0, 1), "hyperu": (0, 1),
}  # fmt: skip


def twin_is_smooth(name: str, point: tuple[float, ...]) -> bool:
    return not (len(set(point)) < len(point) and name in {"maximum", "minimum", "fmax", "fmin", "clip"})


def mp_partial(twin: Any, point: list[Any], place: int) -> Any:
    """Central differences with so small a step, in so many digits, that neither error shows in forty digits."""
    x = point[place]
    start = mpmath.mp.dps
    while True:
        h = min(abs(x) or mpmath.mpf(1), mpmath.mpf(1)) * mpmath.mpf(10) ** -25
        right = twin(*point[:place], x + h, *point[place + 1 :])
        left = twin(*point[:place], x - h, *point[place + 1 :])
        change = abs(right - left)
        enough = abs(right) * mpmath.mpf(10) ** (40 - mpmath.mp.dps)
        if change > enough or right == left == 0 or mpmath.mp.dps > start + 1000:
            mpmath.mp.dps = start
            return (right - left) / (2 * h)
        mpmath.mp.dps += 350


def distance(twin: Any, point: tuple[float, ...], place: int, found: float, amplified: Any) -> str:
    """Why the partial is wrong, or an empty string."""
    reach = max([abs(math.log10(abs(one))) for one in point if one], default=0)
    with mpmath.workdps(70 + int(2 * reach)):
        exact = [mpmath.mpf(one) for one in point]
        wanted = mp_partial(twin, exact, place)
        # What the partial does when an argument is rounded.
        unit = mpmath.mpf(2) ** -52
        moved = mpmath.mpf(0)
        for other, x in enumerate(exact):
            if not isinstance(point[other], int) and x:
                row = [*exact]
                row[other] = x * (1 + unit / 2**10)
                moved += abs(mp_partial(twin, row, place) - wanted) * 2**10
        factor = 8 if amplified is None else 8 * amplified(*point)
        bound = factor * (unit * abs(wanted) + moved) + mpmath.mpf(2) ** -1020
        if math.isinf(found):
            beyond = abs(wanted) + bound > mpmath.mpf(10) ** 307 and (wanted > 0) == (found > 0)
            return "" if beyond else f"{found}, not {mpmath.nstr(wanted, 17)}"
        if math.isnan(found) or abs(found - wanted) > bound:
            return f"{found!r}, not {mpmath.nstr(wanted, 20)} within {mpmath.nstr(bound, 3)}"
    return ""


# --- the testers are tested -------------------------------------------------------------------------------------------


@contextmanager
def planted(rule: Rule) -> Iterator[Rule]:
    """The rule in the table, for as long as the test runs."""
    assert rule.name not in RULES
    RULES[rule.name] = rule
    try:
        yield rule
    finally:
        del RULES[rule.name]


def _binary(a: Any, b: Any) -> Elementwise:
    return Elementwise(
        name="planted", value=np.multiply, nin=2, partials=(a, b), native="mul", latex="{0}{1}", cost=Cost(1),
        domain=((0.0, math.inf), (0.0, math.inf)),
    )  # fmt: skip


def _unary(partial: Any) -> Elementwise:
    def value(x: Any) -> Any:
        return np.sin(x) * np.exp(x)

    return Elementwise(
        name="planted", value=value, nin=1, partials=(partial,), native="f", latex="{0}", cost=Cost(1),
        domain=((0.0, math.inf),), dtype=lambda kinds: np.result_type(*kinds),
    )  # fmt: skip


RIGHT = [
    _binary(lambda y, a, b: b, lambda y, a, b: a),
    _unary(lambda y, x: (np.sin(x) + np.cos(x)) * np.exp(x)),
]
WRONG = {
    "sign": _binary(lambda y, a, b: -b, lambda y, a, b: a),
    "sign of the second": _binary(lambda y, a, b: b, lambda y, a, b: -a),
    "factor": _binary(lambda y, a, b: 2 * b, lambda y, a, b: a),
    "a millionth": _binary(lambda y, a, b: b * (1 + 1e-6), lambda y, a, b: a),
    "wrong argument": _binary(lambda y, a, b: a, lambda y, a, b: b),
    "constant": _binary(1, lambda y, a, b: a),
    "zero": _binary(lambda y, a, b: b, 0),
    "missing term": _unary(lambda y, x: np.cos(x) * np.exp(x)),
    "a millionth of one term": _unary(lambda y, x: (np.sin(x) + (1 + 1e-6) * np.cos(x)) * np.exp(x)),
}


@pytest.mark.parametrize("rule", RIGHT)
def test_a_right_rule_passes(rule: Rule) -> None:
    with planted(rule):
        for case in cases(rule):
            table.check_first_order(rule, case)
            table.check_second_order(rule, case)
            table.check_batch(rule, case)


@pytest.mark.parametrize("rule", WRONG.values(), ids=WRONG)
def test_a_planted_mistake_is_caught(rule: Rule) -> None:
    with planted(rule):
        for case in cases(rule):
            with pytest.raises(AssertionError, match="planted"):
                table.check_first_order(rule, case)


def test_a_partial_that_hides_its_own_dependence_is_caught() -> None:
    # The first derivative is right, the second is lost: stop_gradient stands for any constant made of a value.
    stop: Any = RULES["stop_gradient"]
    rule = _unary(lambda y, x: (np.sin(x) + np.cos(x)) * np.exp(chainrule.rule.apply(stop, (x,))))
    with planted(rule):
        for case in cases(rule):
            table.check_first_order(rule, case)
            with pytest.raises(AssertionError, match="planted, second order"):
                table.check_second_order(rule, case)


def test_a_wrong_transpose_is_caught() -> None:
    right: Any = RULES["prod"]
    rule = Opaque(
        name="planted", value=right.value, params=right.params, infer=right.infer, forward=right.forward,
        batch=right.batch, pullback=lambda *given: (1.000001 * right.pullback(*given)[0],),
        latex=right.latex, cost=right.cost, points=((("4",), ((0,),)),),
    )  # fmt: skip
    with planted(rule):
        for case in cases(rule):
            with pytest.raises(AssertionError, match="planted"):
                table.check_first_order(rule, case)


def test_a_partial_that_cancels_is_caught() -> None:
    assert not distance(mpmath.tanh, (20.0,), 0, float(1 / np.cosh(20.0) ** 2), None)
    assert distance(mpmath.tanh, (20.0,), 0, float(1 - np.tanh(20.0) ** 2), None)


@pytest.mark.parametrize("facet", ["value", "latex", "cost", "partials", "native", "domain", "nin", "name"])
def test_a_rule_without_a_facet_is_refused(facet: str) -> None:
    facets: dict[str, Any] = {
        "name": "planted", "value": np.sin, "latex": "{0}", "cost": Cost(1), "partials": (1,), "native": "sin",
        "domain": ((-1.0, 1.0),), "nin": 1,
    }  # fmt: skip
    Elementwise(**facets)
    del facets[facet]
    with pytest.raises(TypeError, match=facet):
        Elementwise(**facets)


@pytest.mark.parametrize("kind", [Index, Opaque, Discrete])
def test_a_rule_of_another_kind_without_its_facets_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="batch"):
        kind(name="planted", value=np.sin, latex="{0}", cost=Cost(1), infer=lambda types, params: ((), float))


def test_a_rule_with_too_few_partials_is_refused() -> None:
    with pytest.raises(TypeError, match="as many partials"):
        Elementwise(
            name="planted",
            value=np.hypot,
            nin=2,
            partials=(1,),
            native="f",
            latex="",
            cost=Cost(1),
            domain=((0.0, 1.0),) * 2,
        )
