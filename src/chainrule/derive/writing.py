"""Expression -> a line of LaTeX or of Unicode text, by the rules' own forms and how tightly these bind.

Arrays are written whole (``X W + b``); a sum over an axis names the letter of that axis and gives it to what is summed.
``entry`` writes one entry of an array, with letters for all of its axes: the index form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.derive.expression import Expr, Leaf, Node, Number, Over, leaves_of
from chainrule.derive.forms import ATOM, PRODUCT, SUM, Form, Slot, form_of
from chainrule.derive.names import latex_name, latex_number, lowered, superscript, unicode_name, unicode_number
from chainrule.rule import Elementwise, Gather, Index

__all__ = ["entry", "is_quiet", "is_zero", "written"]

LETTERS = "ijkmnprs"


@dataclass(frozen=True, slots=True)
class Medium:
    """What differs between LaTeX and text besides the rules' forms."""

    name: str
    leaf: Callable[[Leaf, str], str]
    number: Callable[[Any], str]
    open: str
    close: str
    dot: str
    comma: str
    sum: str
    times: str
    minus: str


LATEX = Medium(
    "latex", latex_name, latex_number, r"\left(", r"\right)", r"{\cdot}", "", r"\sum_{{{0}}} ", r"\,", "-",
)  # fmt: skip
UNICODE = Medium("unicode", unicode_name, unicode_number, "(", ")", ":", ",", "Σ{0} ", "·", "−")
MEDIA = {"latex": LATEX, "unicode": UNICODE}


def written(expr: Expr, medium: str = "unicode") -> str:
    """The expression on one line, arrays whole."""
    return _Writer(MEDIA[medium], expr).write(expr)


def entry(expr: Expr, medium: str = "unicode", letters: str | None = None) -> str:
    """One entry of the array that the expression is, with a letter for each axis."""
    writer = _Writer(MEDIA[medium], expr)
    return writer.write(expr, subs=tuple(letters or writer.fresh(expr.ndim)))


@dataclass(frozen=True, slots=True)
class _Axes:
    """What a rule of letters is asked by: the shape of an operand."""

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class _Writer:
    """Writes one expression; hands out letters that no variable of it has."""

    def __init__(self, medium: Medium, expr: Expr) -> None:
        self.medium = medium
        taken = {leaf.name for leaf in leaves_of(expr)}
        self.letters = [one for one in LETTERS if one not in taken] + [f"i_{number}" for number in range(200)]
        self.used: set[str] = set()

    def fresh(self, count: int) -> list[str]:
        """Letters that were not used yet."""
        return [self.letter() for _ in range(count)]

    def letter(self, axis: int | None = None) -> str:
        """A letter that was not used yet: that of the axis, if it is free."""
        found = None if axis is None or self.letters[axis] in self.used else self.letters[axis]
        if found is None:
            found = next(one for one in self.letters if one not in self.used)
        self.used.add(found)
        return found

    # -- any expression

    def write(self, expr: Expr, need: int = 0, subs: Sequence[str] | None = None, last: bool = True) -> str:
        """The expression, in brackets if it binds less than ``need``; ``last`` says that nothing follows it."""
        return self.bracketed(expr, need, subs, last)[0]

    def bracketed(self, expr: Expr, need: int, subs: Sequence[str] | None, last: bool) -> tuple[str, bool]:
        """What ``write`` gives, and whether it reaches as far right as it can."""
        text, binds, opens = self.parts(expr, subs)
        if binds < need or (opens and not last and need > SUM - 1):
            return f"{self.medium.open}{text}{self.medium.close}", False
        return text, opens

    def parts(self, expr: Expr, subs: Sequence[str] | None) -> tuple[str, int, bool]:
        """The text, how tightly it binds, and whether it reaches as far right as it can."""
        medium = self.medium
        if isinstance(expr, Number):
            text = medium.number(expr.value)
            return text, ATOM if text[:1] not in "-−" and "\\cdot" not in text else 5, False
        if isinstance(expr, Leaf):
            return medium.leaf(expr, self.joined(subs)), ATOM, False
        if isinstance(expr, Over):
            return (
                medium.sum.format(expr.letter if medium is LATEX else lowered(expr.letter))
                + self.write(expr.inner, SUM + 1, subs),
                SUM,
                True,
            )
        assert isinstance(expr, Node)
        return self.node(expr, subs)

    def joined(self, subs: Sequence[str] | None) -> str:
        return "" if not subs else self.medium.comma.join(subs)

    # -- a rule

    def node(self, expr: Node, subs: Sequence[str] | None) -> tuple[str, int, bool]:
        rule = expr.rule
        if is_quiet(expr):
            return self.parts(expr.operands[0], self.kept(subs, expr, expr.operands[0]))
        if isinstance(rule, Elementwise) and rule.chooses:
            return self.cases(expr, subs)
        outer = None if subs is not None else self.outer(expr)
        if outer is not None:
            return outer
        form = form_of(rule, self.medium.name, self.is_entrywise(expr, subs))
        if isinstance(rule, Gather) and rule.adds:
            return self.placed(expr, subs)
        if "axes" in rule.params and any(isinstance(one, Slot) and one.which == "axes" for one in form.parts):
            return self.over_axes(expr, form, subs)
        if subs is not None and isinstance(rule, Index):
            return self.by_letters(expr, rule, subs)
        if subs is not None and not isinstance(rule, Elementwise):
            text, binds, opens = self.filled(expr, form, None)
            whole = text if binds >= ATOM and not opens else f"{self.medium.open}{text}{self.medium.close}"
            if not subs:
                return text, binds, opens
            below = self.joined(subs)
            return (f"{{{whole}}}_{{{below}}}" if self.medium is LATEX else f"{whole}[{below}]"), ATOM, False
        return self.filled(expr, form, subs)

    def is_entrywise(self, expr: Node, subs: Sequence[str] | None) -> bool:
        return subs is None and sum(one.shape != () for one in expr.operands) > 1

    def outer(self, expr: Node) -> tuple[str, int, bool] | None:
        """Products of vectors as matrices see them: a column times a row, a row times what follows."""
        if len(expr.operands) != 2:
            return None
        left, right = expr.operands
        raised = r"^{\mathsf T}" if self.medium is LATEX else superscript("T")
        gap = r"\," if self.medium is LATEX else " "
        if expr.rule.algebra == "times" and expr.ndim == 2 and min(expr.shape) > 1:
            if right.ndim == 2 and right.shape[1] == 1 and left.ndim == 1:
                left, right = right, left
            if left.shape == (expr.shape[0], 1) and right.shape == (expr.shape[1],):
                return f"{self.write(left, PRODUCT, last=False)}{gap}{self.based(right)}{raised}", PRODUCT, False
        if isinstance(expr.rule, Index) and left.ndim == 1 and right.ndim >= 1:
            text, opens = self.bracketed(right, PRODUCT, None, True)
            return f"{self.based(left)}{raised}{gap}{text}", PRODUCT, opens
        return None

    def based(self, expr: Expr) -> str:
        """The base of a power."""
        text = self.write(expr, ATOM, last=False)
        return f"{{{text}}}" if self.medium is LATEX and isinstance(expr, Node) else text

    def filled(self, expr: Node, form: Form, subs: Sequence[str] | None) -> tuple[str, int, bool]:
        """The form with its slots filled."""
        made: list[str] = []
        slots = [one for one in form.parts if isinstance(one, Slot)]
        opens = form.open
        highest = max((one.which for one in slots if isinstance(one.which, int)), default=-1)
        for place, part in enumerate(form.parts):
            if isinstance(part, str):
                made.append(part)
            elif isinstance(part.which, int):
                operand = expr.operands[part.which] if part.which < len(expr.operands) else None
                last = place == len(form.parts) - 1
                text, reaches = ("", False) if operand is None else self.slot(expr, part, operand, subs, last)
                if part.which == highest == 0 and len(expr.operands) > 1 and part.need == 0:
                    rest = [self.write(one, subs=self.kept(subs, expr, one)) for one in expr.operands[1:]]
                    text = ", ".join([text, *rest])
                made.append(text)
                opens = opens or (last and reaches)
            else:
                made.append(self.parameter(expr, part))
        text = "".join(made)
        if getattr(expr.rule, "outputs", 1) > 1:
            number = str(expr.result + 1)
            shut = f"{self.medium.open}{text}{self.medium.close}"
            return (f"{{{shut}}}_{{{number}}}" if self.medium is LATEX else f"{shut}[{number}]"), ATOM, False
        return text, form.binds, opens

    def cases(self, expr: Node, subs: Sequence[str] | None) -> tuple[str, int, bool]:
        """Choices inside of choices as one list of cases, each with all of its conditions."""
        latex = self.medium is LATEX
        rows: list[tuple[str, tuple[str, ...]]] = []
        self.case_rows(expr, (), subs, rows)
        otherwise = r"\text{otherwise}" if latex else "otherwise"
        both = r"\text{ and }" if latex else " and "
        if latex:
            lines = [f"{value} & {both.join(conditions) or otherwise}" for value, conditions in rows]
            rows_of = r" \\ ".join(lines)
            return rf"\begin{{cases}} {rows_of} \end{{cases}}", ATOM, False
        texts = [f"{value} {'where ' + both.join(which) if which else otherwise}" for value, which in rows]
        return "{" + "; ".join(texts) + "}", ATOM, False

    def case_rows(
        self, expr: Expr, under: tuple[str, ...], subs: Sequence[str] | None, rows: list[tuple[str, tuple[str, ...]]]
    ) -> None:
        if not isinstance(expr, Node) or not isinstance(expr.rule, Elementwise) or not expr.rule.chooses:
            rows.append((self.write(expr, subs=subs), under))
            return
        condition, yes, no = (one for one in expr.operands)
        text = self.write(condition, 2, self.kept(subs, expr, condition))
        self.case_rows(yes, (*under, text), self.kept(subs, expr, yes), rows)
        self.case_rows(no, under, self.kept(subs, expr, no), rows)

    def slot(self, expr: Node, slot: Slot, operand: Expr, subs: Sequence[str] | None, last: bool) -> tuple[str, bool]:
        """What stands in a slot, and whether it reaches as far right as it can."""
        kept = self.kept(subs, expr, operand)
        medium = self.medium
        if slot.style == "argument":
            return f"{medium.open}{self.write(operand, 0, kept)}{medium.close}", False
        if slot.style == "low" and medium is UNICODE:
            text = self.write(operand, 0, kept)
            return lowered(text) if isinstance(operand, Number) else f"[{text}]", False
        if slot.style == "high":
            text, binds, _ = self.parts(operand, kept)
            if medium is LATEX:
                return text, False
            if isinstance(operand, Number):
                return superscript(text.replace("−", "-")), False
            return (f"^{text}" if binds >= ATOM else f"^({text})"), False
        if slot.need == ATOM and medium is LATEX and last is False:
            # The base of a power or of a subscript: its own scripts must not meet the new one.
            text = self.write(operand, ATOM, kept, last=False)
            scripts = isinstance(operand, Node) or subs or "_{" in text or "^{" in text
            return (f"{{{text}}}" if scripts else text), False
        need = PRODUCT + 1 if self.is_mixed(expr, operand, subs, kept) else slot.need
        return self.bracketed(operand, need, kept, last)

    def is_mixed(self, expr: Node, operand: Expr, subs: Sequence[str] | None, kept: Sequence[str] | None) -> bool:
        """Whether a product entry by entry meets a product of matrices: a reader can not know which comes first."""
        if not isinstance(operand, Node):
            return False
        one = bool(expr.rule.entrywise) and self.is_entrywise(expr, subs)
        two = bool(operand.rule.entrywise) and self.is_entrywise(operand, kept)
        return (one and _is_matrix_product(operand, kept)) or (two and _is_matrix_product(expr, subs))

    def parameter(self, expr: Node, slot: Slot) -> str:
        value = expr.params[expr.rule.params.index(str(slot.which))]
        if slot.which == "key" and isinstance(value, tuple):
            return self.key(value, expr)
        if slot.which == "shape" and isinstance(value, tuple):
            return (r"\times " if self.medium is LATEX else "×").join(map(str, value)) or "1"
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        text = str(value)
        return text if self.medium is UNICODE else text.replace("_", r"\_").replace("%", r"\%")

    def key(self, key: tuple[Any, ...], expr: Node) -> str:
        """An index as it stands in the user's code; arrays of positions by their names."""
        arrays = iter([one for one in expr.operands[1:] if one.shape != () or isinstance(one, Leaf)])
        shown = []
        for one in key:
            if isinstance(one, str) and one.startswith("?"):
                operand = next(arrays, None)
                shown.append("?" if operand is None else self.write(operand))
            elif isinstance(one, tuple):
                shown.append(self.affine(one))
            else:
                shown.append(str(one))
        text = ", ".join(shown)
        return text.replace("...", r"\dots ") if self.medium is LATEX else text

    def affine(self, part: tuple[Any, ...]) -> str:
        """An index that moves with a loop: ``t``, ``t+1``, ``2t-1``."""
        numbers = [one for one in part if isinstance(one, int)]
        if len(numbers) < 2:
            return str(part)
        start, stride = numbers[0], numbers[1]
        text = {1: "l", -1: "-l"}.get(stride, f"{stride}l")
        return text if not start else f"{text}{start:+d}" if stride > 0 else f"{start}{text}"

    # -- indices

    def kept(self, subs: Sequence[str] | None, expr: Expr, operand: Expr) -> Sequence[str] | None:
        """The letters of an operand's axes, from those of the result: an axis that is spread has none."""
        if subs is None:
            return None
        if operand.ndim > len(subs) or operand.shape == ():
            return ()
        extra = expr.ndim - operand.ndim
        if extra < 0:
            mine = [one for one, extent in zip(subs, expr.shape, strict=False) if extent != 1]
            return tuple(mine)
        if math.prod(operand.shape) == math.prod(expr.shape) and operand.shape != expr.shape[extra:]:
            # Axes of extent 1 were put in or taken out.
            live = iter(one for one, extent in zip(subs, expr.shape, strict=True) if extent != 1)
            return tuple("1" if extent == 1 else next(live, "1") for extent in operand.shape)
        return tuple(
            one
            for one, extent, whole in zip(subs[extra:], operand.shape, expr.shape[extra:], strict=True)
            if not (extent == 1 and whole != 1)
        )

    def over_axes(self, expr: Node, form: Form, subs: Sequence[str] | None) -> tuple[str, int, bool]:
        """A sum, product or extreme over axes: a letter for each, handed to what stands behind it."""
        operand = expr.operands[0]
        axes = expr.params[expr.rule.params.index("axes")]
        given = iter(subs if subs is not None else [self.medium.dot] * (operand.ndim - len(axes)))
        letters = [
            self.letter(place) if place in axes else next(given, self.medium.dot) for place in range(operand.ndim)
        ]
        over = (self.medium.comma or ",").join(letters[place] for place in axes)
        made: list[str] = []
        for place, part in enumerate(form.parts):
            if isinstance(part, str):
                made.append(part)
            elif part.which == "axes":
                made.append(over if self.medium is LATEX else lowered(over))
            elif isinstance(part.which, int):
                inside = expr.operands[part.which]
                last = place == len(form.parts) - 1
                text = self.write(inside, PRODUCT if part.style != "argument" else 0, tuple(letters), last)
                made.append(f"{self.medium.open}{text}{self.medium.close}" if part.style == "argument" else text)
            else:
                made.append(self.parameter(expr, part))
        self.used.difference_update(letters[place] for place in axes)
        return "".join(made), form.binds, True

    def by_letters(self, expr: Node, rule: Index, subs: Sequence[str]) -> tuple[str, int, bool]:
        """One entry of a sum of products: the letters of the result are given, a sum runs over the others."""
        types = [_Axes(one.shape) for one in expr.operands]
        words, out = rule.letters(types, expr.params)
        names = dict(zip(out, subs, strict=False))
        summed = []
        for word, kind in zip(words, types, strict=True):
            for letter, extent in zip(word, kind.shape, strict=True):
                if letter not in names:
                    names[letter] = "" if extent == 1 else self.letter()
                    if extent != 1:
                        summed.append(names[letter])
        factors = [
            self.write(one, PRODUCT if len(words) > 1 or summed else 0, tuple(names[x] for x in word if names[x]))
            for one, word in zip(expr.operands, words, strict=True)
        ]
        text = self.medium.times.join(factors)
        if summed:
            over = (self.medium.comma or ",").join(summed)
            return self.medium.sum.format(over if self.medium is LATEX else lowered(over)) + text, PRODUCT, True
        if len(factors) > 1:
            return text, PRODUCT, False
        return self.parts(expr.operands[0], tuple(names[x] for x in words[0] if names[x]))

    def placed(self, expr: Node, subs: Sequence[str] | None) -> tuple[str, int, bool]:
        """Entries added at a key: to nothing (the adjoint of a selection), or to another array."""
        base, more = expr.operands[0], expr.operands[1]
        shifted = expr.over(base, *expr.operands[2:])
        key = self.key(expr.params[expr.rule.params.index("key")], shifted) if "key" in expr.rule.params else ""
        latex = self.medium is LATEX
        where = f"[{key}]"
        added = self.write(more, SUM)
        if is_zero(base):
            text = (
                rf"{added}\ \text{{at}}\ {where},\ 0\ \text{{elsewhere}}"
                if latex
                else f"{added} at {where}, 0 elsewhere"
            )
            text = rf"\left\{{{text}\right\}}" if latex else f"{{{text}}}"
            return (text, ATOM, False) if not subs else (self.below(text, subs), ATOM, False)
        text = self.write(base, SUM)
        text = (
            rf"{text} + \left\{{{added}\ \text{{at}}\ {where}\right\}}" if latex else f"{text} + {{{added} at {where}}}"
        )
        if subs:
            return self.below(f"{self.medium.open}{text}{self.medium.close}", subs), ATOM, False
        return text, SUM, False

    def below(self, text: str, subs: Sequence[str]) -> str:
        return f"{text}_{{{self.joined(subs)}}}" if self.medium is LATEX else f"{text}[{self.joined(subs)}]"


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(extent for extent in shape if extent != 1)


def is_zero(expr: Expr) -> bool:
    """Whether an expression is the number 0, spread or not."""
    while isinstance(expr, Node) and expr.rule.name == "broadcast_to":
        expr = expr.operands[0]
    return isinstance(expr, Number) and not isinstance(expr.value, bool | np.bool_) and expr.value == 0


def _is_matrix_product(expr: Node, subs: Sequence[str] | None) -> bool:
    return subs is None and isinstance(expr.rule, Index) and len(expr.operands) > 1


def is_quiet(expr: Expr) -> bool:
    """Whether an expression's rule changes nothing that a reader of formulas sees: a cast, axes of extent 1."""
    if not isinstance(expr, Node):
        return False
    rule = expr.rule
    if rule.algebra == "itself":
        return True
    if not rule.merges or len(expr.operands) != 1:
        return False
    return _squeezed(expr.shape) == _squeezed(expr.operands[0].shape)
