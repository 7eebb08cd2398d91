"""C's types, numbers and expressions: what an elementwise rule is in C, printed with no bracket too many."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.program import ArrayType, Literal
from chainrule.rule import Elementwise

__all__ = ["C_TYPES", "Term", "atom", "cast", "filled", "form_of", "literal_as", "loop_kinds", "number"]

#: The C type of a dtype. What is not here has no form in C99.
C_TYPES = {
    "float64": "double", "float32": "float", "int64": "int64_t", "int32": "int32_t", "int16": "int16_t",
    "int8": "int8_t", "uint64": "uint64_t", "uint32": "uint32_t", "uint16": "uint16_t", "uint8": "uint8_t",
    "bool": "bool",
}  # fmt: skip

#: How tightly C's operators bind.
_ATOM, _UNARY, _TIMES, _PLUS, _SHIFT, _LESS, _EQUAL, _CHOICE = 16, 15, 13, 12, 11, 10, 9, 3
_INFIX = {
    "*": _TIMES, "/": _TIMES, "%": _TIMES, "+": _PLUS, "-": _PLUS, "<": _LESS, "<=": _LESS, ">": _LESS, ">=": _LESS,
    "==": _EQUAL, "!=": _EQUAL,
}  # fmt: skip
#: Operators whose operands are put into brackets unless they are atoms: nobody remembers how they bind.
_BRACKETED = {"&&": 5, "||": 4, "&": 8, "^": 7, "|": 6, "<<": _SHIFT, ">>": _SHIFT}


class Term(NamedTuple):
    """An expression, and how tightly its outermost operator binds."""

    text: str
    binds: int = _ATOM

    def within(self, binds: int) -> str:
        """The text as it stands where at least this binding is needed."""
        return self.text if self.binds >= binds else f"({self.text})"


def atom(text: str) -> Term:
    """A name, a call, an element of an array."""
    return Term(text)


_TWO_SIDED = re.compile(r"\{0\} (\S+) \{1\}$")


def filled(template: str, arguments: Sequence[Term]) -> Term:
    """A template (``"{0} + {1}"``, ``"-{0}"``, ``"exp({0})"``, ``"{0} ? {1} : {2}"``) with its holes filled."""
    infix = _TWO_SIDED.match(template)
    if infix is not None:
        sign = infix[1]
        a, b = arguments
        if sign in _BRACKETED:
            return Term(f"{a.within(_UNARY)} {sign} {b.within(_UNARY)}", _BRACKETED[sign])
        binds = _INFIX[sign]
        # The compiler warns about a == b == c, and NumPy means (a == b) == c.
        left = a.within(binds + 1 if binds <= _LESS else binds)
        return Term(f"{left} {sign} {b.within(binds + 1)}", binds)
    if template == "{0} ? {1} : {2}":
        a, b, c = arguments
        return Term(f"{a.within(_CHOICE + 1)} ? {b.within(_CHOICE + 1)} : {c.within(_CHOICE)}", _CHOICE)
    if template in ("-{0}", "!{0}", "~{0}"):
        inner = arguments[0].within(_UNARY)
        return Term(f"{template[0]} {inner}" if inner.startswith(template[0]) else f"{template[0]}{inner}", _UNARY)
    if template == "{0}":
        return arguments[0]
    if template == "square({0})" and arguments[0].binds == _ATOM and "(" not in arguments[0].text:
        return filled("{0} * {1}", [arguments[0], arguments[0]])
    if template.endswith("){0}"):
        # A cast.
        return Term(template.replace("{0}", arguments[0].within(_UNARY)), _UNARY)
    return Term(re.sub(r"\{(\d)\}", lambda found: arguments[int(found[1])].text, template))


def number(value: Any, dtype: Any) -> Term:
    """A number of a dtype."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return atom("true" if value else "false")
    if dtype.kind in "iu":
        value = int(value)
        text = str(abs(value)) if abs(value) < 2**31 else f"{'U' if dtype.kind == 'u' else ''}INT64_C({abs(value)})"
        if value == -(2**63):
            return atom("INT64_MIN")
        return Term(f"-{text}", _UNARY) if value < 0 else atom(text)
    value = dtype.type(value)
    if np.isnan(value):
        return atom("NAN")
    sign = "-" if np.signbit(value) else ""
    if np.isinf(value):
        text = "INFINITY"
    else:
        text = str(abs(value)) if dtype == np.float32 else repr(abs(float(value)))
        text += "" if any(char in text for char in ".en") else ".0"
        text += "f" if dtype == np.float32 else ""
    return Term(sign + text, _UNARY) if sign else atom(text)


def cast(term: Term, have: Any, want: Any) -> Term:
    """The expression as a number of another dtype."""
    have, want = np.dtype(have), np.dtype(want)
    if have == want:
        return term
    if want.kind == "b":
        return Term(f"{term.within(_EQUAL + 1)} != 0", _EQUAL)
    return filled(f"({C_TYPES[want.name]}){{0}}", [term])


# --- what elementwise rules are ---------------------------------------------------------------------------------------

#: By the ``native`` name of a rule: a template, for floating-point numbers. ``#`` is the suffix of the precision; a
#: name with ``~`` behind it is a function of our own (``c_functions``), which computes in double precision.
_FLOATS = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}", "negative": "-{0}",
    "positive": "{0}", "conjugate": "{0}", "sqrt": "sqrt#({0})", "absolute": "fabs#({0})", "fabs": "fabs#({0})",
    "arcsin": "asin#({0})", "arccos": "acos#({0})", "arctan": "atan#({0})", "arctan2": "atan2#({0}, {1})",
    "arcsinh": "asinh#({0})", "arccosh": "acosh#({0})", "arctanh": "atanh#({0})", "power": "pow#({0}, {1})",
    "fmod": "fmod#({0}, {1})", "hypot": "hypot#({0}, {1})", "copysign": "copysign#({0}, {1})",
    "nextafter": "nextafter#({0}, {1})", "fmax": "fmax#({0}, {1})", "fmin": "fmin#({0}, {1})",
    "clip": "minimum~(maximum~({0}, {1}), {2})", "gamma": "tgamma#({0})", "gammaln": "lgamma#({0})",
    "psi": "digamma~({0})", "i0": "bessel_i0~({0})", "reciprocal": "reciprocal~({0})", "square": "square~({0})",
    "exp10": "pow#(10, {0})", "remainder": "remainder_floored~({0}, {1})", "ldexp": "ldexp_by~({0}, {1})",
}  # fmt: skip
for (
    _same
) in "exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh cbrt floor ceil trunc rint erf erfc".split():
    _FLOATS[_same] = f"{_same}#({{0}})"
_COMPARED = {
    "equal": "{0} == {1}", "not_equal": "{0} != {1}", "less": "{0} < {1}", "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}", "greater_equal": "{0} >= {1}",
}  # fmt: skip
#: For integers; ``%`` stands for ``_u`` where they have no sign.
_INTEGERS = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "negative": "-{0}", "positive": "{0}",
    "conjugate": "{0}", "bitwise_and": "{0} & {1}", "bitwise_or": "{0} | {1}", "bitwise_xor": "{0} ^ {1}",
    "invert": "~{0}", "absolute": "int_absolute~({0})", "sign": "int_sign~({0})", "square": "int_square~({0})",
    "maximum": "int_maximum%~({0}, {1})", "minimum": "int_minimum%~({0}, {1})", "fmax": "int_maximum%~({0}, {1})",
    "fmin": "int_minimum%~({0}, {1})", "floor_divide": "int_floor_divide%~({0}, {1})",
    "remainder": "int_remainder%~({0}, {1})", "fmod": "int_fmod%~({0}, {1})", "power": "int_power~({0}, {1})",
    "left_shift": "int_left_shift~({0}, {1})", "right_shift": "int_right_shift~({0}, {1})",
    "gcd": "int_gcd~({0}, {1})", "lcm": "int_lcm~({0}, {1})", "bitwise_count": "int_bitwise_count~({0})",
    "clip": "int_minimum%~(int_maximum%~({0}, {1}), {2})", "floor": "{0}", "ceil": "{0}", "trunc": "{0}",
    "rint": "{0}", "reciprocal": "int_reciprocal~({0})",
}  # fmt: skip
_BOOLEANS = {
    "add": "{0} || {1}", "multiply": "{0} && {1}", "maximum": "{0} || {1}", "minimum": "{0} && {1}",
    "fmax": "{0} || {1}", "fmin": "{0} && {1}", "bitwise_and": "{0} && {1}", "bitwise_or": "{0} || {1}",
    "bitwise_xor": "{0} != {1}", "invert": "!{0}", "absolute": "{0}", "positive": "{0}", "conjugate": "{0}",
    "floor": "{0}", "ceil": "{0}", "trunc": "{0}", "square": "{0}",
}  # fmt: skip
_LOGICAL = {
    "logical_and": "{0} && {1}", "logical_or": "{0} || {1}", "logical_xor": "{0} != {1}", "logical_not": "!{0}",
}  # fmt: skip
#: Of the classification of numbers: what it is for floating-point numbers, and for all others.
_CLASSES = {
    "isnan": ("(bool)isnan({0})", "false"), "isinf": ("(bool)isinf({0})", "false"),
    "isfinite": ("(bool)isfinite({0})", "true"), "signbit": ("(bool)signbit({0})", "{0} < 0"),
}  # fmt: skip


def form_of(rule: Elementwise, out: Any, kinds: Sequence[Any], known: Callable[[str], bool]) -> str | None:
    """The template of a rule for arguments of these dtypes, or None; ``known(name)`` says that we have a function."""
    native, first = rule.native, np.dtype(kinds[0])
    if native == "cast":
        return "{0}"
    if native == "select":
        return "{0} ? {1} : {2}"
    if native in _LOGICAL:
        return _LOGICAL[native]
    if native in _COMPARED:
        return _COMPARED[native]
    if native in _CLASSES:
        return _CLASSES[native][first.kind != "f"]
    if first.kind == "b":
        return _BOOLEANS.get(native)
    if first.kind in "iu" and np.dtype(out).kind in "iu":
        return _INTEGERS.get(native, "").replace("%", "_u" if first.kind == "u" else "") or None
    if np.dtype(out).kind != "f" and native != "binary_exponent":
        return None
    made = _FLOATS.get(native)
    if made is not None:
        return made.replace("#", "f" if np.dtype(out) == np.float32 else "")
    if known(native):
        return f"{native}~({', '.join(f'{{{place}}}' for place in range(rule.nin))})"
    return None


def loop_kinds(rule: Elementwise, types: Sequence[Any], out: Any) -> list[Any] | None:
    """The dtypes in which the rule's own loop takes its arguments."""
    given = [kind.dtype if isinstance(kind, ArrayType) else kind for kind in types]
    if rule.native in _LOGICAL:
        return [np.dtype(bool)] * len(given)
    if isinstance(rule.value, np.ufunc):
        return list(rule.value.resolve_dtypes((*given, None))[:-1])
    plain = [np.dtype(one) for one in given]
    if rule.native == "cast":
        return plain[:1]
    if rule.chooses:
        return [np.dtype(bool), out, out]
    if out.kind != "f":
        return plain
    return [out if one.kind == "f" or place == 0 else one for place, one in enumerate(plain)]


def literal_as(one: Literal, dtype: Any) -> Any:
    """A literal in a dtype, as NumPy converts it."""
    with np.errstate(all="ignore"):
        return np.asarray(one.value).astype(dtype)[()]
