"""Derivation -> text for a terminal: the six parts in order, Unicode maths, wrapped to a width."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chainrule.derive.derivation import (
    WHAT_IT_IS_NOT,
    Adjoint,
    Contribution,
    Derivation,
    Input,
    Item,
    Local,
    Verdict,
)  # fmt: skip
from chainrule.derive.expression import Expr
from chainrule.derive.names import unicode_name
from chainrule.derive.prose import (
    CONVENTIONS,
    base_case,
    check_sentences,
    choices_sentence,
    inductive_step,
    loop_sentences,
    notes_on,
    ordinal_uses,
    tells_more,
)  # fmt: skip
from chainrule.derive.summary import shape_text, summary
from chainrule.derive.writing import is_quiet, written

__all__ = ["text"]

_MARKS = {True: "✓", False: "✗ NOT VERIFIED", None: "?"}
_STYLES = {"title": "bold", "head": "bold underline", "source": "dim", "bad": "bold red", "note": "italic", "": ""}
#: A formula longer than this is not written on a line of its own.
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    style: str = ""
    indent: int = 0
    hang: int = 0


def text(derivation: Derivation, *, width: int = 100, colour: bool = False) -> str:
    """The derivation as text, no line wider than ``width`` (at least 40), with colours of a terminal if asked."""
    width = max(width, 40)
    made: list[tuple[str, str]] = []
    for line in _lines(derivation):
        if not line.text:
            made.append(("", ""))
            continue
        lead = " " * line.indent
        wrapped = textwrap.wrap(
            line.text, width, initial_indent=lead, subsequent_indent=lead + " " * line.hang,
            break_long_words=True, break_on_hyphens=False, replace_whitespace=False, drop_whitespace=True,
        )  # fmt: skip
        made += [(one, line.style) for one in wrapped or [""]]
    if not colour:
        return "\n".join(one for one, _ in made) + "\n"
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, width=width + 1, force_terminal=True, color_system="standard", highlight=False)
    for one, style in made:
        console.print(Text(one, style=_STYLES[style]))
    return out.getvalue()


def _formula(expr: Expr | None) -> str:
    if expr is None:
        return "(too long to write on a line; open it)"
    made = written(expr)
    return made if len(made) <= _LONGEST else made[:_LONGEST] + " …"


def _lines(d: Derivation) -> Iterator[_Line]:
    yield _Line(f"The derivative of {d.function}, step by step", "title")
    yield _Line(WHAT_IT_IS_NOT, "note")
    yield _Line("")
    for one in CONVENTIONS:
        yield _Line(one)
    if d.unverified:
        yield _Line("")
        yield _Line(f"NOT VERIFIED: {', '.join(d.unverified)}. The numbers speak against these steps.", "bad")
    for remark in d.remarks:
        yield _Line(remark, "note")
    yield _Line("")
    yield from _composition(d)
    yield from _locals(d.locals)
    yield from _chain(d)
    yield from _gradient(d)
    yield from _numbers(d)


# --- 1. the composition ---------------------------------------------------------------------------------------------


def _composition(d: Derivation) -> Iterator[_Line]:
    yield _Line("1. The composition", "head")
    yield _Line(f"{d.function} is computed in these steps, each from those before it.")
    for one in d.inputs:
        what = "given" if one.captured else "an argument"
        path = "" if one.path == one.name else f", {one.path}"
        yield _Line(f"{one.name}   ({shape_text(one.shape)}{path}: {what})", "", 4, 8)
    place = None
    for item in d.items:
        here = None if item.place is None else item.place[:2]
        if here != place and item.place is not None:
            yield _Line(f"{item.place.short}   {_clean(item.place.text)}", "source", 2, 4)
            place = here
        yield from _step(item, 4)
    if d.choices:
        yield _Line(choices_sentence(d), "note")
    yield _Line("")


def _clean(line: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in line)
    return shown if len(shown) <= 200 else shown[:200] + " …"


def _step(item: Item, indent: int) -> Iterator[_Line]:
    about = [shape_text(item.shape)]
    if item.words:
        about.append(item.words)
    if item.kind == "loop":
        yield _Line(f"step {item.label}   for {item.letter} = 1, …, {item.trips}:", "", indent, 8)
        for one in item.body:
            yield from _step(one, indent + 4)
        return
    yield _Line(
        f"step {item.label}   {unicode_name(item.leaf)} = {_formula(item.expr)}   ({', '.join(about)})", "", indent, 8
    )
    for one in item.parts if tells_more(item) else ():
        yield _Line(f"{unicode_name(one.leaf)} = {_formula(one.expr)}", "source", indent + 8, 4)


# --- 2. the local derivatives ---------------------------------------------------------------------------------------


def _locals(found: Sequence[Local]) -> Iterator[_Line]:
    yield _Line("2. The local derivatives", "head")
    yield _Line("Each kind of step by itself: y is its result, u, v, w are what it reads.")
    for one in found:
        if is_quiet(one.expr):
            continue
        where = f"   for {one.domain}" if one.domain else ""
        yield _Line(f"{one.words}:   y = {_formula(one.expr)}{where}", "", 4, 8)
        said = []
        for partial in one.partials:
            u = unicode_name(partial.operand)
            said.append(
                f"∂y/∂{u} = {_formula(partial.expr)}"
                if partial.form == "partial"
                else f"d{u} = {_formula(partial.expr)}"
            )
        yield _Line(",   ".join(said), "", 8, 4)
        if one.convention:
            yield _Line(f"({one.convention})", "note", 8, 1)
    yield _Line("")


# --- 3. the chain rule ----------------------------------------------------------------------------------------------


def _chain(d: Derivation) -> Iterator[_Line]:
    yield _Line("3. The chain rule, from the last step to the first", "head")
    yield _Line(base_case(d))
    yield _Line(inductive_step())
    for item in reversed(d.items):
        yield from _backward(item, 4)
    yield _Line("and at the arguments:", "", 2)
    for one in d.inputs:
        if one.adjoint is not None:
            yield from _adjoint(one, one.adjoint, 4)
    yield _Line("")


def _backward(item: Item, indent: int) -> Iterator[_Line]:
    if item.kind == "loop":
        for sentence in loop_sentences(item):
            yield _Line(sentence, "", indent, 2)
        for one in reversed(item.body):
            yield from _backward(one, indent + 4)
        return
    if item.adjoint is None:
        return
    yield from _adjoint(item, item.adjoint, indent)


def _adjoint(owner: Item | Input, adjoint: Adjoint, indent: int) -> Iterator[_Line]:
    name = unicode_name(adjoint.leaf)
    if adjoint.seed:
        formula = "1"
    elif not adjoint.contributions:
        formula = "0"
    elif adjoint.expr is not None:
        formula = _formula(adjoint.expr)
    else:
        formula = " + ".join(_term(one) for one in adjoint.contributions)
    verdict = _worst(adjoint)
    style = "bad" if verdict.ok is False else ""
    source = ", ".join(f"step {one.consumer}" for one in adjoint.contributions[:4])
    source = f"   ({source}{', …' if len(adjoint.contributions) > 4 else ''})" if source else ""
    yield _Line(f"{name} = {formula}{source}   {_MARKS[verdict.ok]}", style, indent, 8)
    if verdict.ok is not True:
        yield _Line(f"({verdict.how}{_measured(verdict)})", style or "note", indent + 8, 1)
    for note in ordinal_uses(owner.name, adjoint):
        yield _Line(note, "note", indent + 8, 2)
    for note in notes_on(owner, adjoint):
        yield _Line(note, "note", indent + 8, 2)


def _term(one: Contribution) -> str:
    if one.expr is not None:
        return _formula(one.expr)
    return f"(what reaches it through step {one.consumer})"


def _worst(adjoint: Adjoint) -> Verdict:
    from chainrule.derive.witness import combined

    return combined([*(one.verdict for one in adjoint.contributions), adjoint.verdict])


def _measured(verdict: Verdict) -> str:
    return f"; off by {verdict.error:.1e}, allowed {verdict.bound:.1e}" if verdict.ok is False else ""


# --- 5. the gradient, 6. the numbers --------------------------------------------------------------------------------


def _gradient(d: Derivation) -> Iterator[_Line]:
    yield _Line("4. The gradient", "head")
    closed = [one for one in d.gradient if one.closed is not None]
    if closed:
        yield _Line("Put together, and simplified as for real numbers (what runs is not simplified in this way):")
    for one in d.gradient:
        if one.closed is not None:
            yield _Line(f"∂{d.function}/∂{one.name} = {_formula(one.closed)}", "", 4, 8)
    rest = [one.name for one in d.gradient if one.closed is None]
    if rest:
        names = ", ".join(f"d{name}" for name in rest)
        yield _Line(f"{names} {'are' if len(rest) > 1 else 'is'} too long for a line: the list above is the gradient.")
    yield _Line("")


def _numbers(d: Derivation) -> Iterator[_Line]:
    yield _Line("5. The numbers", "head")
    yield _Line(f"{d.function} = {summary(d.value)} at this point.")
    for one in d.inputs:
        if one.adjoint is not None:
            yield _Line(f"{one.name} = {summary(one.value)},   d{one.name} = {summary(one.adjoint.value)}", "", 4, 8)
    for item in d.items:
        if item.kind == "loop" or item.adjoint is None:
            continue
        mark = _MARKS[item.verdict.ok]
        line = f"{item.name} = {summary(item.value)},   d{item.name} = {summary(item.adjoint.value)}   {mark}"
        yield _Line(line, "bad" if item.verdict.ok is False else "", 4, 8)
    for sentence in check_sentences(d):
        yield _Line(sentence, "bad" if d.check.verdict.ok is False else "")
