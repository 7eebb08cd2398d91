"""Derivation -> LaTeX: a fragment to put into a text of one's own, or a document that compiles as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chainrule.derive.derivation import WHAT_IT_IS_NOT, Adjoint, Derivation, Input, Item, Local, Verdict
from chainrule.derive.expression import Expr
from chainrule.derive.names import latex_name, latex_text
from chainrule.derive.prose import (
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
from chainrule.derive.witness import combined
from chainrule.derive.writing import is_quiet, written

__all__ = ["latex"]

_PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{amsmath}
\usepackage{color}
\usepackage[a4paper,margin=2.4cm]{geometry}
\setlength{\parindent}{0pt}
\setlength{\parskip}{3pt}
\raggedright
\begin{document}
"""
_CONVENTIONS = r"""\(\mathrm{d}v\) stands for the derivative of the result with respect to \(v\), entry by entry: how
much the result changes for a small change of each entry of \(v\). It has the shape of \(v\) and is called the adjoint
of \(v\). Side by side means the product of matrices; \(\odot\), fractions, powers and functions act entry by entry; a
letter under \(\sum\) runs over an axis (\(i\) over the first, \(j\) over the second), and a dot stands for every index.
\(\mathbf 1_{\text{condition}}\) is 1 where the condition holds and 0 elsewhere; \(\mathbf 1_{3\times 4}\) is an array
of ones."""
#: A formula longer than this is not written on a line of its own.
_LONGEST = 1500


def latex(derivation: Derivation, *, standalone: bool = False) -> str:
    """The derivation in LaTeX; needs the packages amsmath and color, which ``standalone`` loads by itself."""
    lines = list(_lines(derivation))
    body = "\n".join(lines) + "\n"
    if standalone:
        return _PREAMBLE + body + "\\end{document}\n"
    return "% needs \\usepackage{amsmath} and \\usepackage{color}\n" + body


def _math(text: str) -> str:
    """A formula; characters that pdfLaTeX can not set are spelled out."""
    return "".join(char if char.isascii() else rf"\text{{{latex_text(char)}}}" for char in text)


def _formula(expr: Expr | None) -> str:
    if expr is None:
        return r"\text{(too long to write on a line)}"
    made = _math(written(expr, "latex"))
    return made if len(made) <= _LONGEST else r"\text{(too long to write on a line)}"


def _indented(text: str, depth: int = 1) -> str:
    return rf"\hangindent={depth + 1.5}em \hspace*{{{depth}em}}{text}\par"


def _lines(d: Derivation) -> Iterator[str]:
    yield rf"\section*{{The derivative of \texttt{{{latex_text(d.function)}}}, step by step}}"
    yield rf"\emph{{{latex_text(WHAT_IT_IS_NOT)}}}\par"
    yield ""
    yield _CONVENTIONS
    yield ""
    if d.unverified:
        names = latex_text(", ".join(d.unverified))
        yield rf"\textcolor{{red}}{{\textbf{{Not verified: {names}.}} The numbers speak against these steps.}}\par"
    yield from (rf"\emph{{{latex_text(one)}}}\par" for one in d.remarks)
    yield from _composition(d)
    yield from _locals(d.locals)
    yield from _chain(d)
    yield from _gradient(d)
    yield from _numbers(d)


def _composition(d: Derivation) -> Iterator[str]:
    yield r"\subsection*{1. The composition}"
    for one in d.inputs:
        what = "given" if one.captured else "an argument"
        path = "" if one.path == one.name else rf", \texttt{{{latex_text(one.path)}}}"
        yield _indented(rf"\({_math(latex_name(one.leaf))}\) ({latex_text(shape_text(one.shape))}{path}: {what})")
    place = None
    for item in d.items:
        here = None if item.place is None else item.place[:2]
        if here != place and item.place is not None:
            yield rf"\par\smallskip{{\small\texttt{{{latex_text(item.place.short)}: {_source(item.place.text)}}}}}\par"
            place = here
        yield from _step(item, 1)
    if d.choices:
        yield rf"\emph{{{latex_text(choices_sentence(d))}}}\par"


def _source(line: str) -> str:
    return latex_text(line if len(line) <= 160 else line[:160] + " ...")


def _step(item: Item, depth: int) -> Iterator[str]:
    if item.kind == "loop":
        yield _indented(rf"step {item.label}: for \({item.letter} = 1, \dots, {item.trips}\):", depth)
        for one in item.body:
            yield from _step(one, depth + 2)
        return
    about = ", ".join(one for one in (shape_text(item.shape), item.words) if one)
    name = _math(latex_name(item.leaf))
    yield _indented(
        rf"step {item.label}: \(\displaystyle {name} = {_formula(item.expr)}\) \quad ({latex_text(about)})", depth
    )
    for one in item.parts if tells_more(item) else ():
        yield _indented(rf"\(\displaystyle {_math(latex_name(one.leaf))} = {_formula(one.expr)}\)", depth + 2)


def _locals(found: Sequence[Local]) -> Iterator[str]:
    yield r"\subsection*{2. The local derivatives}"
    yield r"Each kind of step by itself: \(y\) is its result, \(u, v, w\) are what it reads.\par"
    for one in found:
        if is_quiet(one.expr):
            continue
        where = rf" \quad for \({one.domain}\)" if one.domain else ""
        yield _indented(rf"{latex_text(one.words)}: \(\displaystyle y = {_formula(one.expr)}\){where}")
        said = []
        for partial in one.partials:
            u = latex_name(partial.operand)
            left = rf"\frac{{\partial y}}{{\partial {u}}}" if partial.form == "partial" else rf"\mathrm{{d}}{u}"
            said.append(rf"\(\displaystyle {left} = {_formula(partial.expr)}\)")
        yield _indented(r",\quad ".join(said), 3)
        if one.convention:
            yield _indented(rf"\emph{{({latex_text(one.convention)})}}", 3)


def _chain(d: Derivation) -> Iterator[str]:
    yield r"\subsection*{3. The chain rule, from the last step to the first}"
    yield latex_text(base_case(d)) + r"\par"
    yield latex_text(inductive_step()) + r"\par"
    for item in reversed(d.items):
        yield from _backward(item, 1)
    yield r"and at the arguments:\par"
    for one in d.inputs:
        if one.adjoint is not None:
            yield from _adjoint(one, one.adjoint, 1)


def _backward(item: Item, depth: int) -> Iterator[str]:
    if item.kind == "loop":
        for sentence in loop_sentences(item):
            yield _indented(latex_text(sentence), depth)
        for one in reversed(item.body):
            yield from _backward(one, depth + 2)
    elif item.adjoint is not None:
        yield from _adjoint(item, item.adjoint, depth)


def _adjoint(owner: Item | Input, adjoint: Adjoint, depth: int) -> Iterator[str]:
    if adjoint.seed:
        formula = "1"
    elif not adjoint.contributions:
        formula = "0"
    elif adjoint.expr is not None:
        formula = _formula(adjoint.expr)
    else:
        formula = " + ".join(
            rf"\text{{(through step {one.consumer})}}" if one.expr is None else _formula(one.expr)
            for one in adjoint.contributions
        )
    verdict = combined([*(one.verdict for one in adjoint.contributions), adjoint.verdict])
    source = ", ".join(f"step {one.consumer}" for one in adjoint.contributions[:4])
    source = f" \\quad ({source})" if source else ""
    line = rf"\(\displaystyle {_math(latex_name(adjoint.leaf))} = {formula}\){source}{_mark(verdict)}"
    yield _indented(line, depth)
    for note in (*ordinal_uses(owner.name, adjoint), *notes_on(owner, adjoint)):
        yield _indented(rf"{{\small\emph{{{latex_text(note)}}}}}", depth + 2)


def _mark(verdict: Verdict) -> str:
    if verdict.ok:
        return r" \(\surd\)"
    text = latex_text(f"{verdict.word}: {verdict.how}")
    return rf" \textcolor{{red}}{{\textbf{{{text}}}}}" if verdict.ok is False else rf" \emph{{({text})}}"


def _gradient(d: Derivation) -> Iterator[str]:
    yield r"\subsection*{4. The gradient}"
    closed = [one for one in d.gradient if one.closed is not None]
    if closed:
        yield r"Put together, and simplified as for real numbers (what runs is not simplified in this way):\par"
    f = rf"\mathtt{{{_math(_escaped(d.function))}}}"
    for one in closed:
        left = rf"\frac{{\partial {f}}}{{\partial {_math(latex_name(one.leaf))}}}"
        yield _indented(rf"\(\displaystyle {left} = {_formula(one.closed)}\)")
    rest = [one for one in d.gradient if one.closed is None]
    if rest:
        names = ", ".join(rf"\mathrm{{d}}{_math(latex_name(one.leaf))}" for one in rest)
        verb = "are" if len(rest) > 1 else "is"
        yield rf"\({names}\) {verb} too long for a line: the list above is the gradient.\par"


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def _numbers(d: Derivation) -> Iterator[str]:
    yield r"\subsection*{5. The numbers}"
    yield rf"\texttt{{{latex_text(d.function)}}} is {latex_text(summary(d.value))} at this point.\par"
    owners: list[Input | Item] = [*d.inputs, *(item for item in d.items if item.kind != "loop")]
    for owner in owners:
        if owner.adjoint is None:
            continue
        name = _math(latex_name(owner.leaf))
        said = rf"\({name}\): {latex_text(summary(owner.value))}, \(\mathrm{{d}}{name}\): "
        yield _indented(said + latex_text(summary(owner.adjoint.value)))
    for sentence in check_sentences(d):
        text = latex_text(sentence)
        yield (rf"\textcolor{{red}}{{{text}}}\par" if d.check.verdict.ok is False else rf"{text}\par")
