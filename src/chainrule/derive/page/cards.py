"""A card for each variable: what reaches it from where and by which rule, how that was verified, what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.derive.derivation import Adjoint, Derivation, Input, Item, Verdict
from chainrule.derive.page.formula import entries_of, latex_of, text_of
from chainrule.derive.page.markup import Markup, element, joined
from chainrule.derive.page.names import Names, shape_of
from chainrule.derive.page.pictures import number, picture, summary
from chainrule.derive.page.sentences import added, defining, display, inline, listed, paragraph
from chainrule.derive.prose import loop_sentences
from chainrule.derive.witness import combined

__all__ = ["cards", "input_card", "verdict_line"]


def cards(item: Item, names: Names) -> list[Markup]:
    """The card of a step, and those of what is inside of it."""
    made = [_card(item, names)]
    inside = names.inside(item)
    if inside:
        made.append(
            element(
                "details",
                element("summary", f"The {len(inside)} steps inside of {item.name}, one by one"),
                element("div", *(card for one in reversed(inside) for card in cards(one, names)), class_="inside"),
                class_="open",
                open=item.kind == "loop",
            )
        )
    return made


def _card(item: Item, names: Names) -> Markup:
    key = names.key(item)
    bad = item.verdict.ok is False or _is_wrong(item.adjoint)
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
    if item.convention and (item.verdict.ok is not True or "kink" in item.verdict.how):
        body.append(paragraph(f"The convention: {item.convention}.", note=True))
    if item.kind == "loop":
        body += map(paragraph, loop_sentences(item))
    body += _verdicts(item.adjoint, names, item)
    body.append(_pictures(item.name, item.value, item.adjoint.value if item.adjoint else None))
    return element("article", head, *body, class_="card bad" if bad else "card", id=f"card-{key}", aria_label=item.name)


def _where(item: Item) -> str:
    return f" · {item.place.short}" if item.place else ""


def input_card(one: Input, names: Names) -> Markup:
    """The card of an argument, or of an array met along the way."""
    body: list[Any] = []
    if one.adjoint is not None:
        body += _adjoint(one.adjoint, one.name, names)
        body += _verdicts(one.adjoint, names)
        body.append(_largest(one, one.adjoint, names.derivation))
    else:
        readers = [names.link(names_label) for names_label in _labels(one, names)]
        body.append(paragraph("Held fixed; read by ", listed(readers), ".", note=True))
    head = element(
        "header",
        element("h3", inline(latex_of(one.leaf))),
        element("span", shape_of(one.shape), " · argument" if one.adjoint else " · held fixed", class_="where"),
    )
    bad = _is_wrong(one.adjoint)
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
    if one.passes or derivation.evidence is None or len(derivation.items) > _FOLLOWED or not np.any(sizes):
        return None
    index = tuple(map(int, np.unravel_index(int(np.argmax(sizes)), sizes.shape)))
    answer = derivation.why(one.name, index)
    title = f"the paths by which {one.name} acts"
    if index:
        title = (
            f"the paths by which {one.name}[{', '.join(map(str, index))}] acts, its entry with the largest derivative"
        )
    told = element("pre", str(answer), class_="given scrolls")
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
            right = added([term.expr])
            items.append(
                element(
                    "li",
                    "through ",
                    _reader(term.consumer, names),
                    _where_of(term.consumer, name, names),
                    ", comes ",
                    inline(right) if right else "what is too long for a line",
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


def _line(left: str, terms: Sequence[Any]) -> Markup:
    right = added(terms)
    if right is not None:
        return display(f"{left} = {right}")
    return paragraph(inline(left), " is their sum." if len(terms) > 1 else " is too long for a line.", note=True)


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


def _line_verdict(adjoint: Adjoint) -> Verdict:
    """What the numbers say of the line by which the adjoint is told: of each of its terms, and of their sum."""
    return combined([*(term.verdict for term in adjoint.contributions), adjoint.verdict])


def _is_wrong(adjoint: Adjoint | None) -> bool:
    return adjoint is not None and _line_verdict(adjoint).ok is False


def _verdicts(adjoint: Adjoint | None, names: Names, item: Item | None = None) -> list[Markup]:
    """How the line of a card was verified, and the step itself where the numbers do not speak for it."""
    made = []
    if adjoint is not None and adjoint.contributions:
        wrong = [term.consumer for term in adjoint.contributions if term.verdict.ok is False]
        through = ", ".join(names.items[label].name if label in names.items else label for label in wrong)
        made.append(
            verdict_line(_line_verdict(adjoint), text_of(adjoint.leaf) + (f", through {through}," if wrong else ""))
        )
    if item is not None and (item.verdict.ok is not True or not made):
        made.append(verdict_line(item.verdict, item.name))
    return made


def verdict_line(verdict: Verdict, name: str) -> Markup:
    """What the numbers say, in red where they speak against it."""
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
