"""LaTeX of a derivation -> MathML for a page: converted by latex2mathml, then tidied and escaped here."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from html import escape
from xml.etree import ElementTree as ET

from chainrule.derive.expression import Expr, Node, leaves_of
from chainrule.derive.page.markup import Markup, element
from chainrule.derive.writing import LETTERS, entry, written
from chainrule.rule import Elementwise, Index

__all__ = ["entries_of", "formula", "latex_of", "text_of"]

#: What may stand in a page: latex2mathml gives no other elements for what a derivation is written with.
_TAGS = frozenset(
    "math mrow mi mn mo mtext mspace msup msub msubsup mover munder munderover mfrac msqrt mroot mtable mtr mtd "
    "mstyle mpadded mphantom menclose".split()
)
_KEPT = frozenset(
    {"display", "stretchy", "fence", "form", "columnalign", "width", "linethickness", "displaystyle", "accent"}
)

# latex2mathml puts what stands in \text{...} into its result as it is: these stand for the three characters meanwhile.
_GUARD = str.maketrans({"<": "\ue000", ">": "\ue001", "&": "\ue002"})
_UNGUARD = str.maketrans({"\ue000": "<", "\ue001": ">", "\ue002": "&"})
_TEXT = re.compile(r"\\(?:text|mbox|textrm|textit|textbf|texttt|textsf)\s*\{")
_UPRIGHT = re.compile(r"\\mathrm\{([A-Za-z])\}")
_SPELLED = re.compile(
    r"\\(?P<escaped>[_&%#$ {}])|\\(?P<command>text[a-z]+)\{\}|\\ensuremath\{\\?(?P<sign>\w+|.)\}|\\dots\{\}"
    r"|\[U\+(?P<code>[0-9A-F]{4,6})\]"
)
_COMMANDS = {
    "textless": "<", "textgreater": ">", "textbackslash": "\\", "textasciicircum": "^", "textasciitilde": "~",
    "textbar": "|", "textquotedbl": '"', "textquotesingle": "'", "textasciigrave": "`",
}  # fmt: skip
_SIGNS = {"cdot": "·", "times": "×", "le": "≤", "ge": "≥", "infty": "∞", "partial": "∂", "to": "→", "in": "∈"}
_FUNCTIONS = {name: name for name in ("arg", "ker", "hom", "inf", "sup", "gcd", "sech", "csch", "coth")}
_TALL = frozenset({"mfrac", "mtable", "munder", "munderover", "mover"})  # what brackets have to grow for
_BARS = frozenset("―¯")  # what stands over a letter is to be as wide as the letter
_FENCES = frozenset("‖|")  # open and close look the same; without a form, a browser puts spaces as around a relation
_BIG = frozenset("∑∏⋃⋂")  # with their limits below and above, which a browser puts aside within a line
_LIMITS = {"msub": "munder", "msubsup": "munderover", "msup": "mover"}
_NEGATIVE = {"negativethinmathspace": "-0.1667em", "negativemediummathspace": "-0.2222em"}


def latex_of(expr: Expr) -> str:
    """An expression as LaTeX."""
    return written(expr, "latex")


def text_of(expr: Expr) -> str:
    """An expression as a line of text."""
    return written(expr)


def entries_of(left: Expr, *right: Expr) -> str | None:
    """``left = right + ...`` for one entry, as LaTeX; None where an entry of the right is not made of entries alone.

    Where an array is moved or cut, its entries have other indices, and the formula for whole arrays says more.
    """
    both = (left, *right)
    if not 0 < left.ndim <= len(_LETTERS) or any(one.shape != left.shape for one in right):
        return None
    if not all(map(_by_entries, right)) or any(leaf.name in LETTERS for one in both for leaf in leaves_of(one)):
        return None
    return f"{entry(left, 'latex')} = {' + '.join(entry(one, 'latex') for one in right)}"


#: Letters for the axes of an array, as many as a formula can carry.
_LETTERS = LETTERS[:4]


def _by_entries(expr: Expr) -> bool:
    if isinstance(expr, Node):
        return isinstance(expr.rule, Elementwise | Index) and all(map(_by_entries, expr.operands))
    return True


@lru_cache(maxsize=8192)
def formula(latex: str, *, display: bool = False) -> Markup:
    r"""The MathML of a formula, on a line of its own where ``display`` is true.

    A formula that can not be converted is shown as its LaTeX, so that a page never loses one.

    >>> formula("x")
    '<math><mi>x</mi></math>'
    """
    from latex2mathml.converter import convert

    try:
        root = ET.fromstring(re.sub(r' xmlns="[^"]*"', "", convert(_guarded(latex)), count=1))  # noqa: S314 - ours
        body = "".join(map(_written, _tidied(list(root))))
    except Exception:  # noqa: BLE001 - whatever the converter trips over, the reader still gets the formula
        return element("code", latex, class_="latex")
    return Markup(f'<math display="block">{body}</math>' if display else f"<math>{body}</math>")


def _guarded(latex: str) -> str:
    """The LaTeX with the inside of every text command made safe to convert."""
    latex = _UPRIGHT.sub(r"\\operatorname{\1}", latex)
    parts, at = [], 0
    while found := _TEXT.search(latex, at):
        depth, end = 1, found.end()
        while end < len(latex) and depth:
            escaped = latex[end] == "\\"
            depth += 0 if escaped else (latex[end] == "{") - (latex[end] == "}")
            end += 1 + escaped
        inside = _SPELLED.sub(_character, latex[found.end() : end - 1])
        parts += [latex[at : found.end()], inside.translate(_GUARD), "}"]
        at = end
    return "".join(parts) + latex[at:]


def _character(found: re.Match[str]) -> str:
    """The character that a command of text stands for: TeX needs it spelled out, a page does not."""
    if found["escaped"]:
        return found["escaped"]
    if found["code"]:
        return chr(int(found["code"], 16))
    if found["sign"]:
        return _SIGNS.get(found["sign"]) or _letter(found["sign"])
    return _COMMANDS.get(found["command"] or "", "…" if found["command"] is None else found[0])


def _letter(name: str) -> str:
    """A Greek letter by its name in TeX, or the name."""
    kind = "CAPITAL" if name[:1].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {kind} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")
    except KeyError:
        return name


def _tidied(nodes: list[ET.Element]) -> list[ET.Element]:
    """The nodes with letters of one word put together, words that are operators made names, and idle rows opened."""
    made: list[ET.Element] = []
    word: ET.Element | None = None
    opened = False
    tall = any(one.tag in _TALL for node in nodes for one in node.iter())
    for node in nodes:
        if node.tag not in _TAGS:
            raise ValueError(node.tag)
        if (node.text or "").startswith("\\") and node.tag == "mi":
            # A command that the converter does not know: a name is shown as one, anything else is not guessed at.
            node.text = _FUNCTIONS[(node.text or "")[1:]]
            node.set("class", "normal")
        node[:] = _tidied(list(node)) if node.tag in {"mrow", "math", "mtd", "mstyle"} else _alone(node)
        text = node.text or ""
        if node.tag == "mi" and node.get("mathvariant") in {"italic", "normal", "monospace", "bold"}:
            variant = node.get("mathvariant", "")
            if word is not None and word.get("class") == variant:
                word.text = (word.text or "") + text
                continue
            word = ET.Element("mi", {"class": variant})
            word.text = text
            made.append(word)
            continue
        if (
            node.tag in {"mi", "mn", "mo"}
            and word is not None
            and node.get("mathvariant") in {word.get("class"), None}
            and node.tag == "mn"
            and node.get("mathvariant")
        ):
            word.text = (word.text or "") + text
            continue
        if node.tag == "mtext" and word is not None and len(text) == 1:
            word.text = (word.text or "") + text  # a letter that TeX can not set within a name
            continue
        word = None
        if node.tag == "mo" and text.isalpha():
            node.tag = "mi"
            node.set("class", "normal")
        if node.tag == "mo" and text in _FENCES and node.get("form") is None:
            node.set("form", "postfix" if opened else "prefix")
            opened = not opened
        if node.tag == "mo" and text in _BARS:
            node.text = "‾"
            node.set("stretchy", "true")
        if node.get("stretchy") == "true" and node.tag == "mo" and not tall and text not in _BARS:
            node.set("stretchy", "false")
        if node.tag in _LIMITS and len(node) > 1 and (node[0].text or "") in _BIG:
            node.tag = _LIMITS[node.tag]
        if node.tag == "mrow" and len(node) == 1 and not node.attrib:
            node = node[0]
        made.append(node)
    return made


def _alone(node: ET.Element) -> list[ET.Element]:
    """The children of a node where each has its place (a fraction's two, a script's base and script)."""
    made = []
    for child in node:
        tidy = _tidied([child])
        made.append(tidy[0])
    return made


def _written(node: ET.Element) -> str:
    kept = []
    for name, value in node.attrib.items():
        if name == "class":
            # A single letter is slanted by the browser; a word is not, and needs to be told.
            if value != "normal" and len(node.text or "") > 1:
                kept.append(f' class="{escape(value)}"')
            elif value == "normal" and len(node.text or "") == 1:
                kept.append(' mathvariant="normal"')
        elif name == "width":
            kept.append(f' width="{escape(_NEGATIVE.get(value, value))}"')
        elif name in _KEPT and not (name == "stretchy" and node.tag == "mi"):
            kept.append(f' {name}="{escape(value)}"')
    inside = escape((node.text or "").translate(_UNGUARD), quote=True) + "".join(map(_written, node))
    return f"<{node.tag}{''.join(kept)}>{inside}</{node.tag}>"
