"""Lines of a C function: statements, loop nests, comments, and where each variable of the program is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from chainrule.derive.analysis import Reading
from chainrule.derive.c_arrays import ZERO, Affine, Constant, Lazy, Local, Memory, Node, c_strides, symbol
from chainrule.derive.c_expression import Term, cast, filled, number
from chainrule.derive.identifiers import is_numbered
from chainrule.program import ArrayType, Literal, Operand, Program, Step, Var, array_type
from chainrule.source import place as place_of

__all__ = ["Writer", "safe"]


def safe(text: str) -> str:
    """Text that does not end the comment that it is in, nor changes how the file is shown."""
    text = "".join(char if char.isprintable() else "?" for char in text)
    return (
        text.replace("*/", "* /")
        .replace("/*", "/ *")
        .replace("??", "? ?")
        .replace("\x01", "")
        .replace("\x02", "")
        .rstrip("\\")
    )


class Writer:
    """Writes lines of the function, and knows where each variable is. Bodies of loops share the file and its lines."""

    def __init__(self, file: Any, program: Program, reading: Reading, names: dict[Var, str], depth: int = 1) -> None:
        self.file = file
        self.program, self.reading, self.names = program, reading, names
        self.nodes: dict[Var, Node] = {}
        self.depth = depth
        self.sweeps: bool | None = None
        self.cited: Any = None
        self._told = False
        self._guards: dict[Var, list[Any]] = {}
        #: Memory that a variable is to be put in.
        self.targets: dict[Var, Memory] = {}
        for var, value in program.guards:
            self._guards.setdefault(var, []).append(value)

    # -- lines

    def say(self, text: str) -> None:
        """Write a line."""
        self.file.lines.append("    " * self.depth + text)

    def cite(self, count: int) -> None:
        """The comment with the user's line, where it is another one than before."""
        spot, comment = self.reading.cited(count)
        sweeps = count >= self.reading.sweep if self.sweeps is None else self.sweeps
        if sweeps and self.sweeps is None and not self._told:
            self._told = True
            if self.file.lines:
                self.file.lines.append("")
            self.say("/* Backwards: from the result to the arguments. */")
        if comment and (spot, sweeps) != self.cited:
            self.say(f"/* {'d of ' if sweeps else ''}{safe(comment)} */")
        self.cited = (spot, sweeps)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A statement with a body, without braces where one statement is in it."""
        self.say(head)
        start = len(self.file.lines)
        self.depth += 1
        yield
        self.depth -= 1
        inside = self.file.lines[start:]
        mine = "    " * (self.depth + 1)
        simple = [
            line for line in inside if line.startswith(mine) and not line.startswith(mine + " ") and line.strip() != "}"
        ]
        if len(simple) != 1 or any(line.lstrip().startswith(("/*", "const ", "double ", "float ")) for line in simple):
            self.file.lines[start - 1] += " {"
            self.say("}")

    def nest(self, shape: Sequence[int], body: Callable[[list[Affine]], None], *, scoped: bool = False) -> None:
        """Loops over an array of this shape; ``body`` is given the indices.

        ``scoped`` puts braces around what declares variables even where there is no loop.
        """
        if 0 in shape:
            return
        if scoped and all(extent == 1 for extent in shape):
            self.say("{")
            self.depth += 1
            self._nest(list(shape), [], body)
            self.depth -= 1
            self.say("}")
        else:
            self._nest(list(shape), [], body)

    def _nest(self, shape: list[int], done: list[Affine], body: Callable[[list[Affine]], None]) -> None:
        if not shape:
            body(done)
        elif shape[0] == 1:
            self._nest(shape[1:], [*done, ZERO], body)
        else:
            with (
                self.index() as name,
                self.block(f"for ({self.file.index_type} {name} = 0; {name} < {shape[0]}; {name}++)"),
            ):
                self._nest(shape[1:], [*done, symbol(name)], body)

    @contextmanager
    def index(self) -> Iterator[str]:
        """A name for an index that no loop around has."""
        for wish in "ijkmnpqrstuvw":
            if wish not in self.file.names.taken:
                self.file.names.taken.add(wish)
                break
        else:
            wish = self.file.names.new("index")
        yield wish
        self.file.names.taken.discard(wish)

    # -- variables

    def give(self, var: Var, name: str, role: str, data: Any = None) -> None:
        """An argument or a constant."""
        kind = self.program.types[var]
        self.file.c_type(kind.dtype)
        if kind.ndim or role == "constant":
            held = self.file.buffer(kind.dtype, kind.shape, name, role, data)
            self.nodes[var] = Memory(kind.shape, kind.dtype, held, c_strides(kind.shape))
        else:
            self.nodes[var] = Local((), kind.dtype, name)

    def type_of(self, operand: Operand) -> ArrayType:
        """Shape and dtype of an operand."""
        kind = self.program.type_of(operand)
        return kind if isinstance(kind, ArrayType) else array_type((), np.dtype(kind))

    def node(self, operand: Operand) -> Node:
        """Where the elements of an operand are."""
        if isinstance(operand, Literal):
            kind = self.type_of(operand)
            return Constant((), kind.dtype, operand.value)
        return self.nodes[operand]

    def room(self, var: Var) -> Memory:
        """Memory for a result."""
        kind = self.program.types[var]
        wanted = self.targets.get(var)
        if wanted is not None:
            return wanted
        made = self.file.buffer(kind.dtype, kind.shape, self.names[var])
        return Memory(kind.shape, kind.dtype, made, c_strides(kind.shape))

    def temporary(self, node: Node, wish: str) -> Memory:
        """A copy of an array in a block of its own."""
        held = self.file.buffer(node.dtype, node.shape, self.file.names.new(wish))
        made = Memory(node.shape, node.dtype, held, c_strides(node.shape))
        self.copy(node, made)
        return made

    def copy(self, node: Node, target: Memory, sign: str = "=") -> None:
        """Each element of an array put (``=``) or added (``+=``) to its place; the array may be broadcast."""
        self.nest(
            target.shape,
            lambda index: self.say(
                f"{target.at(index).text} {sign} {cast(node.under(index), node.dtype, target.dtype).text};"
            ),
        )

    def in_memory(self, node: Node, wish: str = "held") -> Memory:
        """The array as a block in C order."""
        if isinstance(node, Memory) and node.is_plain:
            return node
        return self.temporary(node, wish)

    def set_number(self, count: int, var: Var, term: Term, step: Step | None = None) -> None:
        """A number in a local variable."""
        kind = self.program.types[var]
        self.cite(count)
        self.say(f"const {self.file.c_type(kind.dtype, step)} {self.names[var]} = {term.text};")
        self.nodes[var] = Local((), kind.dtype, self.names[var])

    def realise(self, count: int, var: Var, node: Node) -> None:
        """Compute a variable: into a local variable, or into memory by a loop nest."""
        kind = self.program.types[var]
        if not kind.ndim:
            self.set_number(count, var, node.at(()))
            return
        self.cite(count)
        target = self.room(var)
        self.copy(node, target)
        self.nodes[var] = target

    def deliver(self, operand: Operand, wish: str) -> str:
        """Put a result into an output; its name."""
        kind, node = self.type_of(operand), self.node(operand)
        self.file.c_type(kind.dtype)
        if not kind.ndim:
            name: str = self.file.names.new(wish)
            self.say(f"*{name} = {cast(node.at(()), node.dtype, kind.dtype).text};")
            return name
        if isinstance(node, Memory) and node.is_whole and node.buffer.role == "arena":
            node.buffer.role = "output"
            if is_numbered(node.buffer.name):
                node.buffer.name = self.file.names.new(wish)
            return node.buffer.name
        name = str(self.file.names.new(wish))
        held = self.file.buffer(kind.dtype, kind.shape, name, "output")
        if isinstance(node, Lazy):
            self.cite(node.step)
        self.copy(node, Memory(kind.shape, kind.dtype, held, c_strides(kind.shape)))
        return name

    def guard(self, var: Var) -> None:
        """Leave the function where the program is not valid."""
        for wanted in self._guards.get(var, ()):
            site = self.program.sites.get(var)
            kind, node = self.program.types[var], self.nodes[var]
            where = place_of(site)
            line = f" (line {where.line}: {where.text})" if where is not None else ""
            if kind.ndim:
                held = self.in_memory(node, f"{self.names[var]}_held")
                self.file.routines.add(("crc32", ""))
                count = self.file.fails(
                    f"another branch: elements that the function asked for are not what they were{line}"
                )
                size = kind.size * kind.dtype.itemsize
                self.say(f"if (crc32({held.pointer()}, {size}) != {wanted}U) return {count};")
                continue
            term = node.at(())
            count = self.file.fails(f"another branch: this is valid only while {self._said(var, wanted)}{line}")
            if kind.dtype.kind == "b":
                broken = filled("!{0}", [term]) if wanted else term
            elif wanted != wanted:  # noqa: PLR0124 - NaN is not itself
                broken = filled("!isnan({0})", [term])
            else:
                broken = filled(
                    "{0} != {1}", [term, number(wanted, kind.dtype if kind.dtype.kind == "f" else np.int64)]
                )
            self.say(f"if ({broken.text}) return {count};")

    def _said(self, var: Var, wanted: Any) -> str:
        text = self.nodes[var].at(()).text
        text = re.sub("\x01(\\d+)\x02", lambda found: self.file.buffers[int(found[1])].name, text)
        if isinstance(wanted, bool | np.bool):
            return text if wanted else f"!({text})"
        return f"{text} == {wanted}"
