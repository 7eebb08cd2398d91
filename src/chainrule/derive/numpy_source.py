"""Program -> a module of plain NumPy that computes the same, in the user's own names, as a careful person writes it."""

from __future__ import annotations

import ast
import os.path
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.containers import Structure
from chainrule.derive.analysis import Reading, argument_path, kind_of, overwritten_carries
from chainrule.derive.embedded import Embedded
from chainrule.derive.identifiers import Names, is_numbered
from chainrule.derive.python_expression import applied, array_text, plain_number, typed_number
from chainrule.errors import NoRule
from chainrule.program import ArrayType, Literal, Operand, Program, Step, Var, array_type, infer
from chainrule.rule import Control, Elementwise, Loop
from chainrule.source import excerpt
from chainrule.source import place as place_of

__all__ = ["SMALL", "numpy_source"]

#: Captured arrays of at most this many elements are written into the module, larger ones become arguments.
SMALL = 32
#: Expressions longer than the first are not written into others; lines are kept shorter than the second if possible.
_SHORT, _LONG = 48, 90

_CHECKED = '''
def {checked}(name, value, shape, dtype=np.float64):
    """The argument as an array. Its shape is part of what was written down here: another one is refused."""
    array = np.asarray(value)
    array = array.astype(dtype, casting="same_kind", copy=False)
    if array.shape != shape:
        raise ValueError(f"{{name}} has shape {{array.shape}}; this was written for {{shape}}")
    return array[()]
'''


def numpy_source(program: Program, *, notes: Sequence[str] = ()) -> str:
    """The program as the text of a module with one function, which needs NumPy (and SciPy where the program does).

    The function takes what the program takes, containers as they are; captured arrays of more than 32 elements are
    further arguments, in the order of the docstring. It gives what the program gives, in tuples, lists and dicts.
    Shapes, and the branches that the program is valid for, are checked (ValueError). ``notes`` go to the docstring.

    Raises NoRule for a step that has no form in plain NumPy (a function of the user's with a rule of its own).

    >>> from chainrule import grad
    >>> numpy_source(grad(lambda x: x * x).program(3.0)).splitlines()[-1]
    '    return dx'
    """
    return _Module(program, notes).text()


class _Module:
    """Collects what surrounds the function: imports, constants, functions that it calls, arguments."""

    def __init__(self, program: Program, notes: Sequence[str]) -> None:
        self.program = program
        self.notes = notes
        self.names = Names({"np", "math", "special", "linalg", "range", "reversed", "ValueError"})
        self.title = self.names.new(program.name if program.name.isidentifier() else "f")
        self.checked = self.names.new("checked")
        self.embedded = Embedded(self.names.new)
        self.embedded.imports.add("import numpy as np")
        self.reading = Reading(program)
        self.variables = self.names.of(program)

    def text(self) -> str:
        body = _Body(self, self.program, self.reading, self.variables)
        arguments, prologue, described = self._arguments()
        constants = self._captures(arguments, prologue, described)
        body.write()
        result = body.result()
        valid = [f"Valid only while {one}." for one in body.valid]
        doc = self._docstring([*described, *self._described_result(result), *valid])
        definitions = ["\n".join(constants)] * bool(constants) + self.embedded.definitions()
        if prologue:
            definitions.append(_CHECKED.strip().format(checked=self.checked))
        function = "\n".join(
            [
                '@np.errstate(all="ignore")  # infinities and NaN go where IEEE 754 says',
                f"def {self.title}({', '.join(arguments)}):",
                *[f"    {line}" if line else "" for line in (*doc, *prologue, *body.lines, f"return {result}")],
            ]
        )
        origin = f" from {os.path.basename(self.reading.file)}" if self.reading.file is not None else ""
        imports = sorted(self.embedded.imports, key=lambda one: one.split()[1])
        needed = "NumPy and SciPy" if any("scipy" in one for one in imports) else "NumPy"
        head = _quoted(f"{self.title}, written out by chainrule{origin}; it needs {needed}, not chainrule.")
        first = [head, "\n".join(imports)]
        return "\n\n".join(first) + "\n\n\n" + "\n\n\n".join([*definitions, function]) + "\n"

    # -- arguments and results

    def _arguments(self) -> tuple[list[str], list[str], list[str]]:
        """The parameters, the lines that open and check them, and their description."""
        parameters: dict[str, str] = {}
        prologue, described = [], []
        paths = {var: self.program.names.get(var) for var in self.program.inputs}
        opened = {var: argument_path(path) if isinstance(path, str) else None for var, path in paths.items()}
        # A container is taken as it is where every leaf of it says how it is reached.
        for var in self.program.inputs:
            kind, name, found = self.program.types[var], self.variables[var], opened[var]
            if found is None or isinstance(found[1], ast.Name):
                parameters[name] = name
                reached = shown = name
            else:
                root = found[0]
                if root not in parameters:
                    parameters[root] = self.names.new(root)
                reached, shown = ast.unparse(_rooted(found[1], parameters[root])), ast.unparse(found[1])
            path = paths[var] if isinstance(paths[var], str) else name
            wide = "" if kind.dtype == np.float64 else f", np.{kind.dtype.name}"
            prologue.append(f"{name} = {self.checked}({shown!r}, {reached}, {kind.shape}{wide})")
            described.append(f"{path if reached == name else shown}: {kind_of(kind)}")
        return list(parameters.values()), prologue, described

    def _captures(self, arguments: list[str], prologue: list[str], described: list[str]) -> list[str]:
        """The lines that define small captured arrays; the others become arguments."""
        constants = []
        for var, constant in zip(self.program.captures, self.program.constants, strict=True):
            name, kind = self.variables[var], self.program.types[var]
            if not self.reading.uses.get(var):
                continue
            if constant is not None and kind.size <= SMALL:
                constants.append(_wrapped(f"{name} = {array_text(constant)}"))
                continue
            arguments.append(name)
            wide = "" if kind.dtype == np.float64 else f", np.{kind.dtype.name}"
            prologue.append(f"{name} = {self.checked}({name!r}, {name}, {kind.shape}{wide})")
            described.append(f"{name}: {kind_of(kind)}, which the function reads besides its arguments")
        return constants

    def _described_result(self, result: str) -> list[str]:
        kinds = []
        for one in self.program.outputs:
            kind = self.program.type_of(one)
            kinds.append(kind_of(kind if isinstance(kind, ArrayType) else array_type((), np.dtype(kind))))
        named = result if len(result) < 60 and all(char not in result for char in "()+-*/@") else "the result"
        return ["", f"Returns {named}: {', '.join(kinds)}."]

    def _docstring(self, lines: Sequence[str]) -> list[str]:
        first = f"Each line cites the one of {self.program.name} that it is from."
        if self.reading.sweep < len(self.program.steps):
            first = f"The derivative of {self.program.name}: each line cites the one that it is from or differentiates."
            first = first.replace(f"of {self.program.name}", "", 1) if "grad" in self.program.name else first
        wrapped = [part for line in (*self.notes, "", *lines) for part in textwrap.wrap(line, 100) or [""]]
        text = "\n".join([first.replace("  ", " ").replace(" :", ":"), *([""] if self.notes else []), *wrapped])
        return _quoted(text.rstrip() + "\n").split("\n")


def _quoted(text: str) -> str:
    """A docstring."""
    safe = text.replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{safe}"""'


def _wrapped(line: str) -> str:
    """A long list of numbers on several lines."""
    return textwrap.fill(line, 100, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _rooted(node: Any, name: str) -> Any:
    """The expression with another name for its argument."""
    if isinstance(node, ast.Name):
        return ast.Name(name, ast.Load())
    return type(node)(**{**vars(node), "value": _rooted(node.value, name)})


class _Body:
    """The statements of one program."""

    def __init__(
        self, module: _Module, program: Program, reading: Reading, names: dict[Var, str], *, sweeps: bool | None = None
    ) -> None:
        self.sweeps = sweeps
        self.module = module
        self.program = program
        self.reading = reading
        self.names = names
        self.lines: list[str] = []
        self.valid: list[str] = []
        #: How a variable is written where it is used.
        self.shown: dict[Var, ast.expr] = {}
        self.cited: Any = None
        self._guards = dict(program.guards)
        #: The number of the step that a folded expression is from.
        self._from: dict[Var, int] = {}
        self._name_first_values()
        self._name_chains()
        for var in (*program.inputs, *program.captures):
            self.shown[var] = ast.Name(names[var], ast.Load())

    def _name_chains(self) -> None:
        """One name for each array that is overwritten again and again: that of the last of its versions, mostly."""
        heads: dict[Var, list[Var]] = {}
        for number, step in enumerate(self.program.steps):
            if self._is_update(step):
                first = step.inputs[0]
                chain = heads.pop(first, [first]) if number in self.reading.overwrites else []  # type: ignore[arg-type, list-item]
                chain.append(step.outputs[0])
                heads[step.outputs[0]] = chain
        for chain in heads.values():
            given = [var for var in chain if self.reading.is_given(var)]
            best = chain[-1] if chain[-1] in given else (given or chain)[0]
            if given and self.names[best].startswith(self.names[given[0]] + "_"):
                best = given[0]
            for var in chain:
                self.names[var] = self.names[best]

    def _name_first_values(self) -> None:
        """What a loop begins with has the name that the loop gives it, where it has none of its own."""
        for step in self.program.steps:
            if not isinstance(step.rule, Loop):
                continue
            body, _, carries, _, _ = step.params
            readable = body.readable_names()
            for var, first in zip(body.inputs[1 : 1 + carries], step.inputs, strict=False):
                if isinstance(first, Literal) or is_numbered(readable[var]) or self.reading.is_given(first):
                    continue
                if len(self.reading.uses[first]) == 1:
                    self.names[first] = self.module.names.new(readable[var])

    def _is_update(self, step: Step) -> bool:
        return step.rule.update is not None

    # -- statements

    def write(self) -> None:
        """Write a statement for each step that is not folded into another."""
        for var in (*self.program.inputs, *self.program.captures):
            self._guard(var)
        for number, step in enumerate(self.program.steps):
            if isinstance(step.rule, Control):
                self._held(number, step)
            elif self._is_update(step):
                self._update(number, step)
            elif len(step.outputs) > 1:
                names = [self.names[var] for var in step.outputs]
                self.say(number, f"{', '.join(names)} = {ast.unparse(self._expression(step))}")
                for var, name in zip(step.outputs, names, strict=True):
                    self.shown[var] = ast.Name(name, ast.Load())
            elif step.outputs:
                (var,) = step.outputs
                made = self._expression(step)
                text = ast.unparse(made)
                if var in self.reading.foldable and (len(text) <= _SHORT or not self.reading.uses.get(var)):
                    self.shown[var] = made
                    self._from[var] = number
                elif self.reading.uses.get(var) or var in self._guards:
                    self._assign(number, var, text)
            for var in step.outputs:
                self._guard(var)

    def say(self, number: int | None, text: str) -> None:
        if number is not None:
            spot, comment = self.reading.cited(number)
            phase = number >= self.reading.sweep if self.sweeps is None else self.sweeps
            if phase and self.sweeps is None and not any(line.startswith("# Backwards") for line in self.lines):
                self.lines += ["", "# Backwards: from the result to the arguments."]
                self.cited = None
            if comment and (spot, phase) != self.cited:
                self.lines.append(f"# {'d of ' if phase else ''}{comment}")
            self.cited = (spot, phase)
        self.lines.append(text)

    def _assign(self, number: int, var: Var, text: str) -> None:
        self.say(number, f"{self.names[var]} = {text}")
        self.shown[var] = ast.Name(self.names[var], ast.Load())

    def _update(self, number: int, step: Step) -> None:
        (var,) = step.outputs
        first = step.inputs[0]
        target = ast.Name(self.names[var], ast.Load())
        if number not in self.reading.overwrites:
            whole = ast.unparse(self.operand(step, 0))
            copied = isinstance(first, Literal) or not self.program.types[first].ndim
            self.say(number, f"{target.id} = {f'np.array({whole})' if copied else f'{whole}.copy()'}")
        self.say(number, ast.unparse(ast.fix_missing_locations(self._expression(step, target))))
        self.shown[var] = target

    # -- steps that hold programs

    def _held(self, number: int, step: Step) -> None:
        sweeps = number >= self.reading.sweep if self.sweeps is None else self.sweeps
        if isinstance(step.rule, Loop):
            _LoopWriter(self, number, step, sweeps).write()
            return
        (program,) = step.params
        inner = _Body(self.module, program, Reading(program), self.module.names.of(program), sweeps=sweeps)
        for var, place in zip(program.inputs, range(len(step.inputs)), strict=True):
            inner.shown[var] = self.operand(step, place)
        inner.write()
        self.lines += inner.lines
        for var, one in zip(step.outputs, program.outputs, strict=True):
            self._assign(number, var, ast.unparse(inner.value(one)))

    def value(self, operand: Operand) -> ast.expr:
        """A variable as it is written, or a number that keeps its dtype."""
        if not isinstance(operand, Literal):
            return self.shown[operand]
        return typed_number(np.asarray(operand.value)[()])

    def _guard(self, var: Var) -> None:
        if var not in self._guards:
            return
        wanted = self._guards[var]
        condition = ast.unparse(self.shown[var])
        site = self.program.sites.get(var)
        if self.program.types[var].ndim:
            self.module.embedded.imports.add("import zlib")
            held = f"the elements of {condition} are what they were"
            broken = f"zlib.crc32(np.ascontiguousarray({condition})) != {wanted}"
        elif isinstance(wanted, bool | np.bool):
            held = condition if wanted else f"not ({condition})"
            broken = f"not ({condition})" if wanted else condition
        else:
            held = f"{condition} == {ast.unparse(plain_number(wanted))}"
            same = f"{condition} == {ast.unparse(plain_number(wanted))}"
            broken = f"not ({same})" if wanted == wanted else f"not np.isnan({condition})"  # noqa: PLR0124
        where = place_of(site)
        self.valid.append(held + (f" (line {where.line}: {where.text})" if where is not None and where.text else ""))
        branch = f"branch (line {where.line})" if where is not None else "branch"
        spot = self._from.get(var)
        self.say(spot, f"if {broken}:")
        self.lines.append(f"    raise ValueError({f'written for the {branch} in which {held}'!r})")

    # -- expressions

    def _expression(self, step: Step, target: ast.expr | None = None) -> Any:
        types = [self._type(one) for one in step.inputs]
        numbers = [one.value if isinstance(one, Literal) else None for one in step.inputs]
        while True:
            arguments = [self.operand(step, place) for place in range(len(step.inputs))]
            if target is not None:
                arguments[0] = target
            made = applied(step.rule, arguments, types, step.params, numbers, self.module.embedded)
            if made is None:
                raise NoRule(
                    f"{step.rule.name} has no form in plain NumPy",
                    where=excerpt(self.program.sites.get(step.outputs[0])),
                    cure="its value is a function of yours whose source can not stand by itself (a lambda, a closure, "
                    "a method): make it a plain function that uses NumPy and other plain functions only",
                )
            ast.fix_missing_locations(made)
            folded = [one for one in step.inputs if one in self._from and not isinstance(one, Literal)]
            if len(folded) < 2 or len(ast.unparse(made)) <= _LONG:
                return made
            # Too long for one line: the longest part gets a line of its own, before this one.
            longest = max(folded, key=lambda one: len(ast.unparse(self.shown[one])))
            self._assign(self._from.pop(longest), longest, ast.unparse(self.shown[longest]))

    def _type(self, operand: Operand) -> ArrayType:
        kind = self.program.type_of(operand)
        return kind if isinstance(kind, ArrayType) else array_type((), np.dtype(kind))

    def operand(self, step: Step, place: int) -> ast.expr:
        operand = step.inputs[place]
        if not isinstance(operand, Literal):
            return self.shown[operand]
        value = operand.value
        if not isinstance(value, np.generic):
            return plain_number(value)
        if value.dtype.type in (np.float64, np.int64, np.bool) and not isinstance(step.rule, Elementwise):
            return plain_number(value)
        if step.rule.update is not None:
            return plain_number(value)
        weak: Any = {"f": float, "i": int, "u": int}.get(value.dtype.kind)
        if weak is None:
            return plain_number(value) if value.dtype.kind == "b" else typed_number(value)
        kinds = [self.program.type_of(one) for one in step.inputs]
        kinds[place] = weak
        if all(isinstance(one, Literal) for one in step.inputs):
            return typed_number(value)
        try:
            same = infer(step.rule, tuple(kinds), step.params) == tuple(self.program.types[var] for var in step.outputs)
        except (TypeError, ValueError, OverflowError):
            same = False
        return plain_number(value) if same else typed_number(value)

    # -- results

    def result(self) -> str:
        """What the function returns."""
        seen: set[Var] = set(self.program.inputs) | set(self.program.captures)
        leaves = []
        for operand in self.program.outputs:
            if isinstance(operand, Literal):
                kind = self._type(operand)
                value = operand.value
                plain = isinstance(value, float) or kind.dtype == np.float64
                leaves.append(plain_number(value) if plain else typed_number(np.asarray(value)[()]))
                continue
            made: ast.expr = self.shown[operand]
            roots = self.reading.roots[operand]
            own = not roots & seen and (operand in roots or self._updated(operand))
            if operand in self.reading.foldable and len(self.program.outputs) == 1:
                own = own and not roots - {operand} & seen
            if self.program.types[operand].ndim and not own and not self._makes_new(operand):
                made = ast.Call(ast.Attribute(made, "copy", ast.Load()), [], [])
            seen |= roots
            leaves.append(made)
        tree = self.program.out_tree
        whole = _nested(tree, iter(leaves)) if tree is not None else None
        if whole is None:
            whole = leaves[0] if len(leaves) == 1 else ast.Tuple(leaves, ast.Load())
        if isinstance(whole, ast.Tuple) and len(whole.elts) > 1:
            return ", ".join(ast.unparse(ast.fix_missing_locations(one)) for one in whole.elts)
        return ast.unparse(ast.fix_missing_locations(whole))

    def _updated(self, var: Var) -> bool:
        return any(var in self.program.steps[number].outputs for number in self.reading.overwrites)

    def _makes_new(self, var: Var) -> bool:
        """Whether a folded result is the value of an operation that makes an array of its own."""
        number = self._from.get(var)
        return number is not None and not self.program.steps[number].rule.aliases


class _LoopWriter:
    """A ``for`` loop: what it begins with, its body, and what it leaves behind."""

    def __init__(self, outer: _Body, number: int, step: Step, sweeps: bool) -> None:
        body, self.trips, self.carries, self.sequences, self.reverse = step.params
        self.outer, self.number, self.step, self.body = outer, number, step, body
        self.overwritten = overwritten_carries(body, self.carries)
        self.reading = Reading(body, owned=self.overwritten)
        names = dict.fromkeys(body.inputs, "")
        readable = body.readable_names()
        self.carried = [self._carry(place, readable) for place in range(self.carries)]
        names.update(zip(body.inputs[1 : 1 + self.carries], self.carried, strict=True))
        new = outer.module.names.new
        names[body.inputs[0]] = new(readable[body.inputs[0]] if self.reading.is_given(body.inputs[0]) else "l")
        for var in body.inputs[1 + self.carries :]:
            names[var] = readable[var]
        for var, name in readable.items():
            if var not in names:
                names[var] = new(name if self.reading.is_given(var) else f"t{name[1:]}")
        self._take_names_of_carries(names)
        self.inner = _Body(outer.module, body, self.reading, names, sweeps=sweeps)
        self.names = names

    def _carry(self, place: int, readable: dict[Var, str]) -> str:
        """The name of a carry; the line before the loop that gives it its first value, if it needs one."""
        outer, step = self.outer, self.step
        var, first, result = self.body.inputs[1 + place], step.inputs[place], self.body.outputs[place]
        given = [readable[one] for one in (var, result) if not isinstance(one, Literal) and self.reading.is_given(one)]
        wish = given[0] if given else readable[var]
        if not isinstance(first, Literal):
            held = outer.shown[first]
            alone = step.inputs.count(first) == 1 and outer.reading.last_use(first) == self.number
            own = var not in self.overwritten or outer.reading.dies(first, self.number)
            plain = first not in outer.program.inputs and first not in outer.program.captures
            if alone and own and plain and isinstance(held, ast.Name):
                return held.id
        name = outer.module.names.new(wish)
        if isinstance(first, Literal):
            value = np.asarray(first.value).astype(self.body.types[var].dtype)[()]
            text = ast.unparse(typed_number(value))
        else:
            text = ast.unparse(outer.shown[first])
            if var in self.overwritten and not outer.reading.dies(first, self.number):
                text += ".copy()"
        outer.say(self.number, f"{name} = {text}")
        return name

    def _take_names_of_carries(self, names: dict[Var, str]) -> None:
        """A result that replaces a carry takes its name, where the old value is not read any more."""
        made_by = {var: number for number, step in enumerate(self.body.steps) for var in step.outputs}
        outputs = self.body.outputs[: self.carries]
        for var, result in zip(self.body.inputs[1 : 1 + self.carries], outputs, strict=True):
            if isinstance(result, Literal) or self.body.outputs.count(result) > 1 or result not in made_by:
                continue
            number = made_by[result]
            rule = self.body.steps[number].rule
            if (
                self.reading.held[var] <= number
                and rule.update is None
                and not rule.aliases
                and not isinstance(rule, Control)
                and len(self.body.steps[number].outputs) == 1
                and var not in self.body.outputs
            ):
                names[result] = names[var]

    def write(self) -> None:
        outer, inner, body, step = self.outer, self.inner, self.body, self.step
        counter = body.inputs[0]
        stacked = []
        for var, one in zip(step.outputs[self.carries :], body.outputs[self.carries :], strict=True):
            name, kind = outer.names[var], outer.program.types[var]
            wide = "" if kind.dtype == np.float64 else f", dtype=np.{kind.dtype.name}"
            outer.say(self.number, f"{name} = np.empty({kind.shape[0] if kind.ndim == 1 else kind.shape}{wide})")
            outer.shown[var] = ast.Name(name, ast.Load())
            stacked.append((name, one))
        self._inputs()
        inner.write()
        lines = list(inner.lines)
        index = self.names[counter]
        lines += [f"{name}[{index}] = {ast.unparse(inner.value(one))}" for name, one in stacked]
        lines += self._next()
        used = any(re.search(rf"\b{index}\b", line) for line in lines)
        numbers = f"reversed(range({self.trips}))" if self.reverse else f"range({self.trips})"
        outer.say(self.number, f"for {index if used else '_'} in {numbers}:")
        outer.lines += [f"    {line}" if line else "" for line in lines or ["pass"]]
        outer.cited = None
        for var, name in zip(step.outputs[: self.carries], self.carried, strict=True):
            outer.names[var] = name
            outer.shown[var] = ast.Name(name, ast.Load())

    def _inputs(self) -> None:
        """What the body's inputs are called in the body."""
        inner, body, counter = self.inner, self.body, self.body.inputs[0]
        index = ast.Name(self.names[counter], ast.Load())
        # As a number that is computed with it has a dtype; as a position it has none.
        readers = [one.rule for one in body.steps if counter in one.inputs]
        computed = any(not one.moving and one.settle is None and not isinstance(one, Control) for one in readers)
        inner.shown[counter] = index
        if computed:
            inner.shown[counter] = ast.parse(f"np.int64({index.id})", mode="eval").body
        for place, var in enumerate(body.inputs[1:]):
            if place < self.carries:
                inner.shown[var] = ast.Name(self.names[var], ast.Load())
                continue
            whole = self.outer.operand(self.step, place)
            operand = self.step.inputs[place]
            if isinstance(operand, Literal):
                whole = typed_number(np.asarray(operand.value).astype(body.types[var].dtype)[()])
            if place >= self.carries + self.sequences:
                inner.shown[var] = whole
            elif len(self.reading.uses.get(var, ())) == 1:
                inner.shown[var] = ast.Subscript(whole, index, ast.Load())
            elif self.reading.uses.get(var):
                wish = self.names[var] if self.reading.is_given(var) else f"t{self.names[var][1:]}"
                name = self.names[var] = self.outer.module.names.new(wish)
                inner.lines.append(f"{name} = {ast.unparse(whole)}[{index.id}]")
                inner.shown[var] = ast.Name(name, ast.Load())

    def _next(self) -> list[str]:
        """The line that hands the carries on to the next iteration."""
        pairs = []
        for var, name, one in zip(self.body.inputs[1:], self.carried, self.body.outputs, strict=False):
            text = ast.unparse(self._result(var, one))
            if text != name:
                pairs.append((name, text))
        if not pairs:
            return []
        return [f"{', '.join(name for name, _ in pairs)} = {', '.join(text for _, text in pairs)}"]

    def _result(self, var: Var, operand: Operand) -> ast.expr:
        if isinstance(operand, Literal):
            return typed_number(np.asarray(operand.value).astype(self.body.types[var].dtype)[()])
        return self.inner.shown[operand]


def _nested(tree: Structure, leaves: Any) -> Any:
    """The result in tuples, lists and dicts; a named tuple is a tuple, a dataclass a dict of its fields."""
    if tree.kind is None:
        return next(leaves)
    children = [_nested(child, leaves) for child in tree.children]
    if tree.kind is list:
        return ast.List(children, ast.Load())
    if tree.meta is None or issubclass(tree.kind, tuple):
        return ast.Tuple(children, ast.Load())
    keys: list[ast.expr | None] = []
    for key in tree.meta:
        try:
            keys.append(ast.parse(repr(key), mode="eval").body)
        except SyntaxError:
            keys.append(ast.Constant(str(key)))
    return ast.Dict(keys, children)
