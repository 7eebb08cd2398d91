"""Program -> a self-contained C99 file: one documented function, a loop nest for each step that a reader would name."""

from __future__ import annotations

import os.path
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.containers import leaf_paths
from chainrule.derive.analysis import Reading
from chainrule.derive.c_arrays import Buffer, allotted, token
from chainrule.derive.c_expression import C_TYPES, number
from chainrule.derive.c_functions import FUNCTIONS, needed
from chainrule.derive.c_routines import routine_names, written
from chainrule.derive.c_steps import Body
from chainrule.derive.c_writer import safe
from chainrule.derive.identifiers import Names, is_numbered
from chainrule.derive.numpy_source import SMALL
from chainrule.errors import NoRule
from chainrule.program import ArrayType, Literal, Program, Step
from chainrule.source import excerpt

__all__ = ["c_source"]

_RESERVED = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false
NULL NAN INFINITY I main errno asm workspace sum class new delete this template typename operator private public
protected virtual friend using namespace try catch throw abs labs div exit free malloc signgam y0 y1 yn j0 j1 jn
gamma drem signal time index
""".split()
_MATHS = """
acos asin atan atan2 cos sin tan acosh asinh atanh cosh sinh tanh exp exp2 expm1 log log2 log10 log1p pow sqrt cbrt
hypot erf erfc tgamma lgamma ceil floor nearbyint rint round trunc fmod remainder remquo copysign nan nextafter fdim
fmax fmin fma frexp ldexp modf scalbn ilogb logb isnan isinf isfinite signbit fabs memcpy memset
""".split()

#: A line of the table of arguments: name, in or out, type, what it is.
_Row = tuple[str, str, str, str]


def c_source(program: Program, *, notes: Sequence[str] = ()) -> str:
    """The program as the text of a C99 file with one function.

    ``int name(inputs..., captured arrays..., outputs..., void *workspace)``: numbers are passed by value, arrays by
    pointers to blocks in C order; captured arrays of at most 32 elements are constants of the file. Containers are
    flattened in the order of their leaves. The comment at the top has the types, the shapes and what is returned: 0, or
    the number of what failed (another branch, a singular matrix). Nothing is allocated: temporary arrays of up to 1 KiB
    are local (8 KiB in all), the others are in the workspace, whose size in bytes is the macro ``NAME_WORKSPACE``.

    Raises NoRule for a step that has no form in C.

    >>> from chainrule import grad
    >>> print(c_source(grad(lambda x: np.sum(x * x)).program(np.ones(3))).splitlines()[-2])
        return 0;
    """
    return _File(program, notes).text()


class _File:
    """The file around the function: names, constants, functions that are called, arguments."""

    def __init__(self, program: Program, notes: Sequence[str]) -> None:
        self.program = program
        self.notes = notes
        self.names = Names(
            {*_RESERVED, *_MATHS, *(f"{one}f" for one in _MATHS), *FUNCTIONS, *routine_names()}, ascii_only=True
        )
        self.title = self.names.new(program.name if program.name.isidentifier() else "f")
        self.routines: set[tuple[str, str]] = set()
        self.buffers: list[Buffer] = []
        self.failures: list[str] = []
        self.lines: list[str] = []
        #: (first, last) lines of loops over iterations.
        self.loops: list[tuple[int, int]] = []
        sizes = [kind.size for kind in program.types]
        self.index_type = "int" if max(sizes, default=0) < 2**31 else "int64_t"

    def buffer(self, dtype: Any, shape: Sequence[int], name: str, role: str = "arena", data: Any = None) -> Buffer:
        made = Buffer(len(self.buffers), np.dtype(dtype), tuple(shape), name, role, data)
        self.buffers.append(made)
        return made

    def fails(self, what: str) -> int:
        """The number that is returned where this happens."""
        if what not in self.failures:
            self.failures.append(what)
        return self.failures.index(what) + 1

    def text(self) -> str:
        program = self.program
        reading = Reading(program)
        names = self.names.of(program)
        body = Body(self, program, reading, names)
        arguments, listed = self._inputs(body, reading)
        body.write()
        outputs, described = self._outputs(body)
        arguments += outputs
        listed += described
        size = allotted(self.lines, self.loops, self.buffers)
        signature = f"int {self.title}({', '.join([*[declared for declared, _ in arguments], 'void *workspace'])})"
        function = [
            *_wrapped(signature), "{", *self._declarations(size), *self._unused(arguments, size), *self.lines,
            "    return 0;", "}",
        ]  # fmt: skip
        blocks = [
            self._comment(reading, listed, size),
            f"#define {self.title.upper()}_WORKSPACE {size}",
            *needed(self._called(written(self.routines))), *written(self.routines), *self._constants(),
            "\n".join(function),
        ]  # fmt: skip
        text = "\n\n".join(blocks)
        blocks.insert(1, "\n".join(self._includes(text)))
        text = "\n\n".join(blocks) + "\n"
        by_token = {token(one): one.name for one in self.buffers}
        return re.sub("\x01\\d+\x02", lambda found: by_token[found[0]], text)

    def _called(self, routines: Sequence[str]) -> set[str]:
        """The functions of our own that the text calls, comments apart."""
        return set(re.findall(r"\b(\w+)\(", "\n".join([*self._code(), *routines]))) & set(FUNCTIONS)

    def _code(self) -> list[str]:
        return [line for line in self.lines if not line.lstrip().startswith("/*")]

    # -- arguments

    def _inputs(self, body: Body, reading: Reading) -> tuple[list[tuple[str, str]], list[_Row]]:
        arguments, listed = [], []
        program = self.program
        for var in program.inputs:
            kind, name, path = program.types[var], body.names[var], program.names.get(var)
            arguments.append((self._argument(kind, name, "in"), name))
            listed.append((name, "in", self._shown(kind), path if isinstance(path, str) and path != name else ""))
            body.give(var, name, "input")
        for var, constant in zip(program.captures, program.constants, strict=True):
            kind, name = program.types[var], body.names[var]
            if not reading.uses.get(var):
                continue
            if constant is not None and kind.size <= SMALL:
                body.give(var, name, "constant", np.asarray(constant))
                continue
            arguments.append((self._argument(kind, name, "in"), name))
            listed.append((name, "in", self._shown(kind), "which the function reads besides its arguments"))
            body.give(var, name, "input")
        return arguments, listed

    def _outputs(self, body: Body) -> tuple[list[tuple[str, str]], list[_Row]]:
        arguments, listed = [], []
        program = self.program
        tree = program.out_tree
        paths = leaf_paths(tree, "result") if tree is not None else []
        if len(paths) != len(program.outputs):
            paths = [f"result{place or ''}" for place in range(len(program.outputs))]
        for place, operand in enumerate(program.outputs):
            kind = body.type_of(operand)
            given = None if isinstance(operand, Literal) else body.reading.names[operand]
            wish = re.sub(r"\W+", "_", paths[place]).strip("_")
            if given is not None and not is_numbered(given) and given not in program.given_names().values():
                wish = given
            elif len(program.outputs) == 1:
                wish = "result"
            name = body.deliver(operand, wish)
            arguments.append((self._argument(kind, name, "out"), name))
            listed.append((name, "out", self._shown(kind), paths[place] if paths[place] != name else ""))
        return arguments, listed

    def _argument(self, kind: ArrayType, name: str, way: str) -> str:
        ctype = self.c_type(kind.dtype)
        if way == "out":
            return f"{ctype} *restrict {name}" if kind.ndim else f"{ctype} *{name}"
        return f"const {ctype} *restrict {name}" if kind.ndim else f"{ctype} {name}"

    def _shown(self, kind: ArrayType) -> str:
        return C_TYPES[kind.dtype.name] + (f" [{']['.join(map(str, kind.shape))}]" if kind.ndim else "")

    def c_type(self, dtype: Any, step: Step | None = None) -> str:
        """The C type of a dtype; NoRule where there is none."""
        found = C_TYPES.get(np.dtype(dtype).name)
        if found is None:
            site = self.program.sites.get(step.outputs[0]) if step is not None else None
            raise NoRule(f"C99 has no type for {np.dtype(dtype).name}", where=excerpt(site), cure="compute in float64")
        return found

    # -- the parts of the file

    def _declarations(self, size: int) -> list[str]:
        made, pointers = [], []
        for one in self.buffers:
            if one.role != "arena":
                continue
            shape = f"  /* {' x '.join(map(str, one.shape))} */" if len(one.shape) > 1 else ""
            ctype = C_TYPES[one.dtype.name]
            if one.place is None:
                made.append(f"    {ctype} {one.name}[{max(one.size, 1)}];{shape}")
            else:
                start = f"memory + {one.place}" if one.place else "memory"
                pointers.append(f"    {ctype} *const {one.name} = ({ctype} *)({start});{shape}")
        first = ["    char *const memory = workspace;"] if size else []
        lines = [*first, *pointers, *made]
        return [*lines, ""] if lines else []

    def _unused(self, arguments: Sequence[tuple[str, str]], size: int) -> list[str]:
        text = "\n".join(self._code())
        tokens = {one.name: token(one) for one in self.buffers if one.role in ("input", "output")}
        idle = [
            name
            for _, name in arguments
            if tokens.get(name, "\x01") not in text and not re.search(rf"\b{name}\b", text)
        ]
        if not size:
            idle.append("workspace")
        return [f"    (void){name};" for name in idle]

    def _constants(self) -> list[str]:
        made = []
        for one in self.buffers:
            if one.role == "constant" and token(one) in "\n".join(self.lines):
                values = ", ".join(number(value, one.dtype).text for value in np.ravel(one.data))
                made += _wrapped(
                    f"static const {C_TYPES[one.dtype.name]} {one.name}[{max(one.size, 1)}] = {{{values or '0'}}};"
                )
        return ["\n".join(made)] if made else []

    def _includes(self, text: str) -> list[str]:
        wanted = [("float.h", r"\bDBL_\w+"), ("math.h", r"\b(" + "|".join(_MATHS) + r")f?\(|\bNAN\b|\bINFINITY\b"),
                  ("stdbool.h", r"\bbool\b|\btrue\b|\bfalse\b"), ("stddef.h", r"\bNULL\b|\bsize_t\b"),
                  ("stdint.h", r"\bu?int\d+_t\b|INT64"), ("string.h", r"\bmem(cpy|move|set)\(")]  # fmt: skip
        return [f"#include <{header}>" for header, pattern in wanted if re.search(pattern, text)] or [
            "#include <stddef.h>"
        ]

    def _comment(self, reading: Reading, listed: Sequence[_Row], size: int) -> str:
        origin = f" from {os.path.basename(reading.file)}" if reading.file is not None else ""
        rows = [*listed, ("workspace", "", "void *", f"{size} bytes" if size else "not used: NULL will do")]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        table = [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
            for row in rows
        ]
        lines = [f"{self.title}: written out by chainrule{origin}. C99; needs libm only; allocates nothing."]
        lines += ["", *self.notes] if self.notes else []
        lines += ["", "Arguments: arrays are blocks in C (row-major) order, and none overlaps another.", "", *table, ""]
        macro = f"{self.title.upper()}_WORKSPACE"
        used = f"The workspace has {macro} bytes and is aligned as malloc aligns."
        lines.append(used if size else f"{macro} is 0: all temporary values are local variables.")
        if self.failures:
            lines += ["Returns 0, or the number of what failed, and then the outputs are not to be used:"]
            for count, what in enumerate(self.failures, 1):
                lines += textwrap.wrap(f"{count}  {what}", 100, initial_indent="  ", subsequent_indent="     ")
        else:
            lines.append("Returns 0.")
        return "/* " + "\n".join(f" * {safe(line)}".rstrip() for line in lines).removeprefix(" * ") + "\n */"


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, 110, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
