"""A derivation -> one self-contained HTML page: a ledger of source, steps and account that can be walked."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from importlib.resources import files

from chainrule.derive.derivation import WHAT_IT_IS_NOT, Derivation
from chainrule.derive.page.account import Beside, account
from chainrule.derive.page.ledger import source_pane, steps_pane
from chainrule.derive.page.markup import Markup, element, joined
from chainrule.derive.page.names import Names

__all__ = ["Beside", "embedded", "page"]


def page(derivation: Derivation, *, title: str | None = None, beside: Beside | None = None) -> str:
    """The derivation as a page: no network, no script but its own, the same text for the same derivation.

    ``title`` stands above it, in place of the function's name; ``beside`` is another account of the gradient, to be
    shown with ours (the gallery puts the textbook's there).
    """
    names = Names(derivation)
    style, script = _asset("style.css"), _asset("walk.js")
    # Whatever a user calls a variable, the browser runs this one script and asks nothing of any host.
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src '{_digest(script)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    head = joined(
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="chainrule"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title or f"The gradient of {derivation.function}"),
        Markup(f"<style>{style}</style>"),
    )
    body = joined(
        element("a", "Skip to the derivation", class_="skip", href="#account"),
        _bar(derivation),
        _head(derivation, names, title),
        element(
            "div",
            element("div", source_pane(derivation, names), steps_pane(derivation, names), class_="left"),
            account(derivation, names, beside),
            class_="ledger",
        ),
        Markup(f"<script>{script}</script>"),
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>{body}</body>\n</html>\n'


def embedded(derivation: Derivation, *, height: str = "85vh") -> str:
    """The page within another one (a notebook): in a frame of its own, so that neither touches the other."""
    return (
        f'<iframe srcdoc="{escape(page(derivation), quote=True)}" sandbox="allow-scripts" title="Derivation of '
        f'{escape(derivation.function, quote=True)}" style="width:100%;height:{escape(height, quote=True)};border:0">'
        "</iframe>"
    )


@cache
def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _bar(derivation: Derivation) -> Markup:
    button = {"type": "button", "class_": "button"}
    walk = element(
        "div",
        element("button", "‹", id="back", aria_label="One step back", **button),
        element(
            "input",
            type="range",
            id="where",
            min="0",
            max="1",
            value="0",
            step="1",
            aria_label="Place in the walk: down with the values, up with the adjoints",
        ),
        element("button", "›", id="on", aria_label="One step on", **button),
        element("output", id="said", aria_live="polite", for_="where"),
        class_="walk",
        role="group",
        aria_label="Walk",
    )
    return element(
        "div",
        element("span", "∂ ", element("code", derivation.function), class_="mark"),
        walk,
        element("button", "dark", id="theme", class_="button theme", type="button"),
        class_="bar",
    )


def _head(derivation: Derivation, names: Names, title: str | None) -> Markup:
    wrong = [item for item in derivation.walk() if item.verdict.ok is False]
    doubtful = [item for item in derivation.items if item.verdict.ok is None]
    if wrong:
        shown = dict.fromkeys(item.label for item in wrong)
        links = [piece for label in shown for piece in (names.link(label), ", ")][:-1]
        state = element(
            "p",
            f"{len(shown)} of the steps {'is' if len(shown) == 1 else 'are'} NOT VERIFIED: ",
            *links,
            ". The numbers speak against what is written there; do not rely on this gradient.",
            class_="alarm",
            role="alert",
        )
    else:
        text = f" each of the {len(derivation.items)} steps has been verified by numbers"
        if doubtful:
            names_of = ", ".join(item.name for item in doubtful)
            text = f" verified by numbers, but for {names_of}, where they can not decide"
        tick = element("span", "✓", class_="tick")
        state = element("p", tick, text, class_="state")
    lost = derivation.where_nonfinite() if derivation.evidence is not None else None
    if lost is not None:
        said = " ".join(part.strip() for part in lost.sentences)
        state = joined(state, element("p", "Something is not finite. ", said, class_="alarm lost", role="note"))
    if derivation.check.verdict.ok is False:
        state = joined(
            state,
            element("p", "The whole gradient does NOT agree with finite differences.", class_="alarm", role="alert"),
        )
    return element(
        "header",
        element("h1", *(["The gradient of ", element("code", derivation.function)] if title is None else [title])),
        element("p", WHAT_IT_IS_NOT, class_="not"),
        state,
        class_="head",
    )
