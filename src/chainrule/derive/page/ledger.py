"""The left and the middle of the ledger: the user's lines, and the steps with their values and adjoints."""

from __future__ import annotations

import io
import keyword
import os.path
import tokenize
from collections.abc import Iterable, Sequence
from typing import Any

from chainrule.derive.derivation import Derivation, Input, Item, Listing
from chainrule.derive.page.formula import text_of
from chainrule.derive.page.markup import Markup, element, joined
from chainrule.derive.page.names import Names, shape_of
from chainrule.derive.page.pictures import summary, thumbnail

__all__ = ["source_pane", "steps_pane"]


# --- the user's lines -------------------------------------------------------------------------------------------------


def source_pane(derivation: Derivation, names: Names) -> Markup:
    """The user's functions, line by line; a line on which steps were made leads to them."""
    made: dict[tuple[str, int], list[Item]] = {}
    for item in names.shown:
        if item.place is not None:
            made.setdefault((item.place.file, item.place.line), []).append(item)
    shown = [_listing(listing, made, names) for listing in derivation.listings]
    if not shown:
        shown = [
            element("p", "The source of this function can not be found; its steps are told without it.", class_="file")
        ]
    return element("aside", element("h2", "Your function"), *shown, class_="pane source", aria_label="Source")


def _listing(listing: Listing, made: dict[tuple[str, int], list[Item]], names: Names) -> Markup:
    coloured = _coloured([line for _, line in listing.lines])
    rows = []
    for (number, _), code in zip(listing.lines, coloured, strict=True):
        items = made.get((listing.file, number), ())
        inside = (element("span", number, class_="no"), element("code", code))
        if items:
            bad = any(item.verdict.ok is False for item in items)
            row = element(
                "a",
                *inside,
                class_="line bad" if bad else "line",
                href=f"#card-{names.key(items[0])}",
                data_keys=" ".join(map(names.key, items)),
            )
        else:
            row = element("span", *inside, class_="line")
        rows.append(element("li", row))
    return joined(
        element("p", os.path.basename(listing.file), class_="file"),
        element("ol", *rows, class_="lines scrolls", tabindex="0", aria_label=f"Lines of {listing.function}"),
    )


def _coloured(lines: Sequence[str]) -> list[Markup]:
    """The lines with keywords, texts and comments marked; as they are where they can not be read as Python."""
    width = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    lines = [line[width:] for line in lines]
    marks: list[list[tuple[int, int, str]]] = [[] for _ in lines]
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            kind = _kind(token)
            if kind is None:
                continue
            (first, begin), (last, end) = token.start, token.end
            for number in range(first, last + 1):
                text = lines[number - 1]
                marks[number - 1].append((begin if number == first else 0, end if number == last else len(text), kind))
    except (tokenize.TokenError, SyntaxError, IndexError):
        marks = [[] for _ in lines]
    made = []
    for text, spans in zip(lines, marks, strict=True):
        pieces: list[Any] = []
        at = 0
        for begin, end, kind in spans:
            pieces += [text[at:begin], element("span", text[begin:end], class_=kind)]
            at = end
        made.append(joined(*pieces, text[at:]))
    return made


def _kind(token: tokenize.TokenInfo) -> str | None:
    if token.type == tokenize.COMMENT:
        return "c"
    if token.type == tokenize.STRING or tokenize.tok_name[token.type].startswith("FSTRING"):
        return "s"
    if token.type == tokenize.NAME and keyword.iskeyword(token.string):
        return "k"
    return None


# --- the steps --------------------------------------------------------------------------------------------------------


def steps_pane(derivation: Derivation, names: Names) -> Markup:
    """The arguments and the steps: values go down, adjoints come up, arcs tie a step to those that read it."""
    rows: list[Markup] = []
    rows += [_input_row(one, names) for one in derivation.inputs]
    for item in derivation.items:
        rows.extend(_item_rows(item, names))
    legend = element(
        "div",
        element("span", f"{_count(derivation.items)} steps"),
        element("span", "↓ value", class_="down"),
        element("span", "↑ adjoint", class_="up"),
        class_="legend",
    )
    digits = max((len(item.label) for item in names.shown), default=1)
    paths = (element("path", class_=kind) for kind in ("all", "in", "out"))
    arcs = element("svg", *paths, class_="arcs", aria_hidden="true", preserveAspectRatio="none")
    return element(
        "nav",
        legend,
        element("div", arcs, element("ol", *rows, class_="rows", style=f"--digits:{digits}"), class_="track"),
        class_="pane steps",
        aria_label="Steps",
    )


def _count(items: Iterable[Item]) -> int:
    return sum(1 + _count(item.body) for item in items)


def _input_row(one: Input, names: Names) -> Markup:
    role = "argument" if one.adjoint is not None else "held fixed"
    words = f"{shape_of(one.shape)} · {role}"
    back = None
    if one.adjoint is not None:
        back = f"{text_of(one.adjoint.leaf)}, the gradient with respect to {one.name}: {summary(one.adjoint.value)}"
    return _row(
        names.key(one),
        element("b", one.name),
        words,
        one.value,
        one.adjoint.value if one.adjoint else None,
        users=names.readers(one),
        classes=["given"] if one.adjoint else ["given", "held"],
        number="",
        backward=back,
        given=True,
    )


def _item_rows(item: Item, names: Names, within: Item | None = None, *, folded: bool = False) -> list[Markup]:
    """The row of a step and those inside of it: the parts of a step are folded, the one pass of a loop is not."""
    bad = item.verdict.ok is False
    told = "" if item.expr is None else f" = {text_of(item.expr)}"
    where = f" · line {item.place.line}" if item.place else ""
    state: Any = element("span", " · not verified", class_="notverified") if bad else ""
    words = joined(
        shape_of(item.shape), where, f" · {item.letter} = 1, …, {item.trips}" if item.kind == "loop" else "", state
    )
    adjoint = item.adjoint
    inside = names.inside(item)
    forward = f"{item.name}{told}: {summary(item.value)}"
    backward = None
    if adjoint is not None:
        line = " + ".join("…" if term.expr is None else text_of(term.expr) for term in adjoint.contributions)
        line = "1" if adjoint.seed and not adjoint.contributions else line
        backward = f"{text_of(adjoint.leaf)} = {line}"
    row = _row(
        names.key(item),
        joined(element("b", item.name), told),
        words,
        item.value,
        adjoint.value if adjoint else None,
        users=names.readers(item),
        classes=["bad"] if bad else [],
        number=item.label,
        forward=None if folded else forward,
        backward=None if folded else backward,
        within=None if within is None else names.key(within),
        folded=folded,
        opens=bool(inside),
        kind=item.kind,
    )
    rows = [row]
    for one in inside:
        rows.extend(_item_rows(one, names, item, folded=folded or item.kind != "loop"))
    return rows


def _row(
    key: str,
    what: Any,
    words: Any,
    value: Any,
    adjoint: Any,
    *,
    users: Sequence[str],
    classes: Sequence[str],
    number: str,
    forward: str | None = None,
    backward: str | None = None,
    given: bool = False,
    within: str | None = None,
    folded: bool = False,
    opens: bool = False,
    kind: str = "",
) -> Markup:
    opener = None
    if opens:
        told = "one pass" if kind == "loop" else "parts"
        opener = element(
            "button",
            told,
            type="button",
            class_="fold",
            aria_expanded="true" if kind == "loop" else "false",
            data_opens=key,
            aria_label=f"{told} of step {number}",
        )
    small = element("small", words)
    row = element(
        "a",
        element("span", number, class_="number"),
        element("span", element("code", what), small, class_="what" if within is None else "what inner"),
        _cell(value, "v"),
        _cell(adjoint, "a"),
        class_=" ".join(["row", *classes, *(["opens"] if opens else [])]),
        href=f"#card-{key}",
        data_key=key,
        data_users=" ".join(users) or None,
        data_forward=forward,
        data_backward=backward,
        data_given=given,
    )
    return element(
        "li",
        row,
        opener,
        class_="folded" if folded else None,
        data_within=within,
    )


def _cell(array: Any, kind: str) -> Markup:
    if array is None:
        return element("span", class_=f"cell {kind}")
    shown: Any = thumbnail(array) or summary(array)
    label = "value" if kind == "v" else "adjoint"
    said = element("span", f"{label} {summary(array)}", class_="quiet") if isinstance(shown, Markup) else None
    return element("span", shown, said, class_=f"cell {kind}")
