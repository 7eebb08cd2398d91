"""Names of a program's variables as another language takes them: no keywords, no clashes, ASCII where it must be."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

from chainrule.program import Program, Var

__all__ = ["Names", "ascii_name", "is_numbered"]

_NUMBERED = re.compile(r"[vc]\d+$")


def is_numbered(name: str) -> bool:
    """Whether the name is only a number (``v12``): the user gave it none."""
    return _NUMBERED.match(name) is not None


def ascii_name(name: str) -> str:
    """The name in ASCII letters: ``α`` is ``alpha``, ``ü`` is ``u``, and what has no such reading is its number.

    >>> ascii_name("α_ü")
    'alpha_u'
    """
    made = []
    for char in unicodedata.normalize("NFKD", name):
        if char.isascii() and (char.isalnum() or char == "_"):
            made.append(char)
        elif not unicodedata.combining(char):
            words = unicodedata.name(char, "").split()
            greek = len(words) >= 4 and words[0] == "GREEK" and words[2] == "LETTER"
            letter = words[3].lower() if greek else f"u{ord(char):04x}"
            made.append(letter.capitalize() if greek and words[1] == "CAPITAL" else letter)
    text = "".join(made)
    return text if text and not text[0].isdigit() else f"x{text}"


class Names:
    """Hands out names that are not taken, close to those that are wished for."""

    def __init__(self, reserved: Iterable[str], *, ascii_only: bool = False) -> None:
        self.taken = set(reserved)
        self.ascii_only = ascii_only

    def new(self, wish: str) -> str:
        """A free name like ``wish``."""
        # Python takes identifiers that look alike (ligatures, full-width letters) for the same one.
        wish = ascii_name(wish) if self.ascii_only else unicodedata.normalize("NFKC", wish)
        name, count = wish, 2
        if keyword.iskeyword(name) or name in self.taken:
            name = f"{wish}_"
        while name in self.taken:
            name = f"{wish}_{count}"
            count += 1
        self.taken.add(name)
        return name

    def of(self, program: Program) -> dict[Var, str]:
        """A name for each variable of a program."""
        return {var: self.new(name) for var, name in program.readable_names().items()}
