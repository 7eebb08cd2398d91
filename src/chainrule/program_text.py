"""Program -> text -> the same Program: how a program is printed, and read back."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.errors import ProgramError
from chainrule.program import ArrayType, Literal, Operand, Program, Step, Var, array_type, literal
from chainrule.rule import rule_named
from chainrule.source import place

__all__ = ["parse", "to_text"]

_COMMENT_COLUMN = 56


def to_text(program: Program) -> str:
    """The program as text: one line a step; under a step the programs that it holds, further to the right."""
    return "\n".join(_lines(program, program.name, "", itertools.count(1)))


def _lines(program: Program, title: str, margin: str, numbers: Iterator[int]) -> list[str]:
    names = program.readable_names()

    def declared(var: Var) -> str:
        return f"{names[var]}: {program.types[var]!r}"

    def shown(operand: Operand) -> str:
        return repr(operand) if isinstance(operand, Literal) else names[operand]

    head = f"{margin}program {title}({', '.join(map(declared, program.inputs))})"
    if program.captures:
        head += f" where ({', '.join(map(declared, program.captures))})"
    lines = [head + ":"]
    before = None
    for step in program.steps:
        params = []
        held: list[str] = []
        for key, value in zip(step.rule.params, step.params, strict=True):
            if isinstance(value, Program):
                number = next(numbers)
                params.append(f"{key}=@{number}")
                held += _lines(value, f"{value.name}@{number}", f"{margin}        ", numbers)
            else:
                params.append(f"{key}={value!r}")
        inside = ", ".join(map(shown, step.inputs)) + (f"; {', '.join(params)}" if params else "")
        line = f"{margin}    {', '.join(map(declared, step.outputs))} = {step.rule.name}({inside})"
        where = place(program.sites.get(step.outputs[0])) if step.outputs else None
        if where is not None:
            comment = f"{where.short}  {where.text}" if where.text and where[:2] != before else where.short
            before = where[:2]
            line = f"{line:<{_COMMENT_COLUMN}}  # {comment}"
        lines.append(line)
        lines += held
    lines.extend(f"{margin}    guard {names[var]} == {_guard(value)}" for var, value in program.guards)
    lines.append(f"{margin}    return {', '.join(map(shown, program.outputs))}".rstrip())
    return lines


def _guard(value: Any) -> str:
    return repr(literal(value)) if isinstance(value, np.generic) else repr(value)


_HEAD = re.compile(r"program (?P<title>[^\s(]*)\((?P<inputs>.*?)\)(?: where \((?P<captures>.*)\))?:$")
_DECLARED = re.compile(r"(?P<name>\w+): (?P<dtype>[A-Za-z_]\w*)\[(?P<shape>[\d,]*)\]")
_STEP = re.compile(r"(?P<outs>.*?) = (?P<rule>[\w.]+)\((?P<inside>.*)\)$")
_SCALAR = re.compile(r"(?P<dtype>[a-z]+\d*)\((?P<value>.*)\)$")


def parse(text: str, constants: Sequence[Any] = ()) -> Program:
    """The program that ``to_text`` printed; raise ProgramError where it is not one."""
    blocks: list[list[str]] = []
    # Programs are in programs, each from its head to its return; they are numbered in the order of their heads.
    unfinished: list[int] = []
    for raw in text.splitlines():
        line = _without_comment(raw).strip()
        if not line:
            continue
        if line.startswith("program "):
            unfinished.append(len(blocks))
            blocks.append([line])
        elif not unfinished:
            raise ProgramError(f"not in a program: {line!r}")
        else:
            blocks[unfinished[-1]].append(line)
            if line == "return" or line.startswith("return "):
                unfinished.pop()
    if not blocks:
        raise ProgramError("the text holds no program")
    programs: dict[int, Program] = {}
    try:
        for number in range(len(blocks) - 1, -1, -1):
            programs[number] = _parse_block(blocks[number], programs, constants if number == 0 else ())
    except (KeyError, ValueError, IndexError, TypeError, OverflowError) as refusal:
        raise ProgramError(f"the text is not a program: {refusal}") from refusal
    return programs[0].verify()


def _without_comment(line: str) -> str:
    quoted = ""
    for position, char in enumerate(line):
        if quoted:
            quoted = "" if char == quoted else quoted
        elif char in "'\"":
            quoted = char
        elif char == "#":
            return line[:position]
    return line


def _parse_block(lines: list[str], held: dict[int, Program], constants: Sequence[Any]) -> Program:
    head = _HEAD.match(lines[0])
    if head is None:
        raise ProgramError(f"not the head of a program: {lines[0]!r}")
    types: list[ArrayType] = []
    numbers: dict[str, Var] = {}
    names: dict[Var, str] = {}

    def declare(listed: str, line: str) -> list[Var]:
        made = []
        for one in _DECLARED.finditer(listed):
            name = one["name"]
            if name in numbers:
                raise ProgramError(f"{name} is declared twice: {line!r}")
            shape = tuple(int(extent) for extent in one["shape"].split(",") if extent)
            try:
                kind = array_type(shape, np.dtype(one["dtype"]))
            except TypeError:
                raise ProgramError(f"{one['dtype']} is not a dtype: {line!r}") from None
            numbers[name] = len(types)
            names[len(types)] = name
            made.append(len(types))
            types.append(kind)
        if _DECLARED.sub("", listed).replace(",", "").strip():
            raise ProgramError(f"not a declaration: {listed!r} in {line!r}")
        return made

    def operand(word: str, line: str) -> Operand:
        if word in numbers:
            return numbers[word]
        return literal(_scalar(word, line))

    inputs = declare(head["inputs"], lines[0])
    captures = declare(head["captures"] or "", lines[0])
    steps: list[Step] = []
    guards: list[tuple[Var, Any]] = []
    outputs: list[Operand] | None = None
    for line in lines[1:]:
        if line == "return" or line.startswith("return "):
            outputs = [operand(word, line) for word in _split(line[6:].strip())]
        elif line.startswith("guard "):
            name, _, value = line[6:].partition(" == ")
            guards.append((numbers[name], _scalar(value, line)))
        else:
            found = _STEP.match(line)
            rule = None if found is None else rule_named(found["rule"])
            if found is None or rule is None:
                raise ProgramError(f"not a step of a known rule: {line!r}")
            words, _, listed = _cut(found["inside"])
            ins = tuple(operand(word, line) for word in _split(words))
            given: dict[str, Any] = {}
            for pair in _split(listed):
                key, _, value = pair.partition("=")
                given[key] = held[int(value[1:])] if value.startswith("@") else _scalar(value, line)
            if tuple(given) != rule.params:
                raise ProgramError(f"{rule.name} has parameters {rule.params}: {line!r}")
            outs = tuple(declare(found["outs"], line))
            steps.append(Step(rule, ins, tuple(given.values()), outs))
    if outputs is None:
        raise ProgramError("the program does not return")
    return Program(
        name=head["title"].partition("@")[0], types=types, inputs=inputs, captures=captures, constants=constants,
        steps=steps, outputs=outputs, guards=guards, names=names,
    )  # fmt: skip


def _split(listed: str) -> Iterator[str]:
    """Split at the commas that no bracket or quote encloses."""
    depth, quoted, word = 0, "", ""
    for char in listed:
        if quoted:
            quoted = "" if char == quoted else quoted
        elif char in "'\"":
            quoted = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            yield word.strip()
            word = ""
            continue
        word += char
    if word.strip():
        yield word.strip()


def _cut(inside: str) -> tuple[str, str, str]:
    quoted = ""
    for position, char in enumerate(inside):
        if quoted:
            quoted = "" if char == quoted else quoted
        elif char in "'\"":
            quoted = char
        elif char == ";":
            return inside[:position], ";", inside[position + 1 :]
    return inside, "", ""


def _scalar(word: str, line: str) -> Any:
    special = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}
    if word in special:
        return special[word]
    made = _SCALAR.match(word)
    if made is not None:
        try:
            return np.dtype(made["dtype"]).type(_scalar(made["value"], line))
        except TypeError:
            raise ProgramError(f"{word!r} is neither a variable nor a number: {line!r}") from None
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        raise ProgramError(f"{word!r} is neither a variable nor a number: {line!r}") from None
