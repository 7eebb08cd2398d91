"""What the ``native`` names of elementwise rules mean: each a function that writes scalar values.

Zero, NaN and signs are NumPy's. A form gets the scribe that values are written with, the kind of the result, and the
arguments, already in the kinds of NumPy's own loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.native.loops import Value
from chainrule.native.mathlib import special_arguments

__all__ = ["CALLS", "FORMS", "Scribe", "known"]

#: Forms by their names: ``(scribe, kind, *arguments) -> value``.
FORMS: dict[str, Callable[..., Value]] = {}
#: How many calls of the maths library a form makes, where it makes any.
CALLS: dict[str, int] = {}


class Scribe:
    """Writes values, each only once."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._known: dict[Any, Value] = {}

    def value(self, op: str, kind: str, *args: Value, attr: Any = None, bits: int = 0) -> Value:
        key = (op, kind, args, attr)
        found = self._known.get(key)
        if found is None:
            for one in args:
                bits |= one.bits
            found = self._known[key] = Value(op, args, kind, attr, bits)
            self.values.append(found)
        return found

    def constant(self, number: Any, kind: str) -> Value:
        # -0.0 is not 0.0.
        key = ("constant", kind, repr(number))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Value("constant", (), kind, number)
        return found

    def cast(self, x: Value, kind: str) -> Value:
        if x.kind == kind:
            return x
        if x.op == "constant":
            with np.errstate(all="ignore"):
                return self.constant(np.dtype(kind_name(kind)).type(x.attr).item(), kind)
        return self.value("cast", kind, x)


def kind_name(kind: str) -> str:
    """The dtype of a kind, as NumPy takes it."""
    return "?" if kind == "b1" else kind


def form(name: str, calls: int = 0) -> Callable[[Any], Any]:
    """Register a form under the name that rules give it."""

    def keep(function: Any) -> Any:
        FORMS[name] = function
        if calls:
            CALLS[name] = calls
        return function

    return keep


def _direct(name: str, op: str, kinds: str = "fiu") -> None:
    def write(s: Scribe, kind: str, *args: Value) -> Value:
        if args[0].kind[0] not in kinds:
            raise NotImplementedError(name)
        return s.value(op, kind, *args)

    FORMS[name] = write


for _name in ("add", "subtract", "multiply", "maximum", "minimum", "negative"):
    _direct(_name, _name)
_direct("divide", "divide", "f")
_direct("sqrt", "sqrt", "f")
_direct("fabs", "fabs", "f")
_direct("copysign", "copysign", "f")
for _name in ("floor", "ceil", "trunc", "rint"):
    _direct(_name, _name, "f")
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    _direct(_name, _name, "fiub")
for _name, _op in (("bitwise_and", "and"), ("bitwise_or", "or"), ("bitwise_xor", "xor")):
    _direct(_name, _op, "iub")
for _name, _op in (("logical_and", "and"), ("logical_or", "or"), ("logical_xor", "xor")):

    def _logical(s: Scribe, kind: str, a: Value, b: Value, _op: str = _op) -> Value:
        return s.value(_op, "b1", s.cast(a, "b1"), s.cast(b, "b1"))

    FORMS[_name] = _logical


def _called(name: str, calls: int = 1) -> None:
    def write(s: Scribe, kind: str, *args: Value) -> Value:
        if kind[0] != "f":
            raise NotImplementedError(name)
        return s.value("call", kind, *args, attr=name)

    form(name, calls)(write)


for _name in (
    "exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh cbrt "
    "hypot arctan2 erf erfc"
).split():
    _called(_name)


@form("cast")
def _(s: Scribe, kind: str, x: Value) -> Value:
    if x.kind[0] == "f" and kind not in {"f8", "f4", "i8", "i4", "b1"}:
        raise NotImplementedError(kind)
    return s.cast(x, kind)


@form("positive")
def _(s: Scribe, kind: str, x: Value) -> Value:
    return x


FORMS["conjugate"] = FORMS["same"] = FORMS["positive"]


@form("logical_not")
def _(s: Scribe, kind: str, x: Value) -> Value:
    return s.value("xor", "b1", s.cast(x, "b1"), s.constant(True, "b1"))


@form("invert")
def _(s: Scribe, kind: str, x: Value) -> Value:
    return s.value("xor", kind, x, s.constant(True if kind == "b1" else -1, kind))


@form("absolute")
def _(s: Scribe, kind: str, x: Value) -> Value:
    if kind[0] == "f":
        return s.value("fabs", kind, x)
    if kind[0] in "ub":
        return x
    below = s.value("less", "b1", x, s.constant(0, kind))
    return s.value("select", kind, below, s.value("negative", kind, x), x)


@form("square")
def _(s: Scribe, kind: str, x: Value) -> Value:
    if kind == "b1":
        raise NotImplementedError(kind)
    return s.value("multiply", kind, x, x)


@form("reciprocal")
def _(s: Scribe, kind: str, x: Value) -> Value:
    if kind[0] != "f":
        raise NotImplementedError(kind)
    return s.value("divide", kind, s.constant(1.0, kind), x)


@form("sign")
def _(s: Scribe, kind: str, x: Value) -> Value:
    if kind == "b1":
        raise NotImplementedError(kind)
    zero, one = s.constant(0, kind), s.constant(1, kind)
    above = s.value("greater", "b1", x, zero)
    if kind[0] == "u":
        return s.value("select", kind, above, one, zero)
    # A zero of either sign gives +0, a NaN itself.
    none = s.value("equal", "b1", x, zero)
    rest = s.value("select", kind, none, zero, x)
    below = s.value("less", "b1", x, zero)
    return s.value("select", kind, above, one, s.value("select", kind, below, s.constant(-1, kind), rest))


def _scaled(factor: float) -> Callable[..., Value]:
    def write(s: Scribe, kind: str, x: Value) -> Value:
        if kind[0] != "f":
            raise NotImplementedError(kind)
        return s.value("multiply", kind, x, s.constant(factor, kind))

    return write


FORMS["degrees"] = FORMS["rad2deg"] = _scaled(180.0 / math.pi)
FORMS["radians"] = FORMS["deg2rad"] = _scaled(math.pi / 180.0)


@form("isnan")
def _(s: Scribe, kind: str, x: Value) -> Value:
    return s.value("unordered", "b1", x, x) if x.kind[0] == "f" else s.constant(False, "b1")


@form("isinf")
def _(s: Scribe, kind: str, x: Value) -> Value:
    if x.kind[0] != "f":
        return s.constant(False, "b1")
    return s.value("equal", "b1", s.value("fabs", x.kind, x), s.constant(math.inf, x.kind))


@form("isfinite")
def _(s: Scribe, kind: str, x: Value) -> Value:
    if x.kind[0] != "f":
        return s.constant(True, "b1")
    return s.value("less", "b1", s.value("fabs", x.kind, x), s.constant(math.inf, x.kind))


@form("signbit")
def _(s: Scribe, kind: str, x: Value) -> Value:
    if x.kind[0] != "f":
        raise NotImplementedError(x.kind)
    return s.value("less", "b1", s.value("copysign", x.kind, s.constant(1.0, x.kind), x), s.constant(0.0, x.kind))


@form("select")
def _(s: Scribe, kind: str, c: Value, a: Value, b: Value) -> Value:
    return s.value("select", kind, s.cast(c, "b1"), s.cast(a, kind), s.cast(b, kind))


@form("clip")
def _(s: Scribe, kind: str, x: Value, low: Value, high: Value) -> Value:
    if kind == "b1":
        raise NotImplementedError(kind)
    x, low, high = (s.cast(one, kind) for one in (x, low, high))
    return s.value("minimum", kind, s.value("maximum", kind, x, low), high)


def _ignoring_nan(op: str) -> Callable[..., Value]:
    def write(s: Scribe, kind: str, a: Value, b: Value) -> Value:
        made = s.value(op, kind, a, b)
        if kind[0] != "f":
            return made
        made = s.value("select", kind, s.value("unordered", "b1", b, b), a, made)
        return s.value("select", kind, s.value("unordered", "b1", a, a), b, made)

    return write


FORMS["fmax"], FORMS["fmin"] = _ignoring_nan("maximum"), _ignoring_nan("minimum")


@form("heaviside")
def _(s: Scribe, kind: str, x: Value, h: Value) -> Value:
    if kind[0] != "f":
        raise NotImplementedError(kind)
    zero, one = s.constant(0.0, kind), s.constant(1.0, kind)
    made = s.value("select", kind, s.value("greater", "b1", x, zero), one, x)
    made = s.value("select", kind, s.value("less", "b1", x, zero), zero, made)
    return s.value("select", kind, s.value("equal", "b1", x, zero), h, made)


@form("remainder", 1)
def _(s: Scribe, kind: str, a: Value, b: Value) -> Value:
    zero = s.constant(0, kind)
    if kind[0] == "u":
        return _of_integers(s, kind, a, b)[1]
    if kind[0] == "i":
        return _of_integers(s, kind, a, b)[1]
    made = s.value("call", kind, a, b, attr="fmod")
    moved = _moved(s, kind, made, b)
    none = s.value("equal", "b1", made, zero)
    return s.value("select", kind, none, s.value("copysign", kind, zero, b), moved)


def _moved(s: Scribe, kind: str, made: Value, b: Value) -> Value:
    """The remainder with the sign of the divisor."""
    zero = s.constant(0, kind)
    other = s.value("xor", "b1", s.value("less", "b1", made, zero), s.value("less", "b1", b, zero))
    some = s.value("not_equal", "b1", made, zero)
    return s.value("select", kind, s.value("and", "b1", other, some), s.value("add", kind, made, b), made)


def _of_integers(s: Scribe, kind: str, a: Value, b: Value) -> tuple[Value, Value]:
    """Floored quotient and remainder; by 0 both are 0, and the least integer by -1 is itself."""
    zero, one = s.constant(0, kind), s.constant(1, kind)
    nothing = s.value("equal", "b1", b, zero)
    if kind[0] == "u":
        divisor = s.value("select", kind, nothing, one, b)
        quotient = s.value("divide", kind, a, divisor)
        rest = s.value("fmod", kind, a, divisor)
    else:
        minus = s.value("equal", "b1", b, s.constant(-1, kind))
        divisor = s.value("select", kind, s.value("or", "b1", nothing, minus), one, b)
        quotient = s.value("divide", kind, a, divisor)
        rest = s.value("fmod", kind, a, divisor)
        other = s.value("xor", "b1", s.value("less", "b1", rest, zero), s.value("less", "b1", divisor, zero))
        down = s.value("and", "b1", other, s.value("not_equal", "b1", rest, zero))
        quotient = s.value("select", kind, down, s.value("subtract", kind, quotient, one), quotient)
        rest = s.value("select", kind, down, s.value("add", kind, rest, divisor), rest)
        quotient = s.value("select", kind, minus, s.value("negative", kind, a), quotient)
    return s.value("select", kind, nothing, zero, quotient), s.value("select", kind, nothing, zero, rest)


@form("floor_divide", 1)
def _(s: Scribe, kind: str, a: Value, b: Value) -> Value:
    if kind[0] in "iu":
        return _of_integers(s, kind, a, b)[0]
    if kind[0] != "f":
        raise NotImplementedError(kind)
    zero = s.constant(0.0, kind)
    rest = s.value("call", kind, a, b, attr="fmod")
    exact = s.value("divide", kind, s.value("subtract", kind, a, rest), b)
    other = s.value("xor", "b1", s.value("less", "b1", rest, zero), s.value("less", "b1", b, zero))
    down = s.value("and", "b1", other, s.value("not_equal", "b1", rest, zero))
    exact = s.value("select", kind, down, s.value("subtract", kind, exact, s.constant(1.0, kind)), exact)
    whole = s.value("floor", kind, exact)
    off = s.value("subtract", kind, exact, whole)
    up = s.value("greater", "b1", off, s.constant(0.5, kind))
    whole = s.value("select", kind, up, s.value("add", kind, whole, s.constant(1.0, kind)), whole)
    plain = s.value("divide", kind, a, b)
    signed = s.value("copysign", kind, zero, plain)
    made = s.value("select", kind, s.value("equal", "b1", exact, zero), signed, whole)
    return s.value("select", kind, s.value("equal", "b1", b, zero), plain, made)


@form("fmod", 1)
def _(s: Scribe, kind: str, a: Value, b: Value) -> Value:
    if kind[0] == "f":
        return s.value("call", kind, a, b, attr="fmod")
    raise NotImplementedError(kind)


@form("power", 1)
def _(s: Scribe, kind: str, a: Value, b: Value) -> Value:
    if kind[0] != "f":
        raise NotImplementedError(kind)
    if b.op == "constant":
        if b.attr == 2:
            return s.value("multiply", kind, a, a)
        if b.attr == 1:
            return a
        if b.attr == 3:
            return s.value("multiply", kind, s.value("multiply", kind, a, a), a)
        if b.attr == -1:
            return s.value("divide", kind, s.constant(1.0, kind), a)
    return s.value("call", kind, a, b, attr="power")


def _falling(s: Scribe, kind: str, x: Value) -> Value:
    """exp(-|x|)."""
    return s.value("call", kind, s.value("negative", kind, s.value("fabs", kind, x)), attr="exp")


@form("logistic", 1)
def _(s: Scribe, kind: str, x: Value) -> Value:
    if kind[0] != "f" or x.kind != kind:
        raise NotImplementedError(kind)
    one = s.constant(1.0, kind)
    small = _falling(s, kind, x)
    above = s.value("select", kind, s.value("greater_equal", "b1", x, s.constant(0.0, kind)), one, small)
    return s.value("divide", kind, above, s.value("add", kind, one, small))


FORMS["expit"] = FORMS["logistic"]
CALLS["expit"] = 1


@form("log_expit", 2)
def _(s: Scribe, kind: str, x: Value) -> Value:
    if kind[0] != "f":
        raise NotImplementedError(kind)
    below = s.value("minimum", kind, x, s.constant(0.0, kind))
    grown = s.value("call", kind, _falling(s, kind, x), attr="log1p")
    return s.value("negative", kind, s.value("subtract", kind, grown, below))


def _log_sum(scale: float, grow: str) -> Callable[..., Value]:
    def write(s: Scribe, kind: str, a: Value, b: Value) -> Value:
        if kind[0] != "f":
            raise NotImplementedError(kind)
        apart = s.value("subtract", kind, a, b)
        small = s.value("call", kind, s.value("negative", kind, s.value("fabs", kind, apart)), attr=grow)
        more = s.value("call", kind, small, attr="log1p")
        if scale != 1.0:
            more = s.value("multiply", kind, more, s.constant(1.0 / scale, kind))
        larger = s.value("select", kind, s.value("greater", "b1", apart, s.constant(0.0, kind)), a, b)
        made = s.value("add", kind, larger, more)
        made = s.value("select", kind, s.value("unordered", "b1", apart, apart), apart, made)
        same = s.value("add", kind, a, s.constant(math.log(2.0) / scale, kind))
        return s.value("select", kind, s.value("equal", "b1", a, b), same, made)

    return write


FORMS["logaddexp"], CALLS["logaddexp"] = _log_sum(1.0, "exp"), 2
FORMS["logaddexp2"], CALLS["logaddexp2"] = _log_sum(math.log(2.0), "exp2"), 2


def _zero_times(call: str) -> Callable[..., Value]:
    def write(s: Scribe, kind: str, x: Value, y: Value) -> Value:
        if kind[0] != "f":
            raise NotImplementedError(kind)
        none = s.value("equal", "b1", x, s.constant(0.0, kind))
        known = s.value("equal", "b1", y, y)
        made = s.value("multiply", kind, x, s.value("call", kind, y, attr=call))
        return s.value("select", kind, s.value("and", "b1", none, known), s.constant(0.0, kind), made)

    return write


FORMS["xlogy"], CALLS["xlogy"] = _zero_times("log"), 1
FORMS["xlog1py"], CALLS["xlog1py"] = _zero_times("log1p"), 1


@form("ndtr", 1)
def _(s: Scribe, kind: str, x: Value) -> Value:
    if kind[0] != "f":
        raise NotImplementedError(kind)
    half = s.constant(0.5, kind)
    inner = s.value("multiply", kind, x, s.constant(-math.sqrt(0.5), kind))
    return s.value("multiply", kind, half, s.value("call", kind, inner, attr="erfc"))


def known(name: str) -> bool:
    """Whether there is a form of this name; those of ``scipy.special`` are made when they are first met."""
    if name not in FORMS:
        count = special_arguments(name)
        if count:
            form(name, 4)(_special(name, count))
    return name in FORMS


def _special(name: str, count: int) -> Callable[..., Value]:
    def write(s: Scribe, kind: str, *args: Value) -> Value:
        if kind[0] != "f" or len(args) != count or any(one.kind[0] != "f" for one in args):
            raise NotImplementedError(name)
        return s.cast(s.value("call", "f8", *[s.cast(one, "f8") for one in args], attr=name), kind)

    return write
