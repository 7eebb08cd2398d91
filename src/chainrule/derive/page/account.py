"""The right of the ledger: the derivation written out, from the composition to the numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from chainrule.derive.derivation import Derivation, Input, Item, Local
from chainrule.derive.page.cards import cards, input_card, verdict_line
from chainrule.derive.page.formula import entries_of, formula, latex_of
from chainrule.derive.page.markup import Markup, element, joined
from chainrule.derive.page.names import Names, shape_of
from chainrule.derive.page.pictures import number, summary
from chainrule.derive.page.sentences import added, defining, display, inline, listed, paragraph
from chainrule.derive.prose import choices_sentence

__all__ = ["Beside", "account"]


class Beside(NamedTuple):
    """Another account of the same gradient, to be shown beside ours: formulas (LaTeX), whose they are, and code."""

    title: str
    formulas: tuple[str, ...] = ()
    credit: str = ""
    code: str = ""
    remark: str = ""


def account(derivation: Derivation, names: Names, beside: Beside | None) -> Markup:
    """The whole right column, and what the page's maker wants beside the gradient."""
    sections = [
        ("What is differentiated", question(derivation, names)),
        ("The composition", composition(derivation, names)),
        ("The local derivatives", local_derivatives(derivation, names)),
        ("The chain rule, from the last step to the first", chain_rule(derivation, names)),
        ("The gradient", joined(gradient(derivation, names), _beside(beside))),
        ("The numbers", numbers(derivation)),
    ]
    made = [
        element("section", element("h2", element("span", count, class_="no"), title), body, id=f"part-{count}")
        for count, (title, body) in enumerate([one for one in sections if one[1]], start=1)
    ]
    return element("main", *made, class_="pane account", id="account", tabindex="-1")


# --- 1 ----------------------------------------------------------------------------------------------------------------


def question(derivation: Derivation, names: Names) -> Markup:
    """The function, its arguments, and what is wanted."""
    wanted = [one for one in derivation.inputs if one.adjoint is not None]
    count = sum(int(np.prod(one.shape)) * max(one.passes, 1) for one in wanted)
    rows = [
        element(
            "tr",
            element("td", element("code", one.path)),
            element("td", shape_of(one.shape)),
            element("td", summary(one.value)),
            element("td", "differentiated" if one.adjoint else "held fixed"),
            id=f"entry-{names.key(one)}",
        )
        for one in derivation.inputs
    ]
    head = element("tr", *(element("th", text, scope="col") for text in ("argument", "shape", "entries", "")))
    adjoint = latex_of(wanted[0].adjoint.leaf) if wanted and wanted[0].adjoint else "x"
    return joined(
        paragraph(
            element("code", derivation.function),
            " takes these arguments and gives one number, here ",
            element("b", number(derivation.value)),
            ". Wanted are its ",
            f"{count:,} partial derivatives: one for each entry of " if count != 1 else "derivative with respect to ",
            listed([element("code", one.name) for one in wanted]),
            ".",
        ),
        element("div", element("table", element("thead", head), element("tbody", *rows)), class_="wide scrolls"),
        paragraph(
            "Two facts from the first year of calculus are enough. The derivative of a composition is a product: ",
            inline(r"\frac{d}{dx} f(g(x)) = f'(g(x)) \, g'(x)"),
            ". Where a variable enters in several places, what comes through each of them is added up. One word is "
            "new: the ",
            element("i", "adjoint"),
            " of a variable is the derivative of the result with respect to it, "
            "entry by entry, so it has the variable’s shape. The adjoint of ",
            element("code", wanted[0].name if wanted else "x"),
            " is written ",
            inline(adjoint),
            ".",
        ),
        _choices(derivation),
    )


def _choices(derivation: Derivation) -> Markup:
    said = [choices_sentence(derivation)] if derivation.choices else []
    return joined(*(paragraph(one, note=True) for one in (*said, *derivation.remarks)))


# --- 2 ----------------------------------------------------------------------------------------------------------------


def composition(derivation: Derivation, names: Names) -> Markup:
    """The steps in the order in which they are computed."""
    return joined(
        paragraph(
            "The function is a composition of simple steps. Each takes what is there already and makes one thing more; "
            "the last one makes the result."
        ),
        paragraph(
            "How to read the formulas: side by side means the product of matrices; ",
            inline(r"\odot"),
            ", fractions, powers and functions act entry by entry; a letter under ",
            inline(r"\sum"),
            " runs over an axis, and a dot in the place of an index stands for every index; ",
            inline(r"\mathbf{1}_{3\times 4}"),
            " is an array of ones, and ",
            inline(r"\mathbf{1}[\ldots]"),
            " is 1 where the condition holds and 0 elsewhere.",
            note=True,
        ),
        element("ol", *(_entry(item, names) for item in derivation.items), class_="composition"),
    )


def _entry(item: Item, names: Names) -> Markup:
    where = (
        element("a", f"line {item.place.line}", href=f"#card-{names.key(item)}", data_key=names.key(item))
        if item.place
        else ""
    )
    body = defining(item) if item.expr is not None else f"{item.name} ({item.words}, from {', '.join(item.reads)})"
    told = []
    if item.kind == "loop":
        told.append(f"{item.trips} times, {item.letter} being the number of the pass")
    if item.discrete:
        told.append("not differentiable, and not differentiated: its derivative is zero wherever it exists")
    row = element(
        "div",
        element("span", item.label, class_="no"),
        element("div", body, class_="math scrolls"),
        element("span", f"{shape_of(item.shape)} · ", where, class_="where"),
        element("span", "; ".join(told), class_="say") if told else None,
        class_="entry",
        id=f"entry-{names.key(item)}",
    )
    inside = names.inside(item)
    opened: Markup | None = None
    if inside:
        title = f"{item.words}: its {len(inside)} steps" if item.kind != "loop" else "one pass"
        opened = element(
            "details",
            element("summary", title),
            element("ol", *(_entry(one, names) for one in inside), class_="composition inside"),
            class_="open",
            open=item.kind == "loop",
        )
    return element("li", row, opened)


# --- 3 ----------------------------------------------------------------------------------------------------------------


def local_derivatives(derivation: Derivation, names: Names) -> Markup:
    """Each kind of step once, with its derivatives in letters of its own."""
    if not derivation.locals:
        return Markup("")
    mixing = any(part.form != "partial" for one in derivation.locals for part in one.partials)
    return joined(
        paragraph(
            "Of each kind of step, by itself, the derivatives are known from calculus. Here they are, in letters of "
            "their own: a step takes ",
            inline("u"),
            ", ",
            inline("v"),
            ", … and makes ",
            inline("y"),
            ".",
        ),
        paragraph(
            "Where a step mixes entries (a product of matrices, a sum), every entry of ",
            inline("y"),
            " has a derivative in every entry of ",
            inline("u"),
            ". That is a large table, and nobody needs to write it down: what is needed is only what it makes of the "
            "adjoint of ",
            inline("y"),
            ", which is why such a step is given as a formula for ",
            inline(r"\mathrm{d}u"),
            " from ",
            inline(r"\mathrm{d}y"),
            ".",
        )
        if mixing
        else None,
        *(_local(place, one, names) for place, one in enumerate(derivation.locals)),
    )


def _local(place: int, local: Local, names: Names) -> Markup:
    lines = [f"{latex_of(local.result)} = {latex_of(local.expr)}"]
    entries: list[str | None] = []
    for one in local.partials:
        if one.expr is None:
            continue
        if one.form == "partial":
            left = rf"\frac{{\partial {latex_of(local.result)}}}{{\partial {latex_of(one.operand)}}}"
            lines.append(f"{left} = {latex_of(one.expr)}")
            continue
        adjoint = type(one.operand)(one.operand.shape, one.operand.name, adjoint=True)
        lines.append(f"{latex_of(adjoint)} = {latex_of(one.expr)}")
        entries.append(entries_of(adjoint, one.expr))
    entries = [] if None in entries else [entries_of(local.result, local.expr), *entries] if entries else []
    told = [one.words for one in local.partials if one.words]
    if local.domain:
        told.append(f"for {local.domain}")
    if local.convention:
        told.append(local.convention)
    used = [names.link_named(name) for name in local.items]
    if len(used) > _USES:
        used = [*used[:_USES], joined(f"{len(used) - _USES} more")]
    return element(
        "div",
        element("h3", local.words),
        element("div", *(formula(line, display=True) for line in lines), class_="lines-of scrolls"),
        element(
            "div",
            "entry by entry: ",
            *(formula(line, display=True) for line in entries if line),
            class_="lines-of small",
        )
        if entries
        else None,
        paragraph(*(f"{text}; " for text in told), "used for ", listed(used), note=True),
        class_="local",
        id=f"local-{place}",
    )


#: Of the steps of one kind, so many are named.
_USES = 12


# --- 4 ----------------------------------------------------------------------------------------------------------------


def chain_rule(derivation: Derivation, names: Names) -> Markup:
    """The induction from the last step to the first, and a card for each adjoint."""
    last = derivation.items[-1] if derivation.items else None
    shown = [card for item in reversed(derivation.items) for card in cards(item, names)]
    shown += [input_card(one, names) for one in derivation.inputs]
    base = latex_of(last.adjoint.leaf) if last is not None and last.adjoint is not None else "y"
    return joined(
        paragraph(
            element("b", "Base case. "),
            "The derivative of the result with respect to itself is ",
            inline("1"),
            ": ",
            inline(f"{base} = 1"),
            ".",
        ),
        paragraph(
            element("b", "Inductive step. "),
            "Let a step make ",
            inline("v"),
            ", and let the adjoints of all steps that read ",
            inline("v"),
            " be known already. Each of these steps passes on its own adjoint times its "
            "local derivative; the adjoint of ",
            inline("v"),
            " is the sum of what they pass on:",
        ),
        display(r"\mathrm{d}v = \sum_{w \text{ reads } v} \mathrm{d}w \, \frac{\partial w}{\partial v}"),
        paragraph(
            "Where these are arrays, it holds entry by entry: the sum then runs over every entry of every ",
            inline("w"),
            " into which the entry of ",
            inline("v"),
            " goes. Sums of products over entries are what a matrix product is, so the formulas below stay short; each "
            "can be opened and read entry by entry.",
        ),
        paragraph(
            "So one goes through the list backwards, once, and at its end the adjoints of the arguments are there: "
            "they are the gradient. Under each adjoint stands how its line was verified: the step through which it "
            "comes was computed again, by itself, with numbers changed a little, and the change of its result was held "
            "against the formula."
        ),
        paragraph(
            "In the pictures blue is above zero and orange below it, the darker the larger; red is not finite. In the "
            "list of steps an arc leads from a step to those that read it. The arrow keys ← and → walk through the "
            "list, down with the values and up with the adjoints.",
            note=True,
        ),
        *shown,
    )


# --- 5 ----------------------------------------------------------------------------------------------------------------


def gradient(derivation: Derivation, names: Names) -> Markup:
    """The gradient in closed form where it is short, else where its adjoints are."""
    closed = [one for one in derivation.gradient if one.closed is not None]
    made: list[Any] = []
    if closed:
        made.append(
            paragraph("Collected, with identities of real numbers (so that rounding may differ in the last digits):")
        )
        lines = [f"{_adjoint_latex(one)} = {latex_of(one.closed)}" for one in closed if one.closed is not None]
        made.append(element("div", *map(display, lines), class_="result"))
    rest = [one for one in derivation.gradient if one.closed is None]
    if rest:
        also = "The others are" if closed else "The gradient is"
        links = [names.link_named(one.name, inline(_adjoint_latex(one))) for one in rest]
        made.append(
            paragraph(f"{also} what has been worked out above: ", listed(links), ". The whole sweep, in order:")
        )
        made.append(_sweep(derivation, names))
    return joined(*made)


#: Of a longer sweep only the last lines are shown again, those of the arguments.
_LINES = 60


def _sweep(derivation: Derivation, names: Names) -> Markup:
    """Every adjoint on a line, from the last step to the arguments."""
    wanted: list[Item | Input] = [*reversed(derivation.items), *derivation.inputs]
    carried = [one for one in wanted if one.adjoint is not None]
    shown = carried if len(carried) <= _LINES else [one for one in carried if isinstance(one, Input)][:_LINES]
    rows = []
    for one in shown:
        assert one.adjoint is not None
        right = added([*([1] if one.adjoint.seed else []), *(term.expr for term in one.adjoint.contributions)])
        left = element("a", inline(latex_of(one.adjoint.leaf)), href=f"#card-{names.key(one)}", data_key=names.key(one))
        rows.append(
            element(
                "tr",
                element("td", left),
                element("td", inline(f"= {right or '0'}") if right is not None else "(too long)"),
            )
        )
    left_out = len(carried) - len(shown)
    return joined(
        element("div", element("table", element("tbody", *rows)), class_="result sweep scrolls"),
        paragraph(f"The lines of the other {left_out:,} adjoints are above.", note=True) if left_out else None,
    )


def _adjoint_latex(one: Any) -> str:
    return latex_of(type(one.leaf)(one.leaf.shape, one.leaf.name, adjoint=True))


def _beside(beside: Beside | None) -> Markup:
    if beside is None:
        return Markup("")
    return joined(
        element("h3", beside.title),
        element("div", *map(display, beside.formulas), class_="result"),
        paragraph(beside.credit, ".", note=True) if beside.credit else None,
        element("pre", element("code", beside.code.rstrip()), class_="given scrolls") if beside.code else None,
        paragraph(beside.remark) if beside.remark else None,
    )


# --- 6 ----------------------------------------------------------------------------------------------------------------


def numbers(derivation: Derivation) -> Markup:
    """The whole gradient against finite differences, and the price of each."""
    check = derivation.check
    rows = [
        ("Value of the function", number(derivation.value)),
        ("Partial derivatives", f"{check.size:,}"),
        ("By backpropagation", "one sweep gives them all"),
        ("By finite differences", f"2 × {check.size:,} = {2 * check.size:,} evaluations of the function, at the least"),
        ("Operations of the function", f"{check.operations:,.0f}"),
        ("Operations of value and gradient", f"{check.gradient_operations:,.0f}"),
        ("Their ratio", f"{check.ratio:.2f}"),
    ]
    table = element(
        "table",
        element("tbody", *(element("tr", element("th", one, scope="row"), element("td", two)) for one, two in rows)),
    )
    how = (
        f"All {check.size:,} entries were differenced one by one"
        if check.entries == check.size
        else f"{check.entries:,} of the {check.size:,} entries were differenced one by one, and all together along "
        "random directions"
    )
    return joined(
        paragraph("Every number on this page was computed when the page was made, at this point."),
        element("div", table, class_="wide"),
        paragraph(f"The whole gradient against finite differences: {how}, with {check.evaluations:,} evaluations."),
        verdict_line(check.verdict, "the gradient"),
    )
