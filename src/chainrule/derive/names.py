"""Names, numbers and indices in LaTeX and in Unicode: the smallest pieces of a formula, made safe for each medium."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from chainrule.derive.expression import Leaf

__all__ = ["latex_name", "latex_number", "latex_text", "lowered", "superscript", "unicode_name", "unicode_number"]

_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
).split()
_GREEK_LETTERS = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", _GREEK, strict=True))
_GREEK_NAMES = frozenset(_GREEK)
_SPLIT = re.compile(r"(?P<head>.*?[^\d_.])_?(?P<tail>\d+(?:\.\d+)*)$")
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "^": r"\textasciicircum{}", "&": r"\&",
    "%": r"\%", "$": r"\$", "#": r"\#", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
}  # fmt: skip
#: Signs that the texts of this package use.
_SIGNS = {
    "—": "---", "–": "--", "’": "'", "“": "``", "”": "''", "·": r"\ensuremath{\cdot}", "×": r"\ensuremath{\times}",
    "≤": r"\ensuremath{\le}", "≥": r"\ensuremath{\ge}", "∞": r"\ensuremath{\infty}", "∂": r"\ensuremath{\partial}",
    "→": r"\ensuremath{\to}", "∈": r"\ensuremath{\in}", "−": "-", "Σ": r"\ensuremath{\Sigma}",
    "⊙": r"\ensuremath{\odot}",
    "𝟏": r"\ensuremath{\mathbf 1}", "ᵀ": r"\ensuremath{^{\mathsf T}}", "…": r"\dots{}",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Any text as LaTeX text: nothing in it is a command, and what pdfLaTeX can not set is spelled out (U+4E2D)."""
    made = []
    for char in text:
        if char in _SPECIAL:
            made.append(_SPECIAL[char])
        elif char in _SIGNS:
            made.append(_SIGNS[char])
        elif char in _GREEK_LETTERS:
            made.append(rf"\ensuremath{{{_greek(_GREEK_LETTERS[char])}}}")
        elif char == "\t":
            made.append("    ")
        elif char.isascii():
            made.append(char if char.isprintable() else " ")
        else:
            made.append(f"[U+{ord(char):04X}]")
    return "".join(made)


def _greek(name: str) -> str:
    return f"\\{name}"


def _latex_word(word: str) -> str:
    """A name without trailing digits, in maths."""
    if word in _GREEK_NAMES:
        return _greek(word)
    if len(word) == 1:
        if word in _GREEK_LETTERS:
            return _greek(_GREEK_LETTERS[word])
        if word.isascii() and word.isalpha():
            return word
    safe = "".join(
        char if char.isascii() and char.isalnum() else r"\_" if char == "_" else rf"\text{{{latex_text(char)}}}"
        for char in word
    )
    return rf"\mathit{{{safe}}}"


def latex_name(leaf: Leaf, indices: str = "") -> str:
    """A variable in LaTeX: ``W1`` is W with the subscript 1, ``alpha`` the Greek letter, ``dW1`` its adjoint."""
    found = _SPLIT.match(leaf.name)
    word, below = (found["head"], found["tail"]) if found else (leaf.name, "")
    text = _latex_word(word or leaf.name)
    if leaf.index:
        # In braces: a transpose or a power of it is another exponent.
        text = f"{{{text}^{{({leaf.index})}}}}"
    subscript = ",\\,".join(one for one in (below, indices) if one)
    if subscript:
        text += f"_{{{subscript}}}"
    return rf"\mathrm{{d}}{text}" if leaf.adjoint else text


_SUPERSCRIPTS = str.maketrans("0123456789+-=()lktinmjLTKN", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ˡᵏᵗⁱⁿᵐʲᴸᵀᴷᴺ")
_RAISED = frozenset("0123456789+-=()lktinmjLTKN")


def superscript(text: str) -> str:
    """Text set high, where Unicode has all of its characters, else with ``^``."""
    if text and all(char in _RAISED for char in text):
        return text.translate(_SUPERSCRIPTS)
    return f"^{text}" if len(text) == 1 or text.isalnum() else f"^({text})"


_LOWERED = dict(zip("ijklmnprst,0123456789", "ᵢⱼₖₗₘₙₚᵣₛₜ,₀₁₂₃₄₅₆₇₈₉", strict=True))


def lowered(letters: str) -> str:
    """Indices set low (``ᵢⱼ``), where Unicode has all of them, else in brackets."""
    if all(char in _LOWERED for char in letters):
        return "".join(_LOWERED[char] for char in letters if char != ",")
    return f"[{letters}]"


def unicode_name(leaf: Leaf, indices: str = "") -> str:
    """A variable in plain text: the name itself, ``dW1`` for its adjoint, ``W1[i,j]`` for an entry."""
    text = ("d" if leaf.adjoint else "") + leaf.name
    if leaf.index:
        text += superscript(f"({leaf.index})")
    return f"{text}[{indices}]" if indices else text


#: Numbers that are known by another name, each in Unicode and in LaTeX.
_CONSTANTS = {
    math.pi: ("π", r"\pi"), 1 / math.pi: ("1/π", r"\tfrac{1}{\pi}"), math.log(2): ("log 2", r"\log 2"),
    1 / math.log(2): ("1/log 2", r"\tfrac{1}{\log 2}"), math.log(10): ("log 10", r"\log 10"),
    1 / math.log(10): ("1/log 10", r"\tfrac{1}{\log 10}"), 2 / math.sqrt(math.pi): ("2/√π", r"\tfrac{2}{\sqrt\pi}"),
    math.sqrt(math.pi) / 2: ("√π/2", r"\tfrac{\sqrt\pi}{2}"), math.sqrt(2 * math.pi): ("√(2π)", r"\sqrt{2\pi}"),
    1 / math.sqrt(2 * math.pi): ("1/√(2π)", r"\tfrac{1}{\sqrt{2\pi}}"), math.pi / 180: ("π/180", r"\tfrac{\pi}{180}"),
    180 / math.pi: ("180/π", r"\tfrac{180}{\pi}"), math.sqrt(2): ("√2", r"\sqrt 2"),
    1 / math.sqrt(2): ("1/√2", r"\tfrac{1}{\sqrt 2}"), math.sqrt(2 / math.pi): ("√(2/π)", r"\sqrt{\tfrac{2}{\pi}}"),
    math.log(2 * math.pi): ("log(2π)", r"\log(2\pi)"), math.log(2 * math.pi) / 2: ("log(2π)/2", r"\tfrac12\log(2\pi)"),
    2 * math.pi: ("2π", r"2\pi"), math.e: ("e", "e"),
}  # fmt: skip


def _constant(value: Any, place: int) -> str | None:
    if not isinstance(value, float | np.float64):
        return None
    for sign, text in ((1.0, ""), (-1.0, "-")):
        found = _CONSTANTS.get(sign * float(value))
        if found is not None:
            return text + (f"({found[0]})" if place == 0 and set(found[0]) & set("/ ") else found[place])
    return None


def _digits(value: Any) -> str:
    """A number as short as it can be without being another, or with six digits."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, complex | np.complexfloating):
        return repr(complex(value))
    number = float(value)
    if number.is_integer() and abs(number) < 1e6:
        return str(int(number))
    exact = repr(number)
    return exact if len(exact) <= 9 else f"{number:.6g}"


def unicode_number(value: Any) -> str:
    """``0.5``, ``1e-8``, ``inf``."""
    if isinstance(value, float | np.floating) and not math.isfinite(float(value)):
        return "NaN" if math.isnan(float(value)) else "∞" if value > 0 else "−∞"
    known = _constant(value, 0)
    if known is not None:
        return known.replace("-", "−", 1)
    return _digits(value).replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "−")


def latex_number(value: Any) -> str:
    r"""``0.5``, ``10^{-8}``, ``\infty``."""
    if isinstance(value, float | np.floating) and not math.isfinite(float(value)):
        return r"\mathrm{NaN}" if math.isnan(float(value)) else r"\infty" if value > 0 else r"-\infty"
    text = _constant(value, 1)
    if text is not None:
        return text
    text = _digits(value)
    if isinstance(value, bool | np.bool_):
        return rf"\text{{{text}}}"
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa}\cdot {power}"
