"""Expression -> a plainer expression with the same value for real numbers: for reading, not for running.

A product of factors with one coefficient, a sum of terms; signs and numbers are taken out of sums and of what is
linear. Infinities, NaN and the sign of zero may come out differently, which is why nothing of this is ever run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from chainrule.build import Builder
from chainrule.derive.expression import Expr, Leaf, Node, Number, expression_of, node_count
from chainrule.program import array_type
from chainrule.rule import IDENTITIES, RULES, Elementwise, Index, Rule

__all__ = ["added", "tidy"]

_FACTORS = frozenset({"times", "over", "opposite", "inverse", "squared", "power"})
_TERMS = frozenset({"plus", "minus"})
_NOT_TIDIED = 300


def tidy(expr: Expr, known: Mapping[Expr, Leaf] | None = None) -> Expr:
    """The expression after real identities; what equals a key of ``known`` is written as that variable."""
    if node_count(expr) > _NOT_TIDIED:
        return expr
    try:
        made = _Tidier().tidy(expr)
    except (OverflowError, ZeroDivisionError):
        made = expr
    if known:
        made = _folded(made, [(_Tidier().tidy(one), leaf) for one, leaf in known.items()])
    return made if made.shape == expr.shape else expr


def added(terms: Sequence[Expr]) -> Expr:
    """The sum of expressions of one shape, tidied."""
    made = terms[0]
    for one in terms[1:]:
        made = _node("plus", made, one)
    return tidy(made)


@functools.cache
def _role(name: str) -> Rule:
    """The rule with this role in the algebra of numbers."""
    return next(rule for rule in RULES.values() if rule.algebra == name)


def _node(name: str, *operands: Expr) -> Node:
    shape = np.broadcast_shapes(*(one.shape for one in operands))
    return Node(shape, _role(name), tuple(operands))


def _spread(expr: Expr, shape: tuple[int, ...]) -> Expr:
    return expr if expr.shape == shape else Node(shape, RULES["broadcast_to"], (expr,), (shape,))


def _is_spread(expr: Expr) -> bool:
    return isinstance(expr, Node) and expr.rule.name == "broadcast_to"


class _Product:
    """A coefficient times factors to powers, in the order in which they came."""

    def __init__(self, coefficient: Any = Fraction(1)) -> None:
        self.coefficient = coefficient
        self.powers: dict[Expr, Any] = {}

    def times(self, base: Expr, power: Any) -> None:
        self.powers[base] = self.powers.get(base, 0) + power

    def scaled(self, number: Any, power: Any = 1) -> None:
        """Multiply the coefficient; exact where both are fractions."""
        exact = _exact(number)
        if power == int(power):
            power = int(power)
        if isinstance(self.coefficient, Fraction) and isinstance(exact, Fraction) and isinstance(power, int):
            self.coefficient = self.coefficient * exact**power
        else:
            self.coefficient = float(self.coefficient) * float(exact) ** power

    def expr(self, shape: tuple[int, ...]) -> Expr:
        """The product as an expression of this shape."""
        over: list[Expr] = []
        under: list[Expr] = []
        coefficient = self.coefficient
        negative = coefficient < 0
        coefficient = abs(coefficient)
        if coefficient == 0:
            return _spread(Number((), 0.0), shape)
        if isinstance(coefficient, Fraction):
            if coefficient.numerator != 1:
                over.append(Number((), _int_or_float(coefficient.numerator)))
            if coefficient.denominator != 1:
                under.append(Number((), _int_or_float(coefficient.denominator)))
        elif coefficient != 1:
            over.append(Number((), coefficient))
        powers = [(base, power) for base, power in self.powers.items() if power != 0]
        powers.sort(key=lambda one: one[0].shape != ())
        for base, power in powers:
            (over if power > 0 else under).append(_power(base, abs(power)))
        made = _multiplied(over)
        if under:
            made = _node("over", made, _multiplied(under))
        if negative:
            made = Number((), -made.value) if isinstance(made, Number) else _node("opposite", made)
        return _spread(made, shape) if np.broadcast_shapes(made.shape, shape) == shape else made


def _int_or_float(number: int) -> Any:
    return number if abs(number) < 2**53 else float(number)


def _exact(number: Any) -> Any:
    """A float as the fraction that it stands for (0.14285714285714285 is 1/7), where that is a short one."""
    if isinstance(number, Fraction):
        return number
    if isinstance(number, int | np.integer):
        return Fraction(int(number))
    value = float(number)
    if not np.isfinite(value):
        return value
    if value.is_integer() and abs(value) < 2**53:
        return Fraction(int(value))
    short = Fraction(value).limit_denominator(100_000)
    text = repr(value)
    if float(short) == value and (
        short.denominator in (2, 4, 8, 3, 6) or (len(text) > 9 and abs(short.numerator) < 100)
    ):
        return short
    return value


def _power(base: Expr, power: Any) -> Expr:
    if power == 1:
        return base
    if power == 2:
        return _node("squared", base)
    return _node("power", base, Number((), int(power) if power == int(power) else float(power)))


def _multiplied(factors: Sequence[Expr]) -> Expr:
    if not factors:
        return Number((), 1)
    made = factors[0]
    for one in factors[1:]:
        made = _node("times", made, one)
    return made


def _number(expr: Expr) -> Any:
    """The real number that an expression is, or None."""
    if isinstance(expr, Number) and not isinstance(expr.value, bool | np.bool_ | complex):
        return expr.value
    return None


class _Tidier:
    def __init__(self) -> None:
        self.done: dict[Expr, Expr] = {}

    def tidy(self, expr: Expr) -> Expr:
        if isinstance(expr, Number) and type(expr.value) in (float, np.float64) and np.isfinite(expr.value):
            # 0.14285714285714285 is 1/7.
            made = _exact(expr.value)
            return self.product(expr).expr(()) if isinstance(made, Fraction) and made.denominator > 1 else expr
        if not isinstance(expr, Node):
            return expr
        found = self.done.get(expr)
        if found is None:
            found = self.done[expr] = self.once(expr.over(*map(self.tidy, expr.operands)))
        return found

    def once(self, expr: Node) -> Expr:
        """An expression whose operands are tidy."""
        rule = expr.rule
        for before, after in _identities(len(IDENTITIES)):
            bound: dict[str, Expr] = {}
            if _matches(before, expr, bound):
                made = _filled(after, bound)
                if made.shape == expr.shape:
                    return self.tidy(made)
        if rule.algebra == "itself" and expr.operands[0].shape == expr.shape:
            return expr.operands[0]
        if rule.algebra in _FACTORS and self.is_product(expr):
            return self.product(expr).expr(expr.shape)
        if rule.algebra in _TERMS:
            return self.sum(expr)
        if isinstance(rule, Elementwise) and rule.chooses:
            return self.chosen(expr)
        if isinstance(rule, Index):
            return self.linear(expr, rule)
        return expr

    def is_product(self, expr: Node) -> bool:
        return expr.rule.algebra != "power" or isinstance(_number(expr.operands[1]), int | float | np.number)

    # -- products

    def product(self, expr: Expr) -> _Product:
        made = _Product()
        self.collect(expr, 1, made)
        return made

    def collect(self, expr: Expr, power: Any, into: _Product) -> None:
        number = _number(expr)
        if number is not None and np.isfinite(number) and (number != 0 or power > 0):
            into.scaled(number, power)
            return
        if _is_spread(expr) and isinstance(expr, Node):
            self.collect(expr.operands[0], power, into)
            return
        if not isinstance(expr, Node):
            into.times(expr, power)
            return
        role, ops = expr.rule.algebra, expr.operands
        if role == "times":
            self.collect(ops[0], power, into)
            self.collect(ops[1], power, into)
        elif role == "over":
            self.collect(ops[0], power, into)
            self.collect(ops[1], -power, into)
        elif role == "opposite" and power == int(power):
            into.scaled(-1, power)
            self.collect(ops[0], power, into)
        elif role == "inverse":
            self.collect(ops[0], -power, into)
        elif role == "squared":
            self.collect(ops[0], 2 * power, into)
        elif role == "power" and (exponent := _number(ops[1])) is not None and exponent == int(exponent):
            self.collect(ops[0], int(exponent) * power, into)
        else:
            into.times(expr, power)

    # -- sums

    def sum(self, expr: Node) -> Expr:
        terms: dict[Expr | None, Any] = {}
        self.terms(expr, Fraction(1), terms)
        kept = [(term, coefficient) for term, coefficient in terms.items() if coefficient != 0]
        if not kept:
            return _spread(Number((), 0.0), expr.shape)
        first = next((place for place, one in enumerate(kept) if one[1] > 0), 0)
        kept = [kept[first], *kept[:first], *kept[first + 1 :]]
        made: Expr | None = None
        for term, coefficient in kept:
            sign = coefficient < 0
            one = self.scaled(term, abs(coefficient))
            if made is None:
                made = self.scaled(term, coefficient)
            else:
                made = _node("minus" if sign else "plus", made, one)
        assert made is not None
        return _spread(made, expr.shape)

    def scaled(self, term: Expr | None, coefficient: Any) -> Expr:
        if term is None:
            product = _Product()
            product.scaled(coefficient)
            return product.expr(())
        product = self.product(term)
        product.scaled(coefficient)
        return product.expr(term.shape)

    def terms(self, expr: Expr, sign: Any, into: dict[Expr | None, Any]) -> None:
        if isinstance(expr, Node) and expr.rule.algebra in _TERMS:
            self.terms(expr.operands[0], sign, into)
            self.terms(expr.operands[1], sign if expr.rule.algebra == "plus" else -sign, into)
            return
        product = self.product(expr)
        coefficient, product.coefficient = product.coefficient, Fraction(1)
        bare = None if not product.powers else product.expr(expr.shape)
        if bare is None and isinstance(expr, Node) and expr.shape != ():
            bare = None
        into[bare] = into.get(bare, Fraction(0)) + _times(sign, coefficient)

    # -- choices, sums of products

    def chosen(self, expr: Node) -> Expr:
        condition, yes, no = expr.operands
        if yes == no and yes.shape == expr.shape:
            return yes
        if (
            isinstance(condition, Node)
            and condition.rule.algebra == "differs"
            and _zero(no)
            and _zero(condition.operands[1])
        ):
            # Where p is not 0: g p, else 0. For finite numbers that is g p everywhere.
            p = condition.operands[0]
            if p in self.product(yes).powers or self.product(p).powers.keys() <= self.product(yes).powers.keys():
                return _spread(yes, expr.shape)
        return expr

    def linear(self, expr: Node, rule: Index) -> Expr:
        """A number or a sign in an operand of a sum of products comes out in front."""
        whole = _Product()
        operands = []
        for one in expr.operands:
            if isinstance(one, Node) and (one.rule.algebra in _FACTORS and self.is_product(one)):
                product = self.product(one)
                whole.scaled(product.coefficient)
                product.coefficient = Fraction(1)
                for base in [base for base, _ in product.powers.items() if base.shape == () and one.shape != ()]:
                    if len(product.powers) > 1:
                        whole.times(base, product.powers.pop(base))
                one = product.expr(one.shape)
            operands.append(one)
        inner: Expr = expr.over(*operands)
        if rule.name == "broadcast_to" and isinstance(operands[0], Node) and _is_spread(operands[0]):
            inner = _spread(operands[0].operands[0], expr.shape)
        if rule.name == "sum" and _is_spread(operands[0]) and isinstance(operands[0], Node):
            counted = self.counted(expr, operands[0])
            if counted is not None:
                count, inner = counted
                whole.scaled(count)
        if whole.coefficient == 1 and not whole.powers:
            return inner
        whole.times(inner, 1)
        return whole.expr(expr.shape)

    def counted(self, expr: Node, spread: Node) -> tuple[int, Expr] | None:
        """The sum of a number that was spread: so many times the number."""
        inside = spread.operands[0]
        if inside.shape != ():
            return None
        count = 1
        for axis in expr.params[0]:
            count *= spread.shape[axis]
        return count, _spread(inside, expr.shape)


def _times(one: Any, other: Any) -> Any:
    return one * other if isinstance(other, Fraction) or not isinstance(one, Fraction) else float(one) * other


def _zero(expr: Expr) -> bool:
    while _is_spread(expr):
        assert isinstance(expr, Node)
        expr = expr.operands[0]
    number = _number(expr)
    return number is not None and number == 0


# --- identities stated as code --------------------------------------------------------------------------------------


@functools.cache
def _identities(count: int) -> tuple[tuple[Expr, Expr], ...]:
    """The first identities of the table of rules, as pairs of expressions between numbers named a, b, c."""
    return tuple((_recorded(before), _recorded(after)) for before, after in IDENTITIES[:count])


def _recorded(code: Callable[..., Any]) -> Expr:
    builder = Builder("identity")
    names = code.__code__.co_varnames[: code.__code__.co_argcount]
    inputs = [builder.input(array_type((), np.dtype(np.float64)), name) for name in names]
    made = builder.finish([code(*inputs)])
    known: dict[int, Expr] = {var: Leaf((), name) for var, name in zip(made.inputs, names, strict=True)}
    (output,) = made.outputs
    expr = expression_of(made, output, known)
    assert expr is not None
    return expr


def _matches(pattern: Expr, expr: Expr, bound: dict[str, Expr]) -> bool:
    if isinstance(pattern, Leaf):
        if pattern.name in bound:
            return bound[pattern.name] == expr
        bound[pattern.name] = expr
        return True
    if isinstance(pattern, Number):
        number = _number(expr)
        return number is not None and number == pattern.value
    assert isinstance(pattern, Node)
    if not isinstance(expr, Node) or expr.rule is not pattern.rule or expr.params != pattern.params:
        return False
    before = dict(bound)
    if all(map(_matches, pattern.operands, expr.operands, [bound] * len(expr.operands))):
        return True
    if pattern.rule.algebra in ("times", "plus"):
        bound.clear()
        bound.update(before)
        return all(map(_matches, pattern.operands, expr.operands[::-1], [bound] * len(expr.operands)))
    return False


def _filled(pattern: Expr, bound: Mapping[str, Expr]) -> Expr:
    if isinstance(pattern, Leaf):
        return bound[pattern.name]
    if isinstance(pattern, Node):
        operands = [_filled(one, bound) for one in pattern.operands]
        return replace(pattern, shape=np.broadcast_shapes(*(one.shape for one in operands)), operands=tuple(operands))
    return pattern


# --- known results --------------------------------------------------------------------------------------------------


def _folded(expr: Expr, known: Sequence[tuple[Expr, Leaf]]) -> Expr:
    """The expression with known subexpressions written as the variables that hold them."""
    for one, leaf in known:
        if expr == one:
            return leaf
        if isinstance(one, Node) and one.rule.merges and one.operands[0] == expr:
            # The variable is this with other axes of extent 1.
            return Node(expr.shape, one.rule, (leaf,), (expr.shape,))
    if isinstance(expr, Node):
        return expr.over(*(_folded(each, known) for each in expr.operands))
    return expr
