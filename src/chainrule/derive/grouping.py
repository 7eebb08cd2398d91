"""Steps of a program -> what a reader sees as one step: a call of a NumPy function, a linear layer.

Steps that one call in the user's source made (``np.mean`` is a sum and a division) belong together, and so does a
product of arrays with the offset that is added to it on the same line.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType

from chainrule.program import Literal, Program, Step, Var
from chainrule.rule import Elementwise, Index
from chainrule.source import Site, place

__all__ = ["Group", "called", "groups_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """Positions of steps, in order; ``words`` says what the whole is called, or is empty for a single step."""

    steps: tuple[int, ...]
    words: str = ""


def groups_of(program: Program, positions: Sequence[int]) -> list[Group]:
    """The steps at these positions, in order, put together where a reader sees one."""
    readers: dict[Var, list[int]] = {}
    for position, step in enumerate(program.steps):
        for one in step.inputs:
            if not isinstance(one, Literal):
                readers.setdefault(one, []).append(position)
    results = {one for one in program.outputs if not isinstance(one, Literal)}
    made: list[Group] = []
    start = 0
    while start < len(positions):
        stop = _same_call(program, positions, start)
        while stop - start > 1 and not _one_result(program, positions[start:stop], readers, results):
            stop -= 1
        if stop - start > 1:
            site = program.sites[program.steps[positions[start]].outputs[0]]
            made.append(Group(tuple(positions[start:stop]), called(site) or "several steps of one call"))
        else:
            made.append(Group((positions[start],)))
        start = max(stop, start + 1)
    return _layers(program, made, readers, results)


def _site(program: Program, step: Step) -> Site | None:
    return program.sites.get(step.outputs[0]) if step.outputs else None


def _same_call(program: Program, positions: Sequence[int], start: int) -> int:
    site = _site(program, program.steps[positions[start]])
    stop = start + 1
    if site is None:
        return stop
    while stop < len(positions) and _site(program, program.steps[positions[stop]]) is site:
        stop += 1
    return stop


def _one_result(program: Program, positions: Sequence[int], readers: dict[Var, list[int]], results: set[Var]) -> bool:
    """Whether nothing but the last step's one result is used by others."""
    inside = set(positions)
    last = program.steps[positions[-1]]
    if len(last.outputs) != 1:
        return False
    for position in positions[:-1]:
        for var in program.steps[position].outputs:
            if var in results or any(reader not in inside for reader in readers.get(var, ())):
                return False
    return True


def _layers(program: Program, groups: list[Group], readers: dict[Var, list[int]], results: set[Var]) -> list[Group]:
    """Join a product of arrays with the offset that is added to it."""
    made: list[Group] = []
    for group in groups:
        before = made[-1] if made else None
        if before is not None and len(group.steps) == 1 and _is_layer(program, before, group, readers, results):
            made[-1] = Group((*before.steps, *group.steps), "linear layer")
        else:
            made.append(group)
    return made


def _is_layer(program: Program, before: Group, group: Group, readers: dict[Var, list[int]], results: set[Var]) -> bool:
    product, offset = program.steps[before.steps[-1]], program.steps[group.steps[0]]
    if len(before.steps) > 1 or not isinstance(product.rule, Index) or not isinstance(offset.rule, Elementwise):
        return False
    if sum(not isinstance(one, Literal) and program.types[one].ndim > 0 for one in product.inputs) < 2:
        return False
    if offset.rule.nin != 2 or offset.rule.partials != (1, 1):
        return False
    (made,) = product.outputs
    other = [one for one in offset.inputs if one != made]
    if made not in offset.inputs or len(other) != 1 or made in results or len(readers.get(made, ())) != 1:
        return False
    if not isinstance(other[0], Literal) and other[0] not in (*program.inputs, *program.captures):
        return False
    mine, its = place(_site(program, product)), place(_site(program, offset))
    return mine is not None and its is not None and mine[:2] == its[:2]


@functools.lru_cache(maxsize=512)
def called(site: Site) -> str:
    """What is called at a site, as the source says (``np.mean``, ``x.mean``); empty where there is no source."""
    code, offset = site
    segment = _segment(code, offset)
    try:
        tree = ast.parse(segment.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    if isinstance(tree, ast.Call):
        name = ast.unparse(tree.func)
        return name if len(name) <= 40 else ""
    return ""


def _segment(code: CodeType, offset: int) -> str:
    """The piece of source that an instruction came from, where it is on one line."""
    for number, (line, end, first, last) in enumerate(code.co_positions()):
        if 2 * number == offset:
            if line is None or first is None or last is None:
                return ""
            if end != line:
                text = "".join(linecache.getline(code.co_filename, one) for one in range(line, (end or line) + 1))
                lines = text.encode().splitlines()
                if not lines:
                    return ""
                lines[-1] = lines[-1][:last]
                return b"\n".join([lines[0][first:], *lines[1:]]).decode(errors="replace")
            return linecache.getline(code.co_filename, line).encode()[first:last].decode(errors="replace")
    return ""
