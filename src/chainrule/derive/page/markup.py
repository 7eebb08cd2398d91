"""Elements of a page: text is escaped unless it is markup already, so nothing that a user wrote can become markup."""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["Markup", "element", "joined"]

#: Elements that hold nothing and have no end tag.
_VOID = frozenset({"br", "hr", "input", "meta"})


class Markup(str):
    """Text that is HTML already; only this module and the writers of MathML and SVG make it."""

    __slots__ = ()


def joined(*parts: Any) -> Markup:
    """The parts one after the other: markup as it is, everything else escaped; ``None`` is nothing."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else escape(str(part), quote=True) for part in parts if part is not None
        )
    )


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """One element.

    An attribute ``class_`` is ``class`` and ``aria_label`` is ``aria-label``; one that is ``None`` or ``False`` is left
    out, one that is ``True`` has no value.

    >>> element("p", "a < b", element("b", "&"), class_="note", hidden=True)
    '<p class="note" hidden>a &lt; b<b>&amp;</b></p>'
    """
    written = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        written.append(name if value is True else f'{name}="{escape(str(value), quote=True)}"')
    start = f"<{' '.join(written)}>"
    return Markup(start if tag in _VOID else f"{start}{joined(*children)}</{tag}>")
