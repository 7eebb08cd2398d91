"""The ``latex`` facet of a rule -> how it is written in a medium: text with slots that know what to enclose."""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from dataclasses import dataclass, field

from chainrule.derive.names import superscript
from chainrule.rule import Elementwise, Rule

__all__ = ["ATOM", "Form", "Slot", "form_of"]

#: How tightly things bind: a name or a bracketed whole, the argument of a function, a product, a sum.
ATOM, FUNCTION, POWER, PRODUCT, SUM = 12, 11, 8, 6, 4
_HOLE, _FIELD = 0xE000, 0xE100
_GAP = "\N{NARROW NO-BREAK SPACE}"
_FUNCTIONS = frozenset("sin cos tan arcsin arccos arctan sinh cosh tanh log exp det max min arg gcd".split())
_WITH_ARGUMENTS = {
    "frac": 2, "binom": 2, "sqrt": 1, "operatorname": 1, "mathbf": 1, "mathsf": 1, "overline": 1, "text": 1,
    "mathrel": 1, "mathbin": 1, "begin": 1, "end": 1, "mathrm": 1,
}  # fmt: skip
_SIGNS = {
    "sigma": "σ", "Gamma": "Γ", "psi": "ψ", "Phi": "Φ", "pi": "π", "lambda": "λ", "circ": "°", "sum": "Σ", "prod": "Π",
    "ne": "≠ ", "le": "≤ ", "ge": "≥ ", "land": "∧ ", "lor": "∨ ", "lnot": "¬", "oplus": "⊕ ", "mid": "| ", "ll": "<< ",
    "gg": ">> ", "in": "∈ ", "&": "&", ",": " ", "lvert": "|", "rvert": "|", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈",
    "rceil": "⌉", "left": "", "right": "", "big": "", "bmod": "mod ", "odot": "⊙ ", "cdot": "·", "log": "log", ";": " ",
    "quad": " ", "to": "→", "times": "×", "top": "ᵀ",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of an operand (``which`` a number) or of a parameter (a name).

    ``need`` is how tightly what stands there must bind to go without brackets; ``style`` is ``""``, ``argument`` (of a
    function: always in brackets), ``high``, ``low``, or ``big`` (of a sum over indices).
    """

    which: int | str
    need: int = 0
    style: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """Text and slots, and how tightly the whole binds; ``open`` says that it reaches as far right as it can."""

    parts: tuple[str | Slot, ...]
    binds: int
    open: bool = False


# --- the facet, taken apart -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Token:
    kind: str  # text, hole, field, command, script, group
    text: str = ""
    inside: list[_Token] = field(default_factory=list)
    arguments: list[list[_Token]] = field(default_factory=list)


def _marked(latex: str) -> tuple[str, list[str]]:
    """The template with a character of private use for each hole, and the names of the parameters."""
    text, names = "", []
    for literal, name, _, _ in string.Formatter().parse(latex):
        text += literal
        if name is None:
            continue
        if name.isdigit():
            text += chr(_HOLE + int(name))
        else:
            if name not in names:
                names.append(name)
            text += chr(_FIELD + names.index(name))
    return text, names


class _Reader:
    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text, self.names, self.place = text, names, 0

    def sequence(self, closing: str = "") -> list[_Token]:
        made: list[_Token] = []
        while self.place < len(self.text):
            if closing and self.text.startswith(closing, self.place):
                self.place += len(closing)
                return made
            made.append(self.token())
        return [one for one in made if not (one.kind == "text" and one.text == "")]

    def token(self) -> _Token:
        char = self.text[self.place]
        self.place += 1
        if char == "{":
            return _Token("group", inside=self.sequence("}"))
        if char in "^_":
            inner = self.token()
            return _Token("script", char, inside=inner.inside if inner.kind == "group" else [inner])
        if char == "\\":
            return self.command()
        if ord(char) >= _FIELD:
            return _Token("field", self.names[ord(char) - _FIELD])
        if ord(char) >= _HOLE:
            return _Token("hole", str(ord(char) - _HOLE))
        return _Token("text", char)

    def command(self) -> _Token:
        start = self.place
        while self.place < len(self.text) and self.text[self.place].isascii() and self.text[self.place].isalpha():
            self.place += 1
        name = self.text[start : self.place]
        if not name:
            name = self.text[self.place]
            self.place += 1
        while self.place < len(self.text) and self.text[self.place] == " " and name not in (",", "&", "\\"):
            self.place += 1
        made = _Token("command", name)
        if name == "sqrt" and self.text.startswith("[", self.place):
            self.place += 1
            made.arguments.append(self.sequence("]"))
        for _ in range(_WITH_ARGUMENTS.get(name, 0)):
            inner = self.token()
            made.arguments.append(inner.inside if inner.kind == "group" else [inner])
        return made


# --- what a slot must enclose ---------------------------------------------------------------------------------------


def _neighbour(seq: Sequence[_Token], place: int, way: int) -> _Token | None:
    place += way
    while 0 <= place < len(seq) and seq[place].kind == "text" and seq[place].text == " ":
        place += way
    return seq[place] if 0 <= place < len(seq) else None


_OPENING = frozenset("([|,;&")
_CLOSING = frozenset(")]|,;&")


def _is_delimiter(token: _Token | None, which: frozenset[str]) -> bool:
    if token is None:
        return True
    return (token.kind == "text" and token.text in which) or (
        token.kind == "command"
        and token.text in {"begin", "end", "\\", "lvert", "rvert", "lfloor", "rfloor", "lceil", "rceil", "right"}
    )


def _slot(seq: Sequence[_Token], place: int, binds: int, alone: int) -> Slot:
    """The slot of the hole at a place; ``alone`` is what it must bind where nothing stands beside it."""
    token = seq[place]
    which = int(token.text)
    before, after = _neighbour(seq, place, -1), _neighbour(seq, place, 1)
    if after is not None and after.kind == "script":
        return Slot(which, ATOM)
    back = place
    while before is not None and before.kind == "script":
        back = next(i for i in range(back - 1, -1, -1) if seq[i] is before)
        before = _neighbour(seq, back, -1)
    if before is not None and before.kind == "command":
        if before.text in ("sum", "prod"):
            return Slot(which, PRODUCT, "big")
        if before.text in _FUNCTIONS or before.text == "operatorname":
            return Slot(which, 0, "argument")
    if _is_delimiter(before, _OPENING) and _is_delimiter(after, _CLOSING):
        return Slot(which, alone if before is None and after is None else 0)
    strict = before is not None and (before.text in ("-", "bmod"))
    return Slot(which, binds + 1 if strict else binds)


# --- LaTeX ----------------------------------------------------------------------------------------------------------


def _latex_parts(seq: Sequence[_Token], binds: int, alone: int = 0) -> list[str | Slot]:
    made: list[str | Slot] = []
    for place, token in enumerate(seq):
        following = seq[place + 1] if place + 1 < len(seq) else None
        if token.kind == "hole":
            made.append(_slot(seq, place, binds, alone))
        elif token.kind == "field":
            made.append(Slot(token.text))
        elif token.kind == "text":
            made.append(token.text)
        elif token.kind == "group":
            base = following is not None and following.kind == "script"
            made += ["{", *_latex_parts(token.inside, binds, ATOM if base else 0), "}"]
        elif token.kind == "script":
            made += [token.text, "{", *_styled(_latex_parts(token.inside, 0), token.text), "}"]
        else:
            made.append(f"\\{token.text}")
            for one in token.arguments:
                made += ["{", *_latex_parts(one, 0), "}"]
            if not token.arguments and token.text[-1:].isalpha():
                made.append(" ")
    return made


def _styled(parts: list[str | Slot], script: str) -> list[str | Slot]:
    return [
        Slot(one.which, one.need, "high" if script == "^" else "low") if isinstance(one, Slot) else one for one in parts
    ]


# --- Unicode --------------------------------------------------------------------------------------------------------


def _unicode_parts(seq: Sequence[_Token], binds: int, alone: int = 0) -> list[str | Slot]:
    made: list[str | Slot] = []
    place = 0
    while place < len(seq):
        token = seq[place]
        following = seq[place + 1] if place + 1 < len(seq) else None
        if token.kind == "hole":
            made.append(_slot(seq, place, binds, alone))
        elif token.kind == "field":
            made.append(Slot(token.text))
        elif token.kind == "text":
            after = _neighbour(seq, place, 1)
            if token.text == " " and after is not None and after.kind == "hole":
                slot = _slot(seq, next(i for i in range(place, len(seq)) if seq[i] is after), binds, alone)
                place += slot.style == "argument"
                made.append(slot if slot.style == "argument" else " ")
            else:
                made.append("−" if token.text == "-" else token.text)
        elif token.kind == "group":
            base = following is not None and following.kind == "script"
            made += _unicode_parts(token.inside, binds, ATOM if base else alone)
        elif token.kind == "script":
            made += _unicode_script(token)
        elif token.text == "begin":
            stop = next(i for i in range(place, len(seq)) if seq[i].kind == "command" and seq[i].text == "end")
            made += _unicode_cases(seq[place + 1 : stop])
            place = stop
        elif token.text == "log" and following is not None and following.text == "frac":
            made += ["log(", *_unicode_command(following), ")"]
            place += 1
        else:
            made += _unicode_command(token)
            # A function of something that is no slot stands apart from it: log Γ(x).
            if token.text in _FUNCTIONS and following is not None and following.kind in ("text", "command"):
                made += [] if following.text in " (," else [" "]
        place += 1
    return made


def _plain(seq: Sequence[_Token]) -> str | None:
    """The text of tokens that hold no slot and no command, else None."""
    if all(one.kind == "text" for one in seq):
        return "".join(one.text for one in seq)
    return None


def _unicode_script(token: _Token) -> list[str | Slot]:
    inside = [one for one in token.inside if one.text != " "]
    plain = _plain(inside)
    if token.text == "^":
        if plain is not None:
            return [superscript(plain)]
        if len(inside) == 1 and inside[0].kind == "hole":
            return [Slot(int(inside[0].text), ATOM, "high")]
        if len(inside) == 1 and inside[0].kind == "command":
            return [superscript("T") if inside[0].text == "mathsf" else _SIGNS.get(inside[0].text, "")]
        return ["^(", *_unicode_parts(inside, 0), ")"]
    if plain is not None and plain.isdigit():
        return [plain.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))]
    if inside and inside[0].text == "[":
        return _unicode_parts(inside, 0)
    if len(inside) == 1 and inside[0].kind == "field" and inside[0].text == "axes":
        return [Slot("axes")]
    if len(inside) == 1 and inside[0].kind == "hole":
        return _styled(_unicode_parts(inside, 0), "_")
    return ["[", *_unicode_parts(token.inside, 0), "]"]


def _unicode_command(token: _Token) -> list[str | Slot]:
    name = token.text
    if name == "frac":
        over, under = token.arguments
        return [*_factor(over, PRODUCT), " / ", *_factor(under, PRODUCT + 1)]
    if name == "sqrt":
        sign = "√" if len(token.arguments) == 1 else "∛"
        return [sign, *_factor(token.arguments[-1], ATOM)]
    if name == "binom":
        return ["C(", *_unicode_parts(token.arguments[0], 0), ", ", *_unicode_parts(token.arguments[1], 0), ")"]
    if name == "overline":
        return ["conj(", *_unicode_parts(token.arguments[0], 0), ")"]
    if name == "mathbf":
        return ["𝟏"]
    if name == ",":
        return [_GAP]
    if token.arguments:
        return [part for one in token.arguments for part in _unicode_parts(one, 0)]
    return [_SIGNS.get(name, name)]


def _factor(seq: Sequence[_Token], need: int) -> list[str | Slot]:
    """Something that is divided, or rooted, on one line: in brackets if it is more than one thing."""
    inside = [one for one in seq if one.text != " "]
    if len(inside) == 1 and inside[0].kind == "hole":
        return [Slot(int(inside[0].text), need)]
    parts = _unicode_parts(seq, 0)
    if len(inside) == 1 or _plain(inside) is not None:
        return parts
    return ["(", *parts, ")"]


def _unicode_cases(seq: Sequence[_Token]) -> list[str | Slot]:
    """``a if c, b otherwise``."""
    made: list[str | Slot] = ["{"]
    row: list[_Token] = []
    rows = []
    for token in seq:
        if token.kind == "command" and token.text == "\\":
            rows.append(row)
            row = []
        else:
            row.append(token)
    rows.append(row)
    for number, one in enumerate(rows):
        cut = next((i for i, token in enumerate(one) if token.kind == "text" and token.text == "&"), len(one))
        value, condition = _trimmed(one[:cut]), _trimmed(one[cut + 1 :])
        made += ["; "] if number else []
        made += [*_unicode_parts(value, 0)]
        made += [" " if condition and condition[0].text == "text" else " where ", *_unicode_parts(condition, 0)]
    return [*made, "}"]


def _trimmed(seq: Sequence[_Token]) -> list[_Token]:
    return [one for one in seq if not (one.kind == "text" and one.text in (" ", "&"))]


# --- a rule's form --------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=2048)
def form_of(rule: Rule, medium: str, entrywise: bool = False) -> Form:
    """How a rule is written in ``latex`` or ``unicode``; ``entrywise`` between two arrays, entry by entry."""
    latex = rule.entrywise if entrywise and rule.entrywise else rule.latex
    text, names = _marked(latex)
    seq = _Reader(text, names).sequence()
    binds = rule.binds
    if medium == "latex":
        parts = _latex_parts(seq, binds)
    else:
        parts = _unicode_parts(seq, binds)
        if isinstance(rule, Elementwise):
            # Between numbers the gap is a product sign; matrices stand side by side.
            parts = ["·" if one == _GAP else one for one in parts]
        parts = [" " if one == _GAP else one for one in parts]
        if any(one.kind == "command" and one.text == "frac" for one in seq):
            binds = min(binds, PRODUCT - 1)
    opens = any(isinstance(one, Slot) and one.style == "big" for one in parts)
    return Form(_joined(parts), binds, opens)


def _joined(parts: Sequence[str | Slot]) -> tuple[str | Slot, ...]:
    made: list[str | Slot] = []
    for one in parts:
        last = made[-1] if made else None
        if isinstance(one, str) and isinstance(last, str):
            made[-1] = last + one
        elif one != "":
            made.append(one)
    return tuple(made)
