"""A function's own source with that of all the functions it calls: what a module needs that prints it."""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

__all__ = ["Embedded", "public_name"]

#: The modules that a printed module may import, by the name under which it does.
_PUBLIC = {
    "np": ("numpy", "import numpy as np"),
    "np.linalg": ("numpy.linalg", "import numpy as np"),
    "special": ("scipy.special", "from scipy import special"),
    "linalg": ("scipy.linalg", "from scipy import linalg"),
}


def public_name(function: Any) -> tuple[str, str] | None:
    """How a function of NumPy or SciPy is called (``np.tanh``), and the import that it needs; None for any other."""
    name = getattr(function, "__name__", "")
    for alias, (module, statement) in _PUBLIC.items():
        home = sys.modules.get(module)
        if home is not None and name and getattr(home, name, None) is function:
            return f"{alias}.{name}", statement
    return None


class Embedded:
    """Collects functions, what they call and the constants they read, under names of its own."""

    def __init__(self, new_name: Callable[[str], str]) -> None:
        self._new_name = new_name
        self._names: dict[FunctionType, str] = {}
        self._texts: list[str] = []
        self._constants: dict[tuple[str, str], str] = {}
        self.imports: set[str] = set()

    def name_of(self, function: Any) -> str | None:
        """The name of the printed function; None where its source can not stand by itself."""
        if not isinstance(function, FunctionType):
            return None
        found = self._names.get(function)
        if found is not None:
            return found
        if function.__name__ == "<lambda>" or function.__closure__:
            return None
        try:
            source = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError):
            return None
        stem = function.__name__.strip("_").removesuffix("_value") or "function"
        name = self._names[function] = self._new_name(stem)
        renamed = {function.__name__: name}
        for read in sorted(_globals_of(function.__code__)):
            if read not in function.__globals__:
                if not hasattr(builtins, read):
                    self._forget(function)
                    return None
                continue
            written = self._written(read, function.__globals__[read])
            if written is None:
                self._forget(function)
                return None
            renamed[read] = written
        self._texts.append(_plain(source, renamed))
        return name

    def _forget(self, function: FunctionType) -> None:
        del self._names[function]

    def _written(self, name: str, value: Any) -> str | None:
        """How the value of a global name is written in the module, or None."""
        if isinstance(value, ModuleType):
            for alias, (module, statement) in _PUBLIC.items():
                if value.__name__ == module:
                    self.imports.add(statement)
                    return alias
            if value is math:
                self.imports.add("import math")
                return "math"
            return None
        public = public_name(value)
        if public is not None:
            self.imports.add(public[1])
            return public[0]
        if isinstance(value, FunctionType):
            return self._names.get(value) or self.name_of(value)
        if isinstance(value, bool | int | float | str | tuple):
            text = "math.inf" if value == math.inf else repr(value)
            if text == "math.inf":
                self.imports.add("import math")
            key = (name, text)
            if key not in self._constants:
                self._constants[key] = self._new_name(name.strip("_"))
            return self._constants[key]
        return "np.linalg.LinAlgError" if value is np.linalg.LinAlgError else None

    def definitions(self) -> list[str]:
        """The constants and the functions, each before it is used."""
        constants = [f"{given} = {text}" for (_, text), given in self._constants.items()]
        return [*(["\n".join(constants)] if constants else []), *self._texts]


def _globals_of(code: CodeType) -> Iterator[str]:
    """The global names that a function reads, those inside of it too."""
    import dis

    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _plain(source: str, renamed: dict[str, str]) -> str:
    """The source without annotations of its arguments, with names replaced; its comments are kept."""
    tree = ast.parse(source)
    (node,) = tree.body
    assert isinstance(node, ast.FunctionDef)
    lines = source.splitlines()
    body = node.body[0]
    for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg):
        if one is not None:
            one.annotation = None
    head = f"def {renamed[node.name]}({ast.unparse(node.args)}):"
    # A comment between the head and the first statement belongs to the body.
    start = body.lineno - 1
    while start > node.lineno and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    replace = {old: new for old, new in renamed.items() if old != new}
    kept = "\n".join(lines[start:])
    if replace:
        pattern = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, replace)) + r")\b")
        kept = pattern.sub(lambda found: replace[found[1]], kept)
    return f"{head}\n{kept}"
