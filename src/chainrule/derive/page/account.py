"""The right of the ledger: the derivation written out, from the composition to the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.derive.derivation import Adjoint, Derivation, Input, Item, Local, Verdict
from chainrule.derive.page.formula import entries_of, formula, latex_of
from chainrule.derive.page.markup import Markup, element, joined
from chainrule.derive.page.names import Names, shape_of
from chainrule.derive.page.pictures import number, picture, summary
from chainrule.derive.prose import choices_sentence, loop_sentences

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


def inline(latex: str) -> Markup:
    """A formula within a sentence."""
    return formula(latex)


def display(latex: str) -> Markup:
    """A formula on a line of its own."""
    return element("div", formula(latex, display=True), class_="display scrolls", tabindex="0", role="math")


def paragraph(*parts: Any, note: bool = False) -> Markup:
    """Some text."""
    return element("p", *parts, class_="note" if note else None)


def listed(parts: Sequence[Any], last: str = " and ") -> Markup:
    """``a, b and c``."""
    if len(parts) < 2:
        return joined(*parts)
    middle = [piece for part in parts[:-1] for piece in (part, ", ")][:-1]
    return joined(*middle, last, parts[-1])


# --- 1 ----------------------------------------------------------------------------------------------------------------


def question(derivation: Derivation, names: Names) -> Markup:
    """The function, its arguments, and what is wanted."""
    wanted = [one for one in derivation.inputs if one.adjoint is not None]
    count = sum(int(np.prod(one.shape)) for one in wanted)
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
            inline(r"\Sigma"),
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


def defining(item: Item) -> Markup:
    """``z = X W + b``."""
    assert item.expr is not None
    return inline(f"{latex_of(item.leaf)} = {latex_of(item.expr)}")


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
    used = [
        element("a", element("code", name), href=f"#card-{key}", data_key=key)
        for name in local.items
        for key in [names.key_named(name)]
    ]
    if len(used) > _USES:
        used = [*used[:_USES], joined(f"{len(used) - _USES} more")]
    return element(
        "div",
        element("h3", local.words),
        element("div", *(formula(line, display=True) for line in lines), class_="lines-of scrolls", tabindex="0"),
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
    cards = [card for item in reversed(derivation.items) for card in _cards(item, names)]
    cards += [_input_card(one, names) for one in derivation.inputs]
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
            "they are the gradient. Under each adjoint stands how it was verified: the step was computed again, by "
            "itself, with numbers changed a little, and the change of its result held against the formula."
        ),
        *cards,
    )


def _cards(item: Item, names: Names) -> list[Markup]:
    made = [_card(item, names)]
    inside = names.inside(item)
    if inside:
        made.append(
            element(
                "details",
                element("summary", f"The {len(inside)} steps inside of {item.name}, one by one"),
                element("div", *(card for one in reversed(inside) for card in _cards(one, names)), class_="inside"),
                class_="open",
                open=item.kind == "loop",
            )
        )
    return made


def _card(item: Item, names: Names) -> Markup:
    key = names.key(item)
    bad = item.verdict.ok is False
    head = element(
        "header",
        element("span", item.label, class_="no"),
        element("h3", defining(item) if item.expr is not None else element("code", item.name)),
        element("span", shape_of(item.shape), _where(item), class_="where"),
    )
    body: list[Any] = []
    if item.adjoint is not None:
        body += _adjoint(item.adjoint, item.name, names)
    else:
        body.append(
            paragraph("The result does not change with the arguments through this step: it has no adjoint.", note=True)
        )
    if item.convention and item.verdict.ok is not True:
        body.append(paragraph(f"The convention: {item.convention}.", note=True))
    if item.kind == "loop":
        body += map(paragraph, loop_sentences(item))
    body.append(_verdict(item.verdict, item.name))
    body.append(_pictures(item.name, item.value, item.adjoint.value if item.adjoint else None))
    return element("article", head, *body, class_="card bad" if bad else "card", id=f"card-{key}", aria_label=item.name)


def _where(item: Item) -> str:
    return f" · {item.place.short}" if item.place else ""


def _input_card(one: Input, names: Names) -> Markup:
    body: list[Any] = []
    if one.adjoint is not None:
        body += _adjoint(one.adjoint, one.name, names)
        body.append(_verdict(one.adjoint.verdict, one.name))
        body.append(_largest(one, one.adjoint, names.derivation))
    else:
        readers = [names.link(names_label) for names_label in _labels(one, names)]
        body.append(paragraph("Held fixed; read by ", listed(readers), ".", note=True))
    head = element(
        "header",
        element("h3", inline(latex_of(one.leaf))),
        element("span", shape_of(one.shape), " · argument" if one.adjoint else " · held fixed", class_="where"),
    )
    bad = one.adjoint is not None and one.adjoint.verdict.ok is False
    return element(
        "article",
        head,
        *body,
        _pictures(one.name, one.value, one.adjoint.value if one.adjoint else None),
        class_="card bad" if bad else "card",
        id=f"card-{names.key(one)}",
        aria_label=one.name,
    )


#: In a longer function an entry has more paths than anybody reads.
_FOLLOWED = 300


def _largest(one: Input, adjoint: Adjoint, derivation: Derivation) -> Markup | None:
    """By which paths the entry with the largest derivative reaches the result."""
    value = np.asarray(adjoint.value, dtype=np.float64)
    sizes = np.where(np.isnan(value), np.inf, np.abs(value))
    if derivation.evidence is None or len(derivation.items) > _FOLLOWED or not np.any(sizes):
        return None
    index = tuple(map(int, np.unravel_index(int(np.argmax(sizes)), sizes.shape)))
    answer = derivation.why(one.name, index)
    title = f"the paths by which {one.name} acts"
    if index:
        title = (
            f"the paths by which {one.name}[{', '.join(map(str, index))}] acts, its entry with the largest derivative"
        )
    told = element("pre", str(answer), class_="given scrolls", tabindex="0")
    return element("details", element("summary", title), told, class_="open")


def _labels(one: Input, names: Names) -> list[str]:
    return [item.label for item in names.derivation.items if one.name in item.reads]


def _adjoint(adjoint: Adjoint, name: str, names: Names) -> list[Any]:
    """The adjoint of a variable: what reaches it through each step that reads it, and the sum."""
    left = latex_of(adjoint.leaf)
    terms = adjoint.contributions
    if not terms:
        if adjoint.seed:
            return [paragraph("This is the result itself: ", inline(f"{left} = 1"), ", the base case.")]
        return [paragraph(inline(f"{left} = 0"), ": the result does not depend on it."), *map(_note, adjoint.notes)]
    made: list[Any] = []
    code = element("code", name)
    if len(terms) == 1 and not adjoint.seed:
        term = terms[0]
        made.append(
            paragraph(
                code, " is read by ", _reader(term.consumer, names), _where_of(term.consumer, name, names), ". So"
            )
        )
        made.append(_line(left, [term.expr]))
        made += _notes_of(term, name, names)
    else:
        count = f"{len(terms)} steps" if len(terms) != 1 else "one step"
        also = ", and is the result itself, which contributes 1" if adjoint.seed else ""
        made.append(paragraph(code, f" is read by {count}{also}. Each passes something on, and all of it is added up:"))
        items = []
        for term in terms:
            right = _written(term.expr)
            items.append(
                element(
                    "li",
                    "through ",
                    _reader(term.consumer, names),
                    _where_of(term.consumer, name, names),
                    ": ",
                    inline(right) if right else "(too long for a line)",
                    *_notes_of(term, name, names),
                )
            )
        made.append(element("ul", *items, class_="terms"))
        made.append(_line(left, [*([1] if adjoint.seed else []), *(term.expr for term in terms)]))
    made += map(_note, adjoint.notes)
    made += _entrywise(adjoint)
    return made


def _entrywise(adjoint: Adjoint) -> list[Markup]:
    """The same line for one entry, where the arrays have axes and their products run over them."""
    terms = [term.expr for term in adjoint.contributions if term.expr is not None]
    if len(terms) < len(adjoint.contributions) or adjoint.seed:
        return []
    line = entries_of(adjoint.leaf, *terms)
    if line is None:
        return []
    return [element("details", element("summary", "entry by entry"), display(line), class_="open")]


def _reader(label: str, names: Names) -> Markup:
    item = names.items.get(label)
    if item is None or item.expr is None:
        return names.link(label)
    return joined(names.link(label, defining(item)))


def _where_of(label: str, name: str, names: Names) -> Markup | None:
    """The local derivative by which a step passes its adjoint on, where it is one expression."""
    item = names.items.get(label)
    if item is None:
        return None
    for one in item.partials:
        if one.form == "partial" and one.operand.name == name and one.expr is not None:
            quotient = rf"\frac{{\partial {latex_of(item.leaf)}}}{{\partial {latex_of(one.operand)}}}"
            return joined(", where ", inline(f"{quotient} = {latex_of(one.expr)}"))
    step = _step_reading(item, name)
    for place, local in enumerate(names.derivation.locals):
        if step.name in local.items:
            return joined(", by the rule for “", element("a", local.words, href=f"#local-{place}"), "”")
    return None


def _step_reading(item: Item, name: str) -> Item:
    """The single step, within a group, that reads a variable."""
    for part in item.parts:
        if name in part.reads:
            return _step_reading(part, name)
    return item


def _written(expr: Any) -> str:
    return "" if expr is None else "1" if expr == 1 else latex_of(expr)


def _line(left: str, terms: Sequence[Any]) -> Markup:
    right = _sum(terms)
    if right is not None:
        return display(f"{left} = {right}")
    return paragraph(inline(left), " is their sum." if len(terms) > 1 else " is too long for a line.", note=True)


def _sum(terms: Sequence[Any]) -> str | None:
    """The terms added up, as LaTeX; None where one of them is too long for a line."""
    written = [_written(term) for term in terms]
    if not all(written):
        return None
    text = ""
    for one in written:
        text += one if not text else f" - {one[1:].lstrip()}" if one.startswith("-") else f" + {one}"
    return text


def _notes_of(term: Any, name: str, names: Names) -> list[Markup]:
    made = []
    if term.summed:
        item = names.items.get(term.consumer)
        extents = (
            [item.shape[axis] for axis in term.summed]
            if item is not None and len(item.shape) > max(term.summed)
            else []
        )
        times = int(np.prod(extents)) if extents else 0
        axes = "axis " + str(term.summed[0]) if len(term.summed) == 1 else "axes " + ", ".join(map(str, term.summed))
        many = f"{times} times" if times else "several times"
        made.append(
            _note(
                f"Each entry of {name} is used {many} there, since it is spread along {axes}: what comes back along "
                f"{axes} is added up."
            )
        )
    made += map(_note, term.notes)
    return made


def _note(text: str) -> Markup:
    return paragraph(text, note=True)


def _verdict(verdict: Verdict, name: str) -> Markup:
    figures = ""
    if verdict.bound:
        figures = f"; relative difference {_rounded(verdict.error)}, at most {_rounded(verdict.bound)} allowed"
    if verdict.ok:
        return element("p", element("span", "✓", class_="tick"), f" verified: {verdict.how}{figures}", class_="verdict")
    if verdict.ok is None:
        return element("p", f"undecided: {verdict.how}{figures}", class_="verdict")
    return element("p", f"✗ {name} is NOT verified: {verdict.how}{figures}", class_="verdict bad")


def _rounded(value: float) -> str:
    """Two digits are enough for a difference."""
    return number(float(f"{value:.1e}"))


def _pictures(name: str, value: Any, adjoint: Any) -> Markup:
    figures = []
    for array, word, kind in ((value, "value", "v"), (adjoint, "adjoint", "a")):
        if array is None:
            continue
        shown = picture(array, f"{word} of {name}")
        figures.append(
            element(
                "figure",
                element("figcaption", element("b", word), " ", summary(array)),
                element("div", shown, class_="row-of") if shown else None,
                class_=kind,
            )
        )
    return element("div", *figures, class_="pictures")


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
        links = [
            element("a", inline(_adjoint_latex(one)), href=f"#card-{key}", data_key=key)
            for one in rest
            for key in [names.key_named(one.name)]
        ]
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
        right = _sum([*([1] if one.adjoint.seed else []), *(term.expr for term in one.adjoint.contributions)])
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
        element("pre", element("code", beside.code.rstrip()), class_="given scrolls", tabindex="0")
        if beside.code
        else None,
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
        _verdict(check.verdict, "the gradient"),
    )
