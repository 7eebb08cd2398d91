"""The command ``chainrule``: grad, trace, derive, check, bench, tour. Reads the command line, calls the operators.

Exit codes: 0 fine; 2 a wrong command line; 3 a mistake in what it was pointed at (no such file or function, arrays that
do not fit, a function that raises, an error of chainrule's), said on standard error without a traceback of ours; 4 a
mistake of chainrule's own; 130 interrupted. ``check`` says 0 PASS, 1 FAIL, 2 INCONCLUSIVE, and 3 for every mistake;
``derive`` says 1 where the numbers speak against a step.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import functools
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

__all__ = ["main"]

OK, FAILED, USAGE, MISTAKE, OURS, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 4, 130, 141

_PACKAGE = Path(__file__).resolve().parent
_NAMED = re.compile(r"(?P<name>[^\W\d]\w*(?:\.\w+)*)=(?P<value>.*)", re.DOTALL)
_ARGUMENT = re.compile(r"arg_?(?P<old>\d+)|arr_(?P<new>\d+)")

_EXAMPLES = """\
examples:
  chainrule grad model.py:loss --at point.npz --value
  chainrule grad model.py:loss --at "[1.0, 2.0]" --out gradient.npz
  chainrule trace model.py:loss --at x=1.5 --at y=2.5 --grad
  chainrule derive model.py:loss --at point.npz --format html -o loss.html --open
  chainrule check model.py:loss --at point.npz
  chainrule bench model.py:loss --at point.npz
  chainrule tour --out tour

the point, --at (repeat it for several arguments):
  point.npz     arrays under the names of the parameters (or arg0, arg1, ...);
                a parameter that is a dict is spread over names: params.W1
  x.npy, 1.5, "[1.0, 2.0]", '{"W": [[1.0]], "b": 0.5}'
                the next argument, from a file or as JSON
  x=1.5, x=x.npy
                the argument of that name; whole JSON numbers become floats in
                the arguments that are differentiated
"""


class Mistake(Exception):
    """What happened, where, and what to do: printed, without a traceback, before exit 3."""

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        self.what, self.where, self.cure = what, where, cure
        super().__init__(what)

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.where, self.cure and f"What to do: {self.cure}") if part)


# --- the command line -----------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose exit code for a wrong command line can be chosen: 2 is a verdict of ``check``."""

    wrong = USAGE

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(self.wrong, f"{self.prog}: error: {message}\n{self.prog} --help says more.\n")


def _parser() -> argparse.ArgumentParser:
    from chainrule import __version__

    form = argparse.RawDescriptionHelpFormatter
    common = _Parser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the whole traceback of an error"
    )
    parser = _Parser(
        prog="chainrule", formatter_class=form, allow_abbrev=False, epilog=_EXAMPLES, parents=[common],
        description="Exact gradients for the NumPy code you already have: derived by the chain rule, and checked.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"chainrule {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)

    def command(name: str, does: str, more: str = "") -> _Parser:
        return commands.add_parser(
            name, help=does, description=f"{does[0].upper()}{does[1:]}.{more}", parents=[common], allow_abbrev=False,
            formatter_class=form, epilog=None if name == "tour" else _EXAMPLES[_EXAMPLES.index("the point") :],
        )  # fmt: skip

    grad = command("grad", "the gradient of a scalar function at a point, by backpropagation")
    _about_function(grad)
    grad.add_argument("--value", action="store_true", help="also the value of the function")
    grad.add_argument("--out", metavar="FILE", help="write the gradient to this .npz (or .npy, for a single array)")
    grad.add_argument("--json", action="store_true", help="value, gradient, shapes, dtypes, cost and program as JSON")

    trace = command("trace", "the program of a function, or of its gradient, step by step")
    _about_function(trace)
    trace.add_argument("--grad", action="store_true", help="the program of the gradient instead of the function's")
    trace.add_argument("--out", metavar="FILE", help="write the program to this text file instead of printing it")
    trace.add_argument("--json", action="store_true", help="program, inputs, results and cost as JSON")

    derive = command("derive", "the derivation of a gradient: every step written down, and verified by numbers")
    _about_function(derive)
    derive.add_argument(
        "--format", choices=("text", "latex", "html", "numpy", "c"), default="text",
        help="text, a LaTeX document, a page, or the gradient as source (default: %(default)s)",
    )  # fmt: skip
    derive.add_argument("-o", "--out", metavar="FILE", help="write it to this file instead of printing it")
    derive.add_argument("--open", action="store_true", help="show the page in the browser")
    # What the function prints must not get into a page or a source.
    derive.set_defaults(json=True)

    check = command(
        "check", "hold a gradient against finite differences, and say what would have been seen",
        " Exit code: 0 PASS, 1 FAIL (or WARN), 2 INCONCLUSIVE, 3 a mistake in the call.",
    )  # fmt: skip
    check.wrong = MISTAKE
    _about_function(check)
    check.add_argument("--grad", metavar="FILE:FUNCTION", help="the gradient to check (default: backpropagation's)")
    check.add_argument("--rtol", type=float, help="the smallest relative error of an entry that matters")
    check.add_argument("--budget", type=int, help="the most evaluations of the function")
    check.add_argument("--seed", type=int, default=0, help="of the random directions (default: %(default)s)")
    check.add_argument("--plot", metavar="FILE", help="write the picture of error against step")
    check.add_argument("--html", metavar="FILE", help="write the report as a page")
    check.add_argument("--json", action="store_true", help="the whole report as JSON")

    bench = command(
        "bench", "seconds a call of a function and of its gradient, compiled, and with JAX and PyTorch",
        " Figures are the least of many rounds, everybody in turns.",
    )  # fmt: skip
    _about_function(bench)
    bench.add_argument("--json", action="store_true", help="the figures as JSON, in seconds")

    tour = command("tour", "a guided tour on real data, with files to look at")
    tour.add_argument("--out", metavar="FOLDER", default="chainrule-tour", help="for the files (default: %(default)s)")
    return parser


def _about_function(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("function", metavar="FILE:FUNCTION", help="model.py:loss, or package.module:loss")
    parser.add_argument(
        "--at", action="append", required=True, metavar="POINT", help="the arguments: .npz, .npy, JSON, NAME=VALUE"
    )
    parser.add_argument(
        "--argnums", default="0", metavar="N[,N]", help="which arguments: positions or names (default: the first)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; a wrong command line raises ``SystemExit``."""
    parser = _parser()
    options = parser.parse_args(argv)
    debug = getattr(options, "debug", False)
    if options.command is None:
        parser.print_help()
        return USAGE
    run = {"grad": _grad, "trace": _trace, "derive": _derive, "check": _check, "bench": _bench, "tour": _tour}[
        options.command
    ]
    try:
        code = run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output had enough (head, less): nothing more to say, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        if debug:
            raise
        _complain("interrupted", "")
        return INTERRUPTED
    except SystemExit as problem:
        _complain("error", f"{options.function} called sys.exit({problem.code!r})")
        return MISTAKE
    except Exception as problem:  # noqa: BLE001 - the last resort: whatever it is becomes a message and an exit code
        if debug:
            traceback.print_exc()
            return _explain(problem)[0]
        code, head, text = _explain(problem, getattr(options, "function", "").rpartition(":")[2])
        _complain(head, text)
    return code


# --- what went wrong ------------------------------------------------------------------------------------------------


def _complain(head: str, text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble((head, "bold red"), f": {text}" if text else ""))


def _explain(problem: Exception, function: str = "") -> tuple[int, str, str]:
    """Exit code, head and text of a message: a mistake of the user's, or of ours."""
    from chainrule.errors import ChainruleError

    if isinstance(problem, Mistake | ChainruleError):
        return MISTAKE, "error", str(problem)
    frames = _frames_of_user(problem)
    if isinstance(problem, SyntaxError) or frames:
        return MISTAKE, "error", _told(problem, frames, function)
    said = traceback.format_exception_only(problem)[-1].strip()
    cure = "this is a mistake in chainrule: please report it with what --debug shows"
    return OURS, "internal error", f"{said}\nWhat to do: {cure}"


def _frames_of_user(problem: BaseException) -> list[traceback.FrameSummary]:
    """The frames of a traceback from the first of the user's code on, without ours and the import machinery's."""
    return [
        frame
        for frame in traceback.extract_tb(problem.__traceback__)
        if not frame.filename.startswith("<frozen") and _PACKAGE not in Path(frame.filename).resolve().parents
    ]


def _told(problem: BaseException, frames: list[traceback.FrameSummary], what: str = "") -> str:
    """The user's own exception with the user's own lines."""
    lines = "".join(traceback.format_list(frames)).rstrip()
    said = "".join(traceback.format_exception_only(problem)).strip()
    head = f"{what or 'the code'} raised {type(problem).__name__}"
    cure = "it is the function's own exception: mend the function, or the point that it was given"
    return "\n".join(part for part in (head, lines, said, f"What to do: {cure}") if part)


@contextlib.contextmanager
def _users_code(what: str) -> Iterator[None]:
    """Whatever the user's code raises while it is loaded becomes a Mistake that shows the user's lines."""
    try:
        yield
    except SystemExit as problem:
        raise Mistake(
            f"{what} called sys.exit({problem.code!r}) while it was loaded",
            cure='keep what only a script should do under: if __name__ == "__main__":',
        ) from problem
    except Exception as problem:
        raise Mistake(_told(problem, _frames_of_user(problem), f"{what}, while it was loaded,")) from problem


# --- the function ---------------------------------------------------------------------------------------------------


def _function(target: str) -> Callable[..., Any]:
    """The function that ``FILE:FUNCTION`` names."""
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise Mistake(
            f"{target!r} does not name a function",
            cure="write FILE:FUNCTION, for instance model.py:loss or package.module:loss",
        )
    module = _module(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise Mistake(f"{place} has no function {name!r}", cure=_nearest(module, name))
        found = getattr(found, part)
    if not callable(found):
        raise Mistake(f"{target} is a {type(found).__name__}, not a function", cure=_nearest(module, name))
    return found  # type: ignore[no-any-return]


def _nearest(module: ModuleType, name: str) -> str:
    has = [one for one, value in vars(module).items() if inspect.isroutine(value) and not one.startswith("_")]
    near = difflib.get_close_matches(name, has, n=3) or has[:8]
    return f"it has {', '.join(near)}" if near else "define it there, with def at the top level"


def _module(place: str) -> ModuleType:
    """A Python file, loaded as a script's folder would let it be, or a module by its dotted name."""
    path = Path(place)
    if path.suffix == ".py" or path.exists():
        if not path.is_file():
            beside = sorted(one.name for one in path.parent.glob("*.py")) if path.parent.is_dir() else []
            near = difflib.get_close_matches(path.name, beside, n=3)
            cure = f"did you mean {', '.join(near)}?" if near else f"the current folder is {Path.cwd()}"
            raise Mistake(f"there is no file {place}" if not path.is_dir() else f"{place} is a folder", cure=cure)
        return _file(path)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    if not all(part.isidentifier() for part in place.split(".")):
        raise Mistake(f"{place} is neither a file nor a module's name", cure=f"the current folder is {Path.cwd()}")
    with _users_code(place):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as problem:
            # The module itself, or a package on the way to it; one that is missing inside it is its own affair.
            if not problem.name or not (place == problem.name or place.startswith(problem.name + ".")):
                raise
    raise Mistake(
        f"there is no module {place}, and no such file",
        cure=f"a file needs its .py; a module is looked for in {Path.cwd()} and among what is installed",
    )


def _file(path: Path) -> ModuleType:
    path = path.resolve()
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Mistake(f"{path.name} is not a Python file", cure="give a .py file, or a dotted module name")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    with _users_code(path.name):
        spec.loader.exec_module(module)
    return module


# --- the point ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Parameters:
    """What a function can be given, by its signature."""

    function: str
    positional: list[inspect.Parameter]
    keywords: list[str]
    more_positional: bool
    more_keywords: bool

    @classmethod
    def of(cls, function: Callable[..., Any], name: str) -> _Parameters:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return cls(name, [], [], more_positional=True, more_keywords=False)
        kinds = inspect.Parameter
        return cls(
            name,
            [one for one in parameters if one.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)],
            [one.name for one in parameters if one.kind is kinds.KEYWORD_ONLY],
            any(one.kind is kinds.VAR_POSITIONAL for one in parameters),
            any(one.kind is kinds.VAR_KEYWORD for one in parameters),
        )

    def names(self) -> list[str]:
        return [one.name for one in self.positional]

    def label(self, position: int) -> str:
        names = self.names()
        return names[position] if position < len(names) else f"arg{position}"

    def __str__(self) -> str:
        shown = [*self.names(), *(["*args"] if self.more_positional else []), *self.keywords]
        return f"{self.function}({', '.join(shown + (['**kwargs'] if self.more_keywords else []))})"


@dataclasses.dataclass
class _Call:
    """A function and the arguments it is called with; ``argnums`` says by which of them it is differentiated."""

    function: Callable[..., Any]
    name: str
    parameters: _Parameters
    args: list[Any]
    kwargs: dict[str, Any]
    argnums: tuple[int, ...]

    def label(self, position: int) -> str:
        return self.parameters.label(position)


def _call(options: argparse.Namespace) -> _Call:
    function = _function(options.function)
    name = options.function.rpartition(":")[2]
    parameters = _Parameters.of(function, name)
    given: dict[int | str, Any] = {}
    for text in options.at:
        _read(text, parameters, given)
    args, kwargs = _arranged(parameters, given)
    call = _Call(function, name, parameters, args, kwargs, _argnums(options.argnums, parameters, len(args)))
    call.args = [_settled(one, floats=position in call.argnums) for position, one in enumerate(args)]
    call.kwargs = {key: _settled(one, floats=False) for key, one in kwargs.items()}
    return call


class _Json:
    """A value that came as JSON, which does not tell 1 from 1.0."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _settled(value: Any, *, floats: bool) -> Any:
    """An argument as the function gets it; ``floats`` says what a whole number of JSON's means."""
    if isinstance(value, dict):
        return {key: _settled(part, floats=floats) for key, part in value.items()}
    if isinstance(value, list):
        return [_settled(part, floats=floats) for part in value]
    if not isinstance(value, _Json):
        return value
    return _floats(value.value) if floats else value.value


def _read(text: str, parameters: _Parameters, given: dict[int | str, Any]) -> None:
    """Add what one ``--at`` says to the arguments given so far."""
    named = _NAMED.fullmatch(text)
    if named is not None and not Path(text).exists():
        key = named["name"]
        _accept(key, _value(named["value"], text), parameters, given, text)
        return
    if Path(text).suffix == ".npz":
        arrays = _load(Path(text))
        single = len(arrays) == 1 and len(parameters.positional) == 1 and not parameters.more_positional
        key = next(iter(arrays), "")
        if single and _ARGUMENT.fullmatch(key) is None and key.partition(".")[0] not in parameters.names():
            _accept_position(0, arrays[key], parameters, given, text)
            return
        for name, value in arrays.items():
            _accept(name, value, parameters, given, text)
        return
    value = _value(text, text)
    inside = value.value if isinstance(value, _Json) else None
    known = {*parameters.names(), *parameters.keywords}
    if isinstance(inside, dict) and inside and set(inside) <= known:
        for name, part in inside.items():
            _accept(name, _Json(part), parameters, given, text)
        return
    position = 0
    while position in given:
        position += 1
    _accept_position(position, value, parameters, given, text)


def _accept(name: str, value: Any, parameters: _Parameters, given: dict[int | str, Any], text: str) -> None:
    """Put a value under a parameter's name, ``argN``, or ``name.key`` for a part of a container."""
    head, _, path = name.partition(".")
    names = parameters.names()
    numbered = _ARGUMENT.fullmatch(head)
    if head in names:
        key: int | str = names.index(head)
    elif head in parameters.keywords or (parameters.more_keywords and numbered is None):
        key = head
    elif numbered is not None:
        key = int(numbered["old"] or numbered["new"] or 0)
    else:
        near = difflib.get_close_matches(head, [*names, *parameters.keywords], n=1)
        raise Mistake(
            f"--at {text} gives {name!r}, which is no parameter of {parameters}",
            cure=f"did you mean {near[0]}?" if near else "name it like a parameter, or arg0, arg1, ... by position",
        )
    if not path:
        if isinstance(key, int):
            _accept_position(key, value, parameters, given, text)
        else:
            given[key] = value
        return
    holder = given.setdefault(key, _Parts())
    if not isinstance(holder, _Parts):
        raise Mistake(f"{head} is given both whole and in parts ({name})", cure="give one of them")
    holder.put(path.split("."), value)


def _accept_position(
    position: int, value: Any, parameters: _Parameters, given: dict[int | str, Any], text: str
) -> None:
    if position >= len(parameters.positional) and not parameters.more_positional:
        raise Mistake(
            f"--at {text} would be argument {position + 1}, but {parameters} takes {len(parameters.positional)}",
            cure="leave it out, or name the parameter that it is for: --at NAME=VALUE",
        )
    if position in given:
        raise Mistake(f"{parameters.label(position)} is given twice, again by --at {text}", cure="give it once")
    given[position] = value


class _Parts(dict[str, Any]):
    """A container that comes in parts: ``params.W1``, ``layers.0.b``."""

    def put(self, path: list[str], value: Any) -> None:
        if len(path) == 1:
            self[path[0]] = value
            return
        inner = self.setdefault(path[0], _Parts())
        if not isinstance(inner, _Parts):
            raise Mistake(f"{'.'.join(path)} is given both whole and in parts", cure="give one of them")
        inner.put(path[1:], value)

    def whole(self) -> Any:
        """A dict, or a list where the keys are 0, 1, 2, ..."""
        parts = {key: value.whole() if isinstance(value, _Parts) else value for key, value in self.items()}
        if set(parts) == {str(place) for place in range(len(parts))}:
            return [parts[str(place)] for place in range(len(parts))]
        return parts


def _load(path: Path) -> dict[str, Any]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name][()] for name in found.files}
    except FileNotFoundError:
        raise Mistake(f"there is no file {path}", cure=f"the current folder is {Path.cwd()}") from None
    except Exception as problem:
        raise Mistake(
            f"{path} can not be read as a .npz: {problem}",
            cure="write it with numpy.savez(path, x=..., y=...), of arrays of numbers",
        ) from problem


def _value(text: str, whole: str) -> Any:
    """A single argument: a .npy file, or JSON."""
    import numpy as np

    if Path(text).suffix == ".npy":
        try:
            return np.load(text, allow_pickle=False)[()]
        except FileNotFoundError:
            raise Mistake(f"there is no file {text}", cure=f"the current folder is {Path.cwd()}") from None
        except Exception as problem:
            raise Mistake(f"{text} can not be read: {problem}", cure="write it with numpy.save(path, x)") from problem
    try:
        return _Json(_arrays(json.loads(text)))
    except json.JSONDecodeError as problem:
        raise Mistake(
            f"--at {whole} is neither a .npz or .npy file nor JSON: {problem.msg} at character {problem.pos + 1}",
            cure='give point.npz, x.npy, 1.5, "[1.0, 2.0]" or NAME=VALUE',
        ) from None


def _arrays(value: Any) -> Any:
    """JSON with its rectangular lists of numbers as arrays, everything else as containers."""
    import numpy as np

    if isinstance(value, dict):
        return {key: _arrays(part) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind in "biuf":
        return array
    return [_arrays(part) for part in value]


def _floats(value: Any) -> Any:
    import numpy as np

    if isinstance(value, dict):
        return {key: _floats(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_floats(part) for part in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return value.astype(float)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _arranged(parameters: _Parameters, given: dict[int | str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments; defaults fill the gaps between positional ones."""
    given = {key: value.whole() if isinstance(value, _Parts) else value for key, value in given.items()}
    count = 1 + max((key for key in given if isinstance(key, int)), default=-1)
    args, missing = [], []
    for position, parameter in enumerate(parameters.positional):
        if position in given:
            args.append(given[position])
        elif parameter.default is inspect.Parameter.empty:
            missing.append(parameter.name)
        elif position < count:
            args.append(parameter.default)
    for position in range(len(parameters.positional), count):
        if position in given:
            args.append(given[position])
        else:
            missing.append(parameters.label(position))
    if missing:
        raise Mistake(
            f"{parameters} was not given {', '.join(missing)}",
            cure=f"add it to the .npz under that name, or say --at {missing[0]}=VALUE",
        )
    return args, {key: value for key, value in given.items() if isinstance(key, str)}


def _argnums(text: str, parameters: _Parameters, count: int) -> tuple[int, ...]:
    found = []
    names = parameters.names()
    for part in filter(None, (one.strip() for one in text.split(","))):
        if part in names[:count]:
            found.append(names.index(part))
        elif re.fullmatch(r"-?\d+", part) and -count <= int(part) < count:
            found.append(int(part) % count)
        else:
            raise Mistake(
                f"--argnums {text}: {part!r} is neither a position from 0 to {count - 1} nor an argument given to "
                f"{parameters}",
                cure="name positional arguments: --argnums 0,1 or --argnums x,y",
            )
    if not found or len(set(found)) != len(found):
        raise Mistake(f"--argnums {text!r} names {'no argument' if not found else 'an argument twice'}")
    return tuple(found)


# --- the commands ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _quiet(options: argparse.Namespace) -> Iterator[None]:
    """With ``--json`` what the user's code prints goes to standard error: standard output holds the JSON alone."""
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        yield


def _grad(options: argparse.Namespace) -> int:
    from chainrule.operators import grad, trace, value_and_grad

    with _quiet(options):
        call = _call(options)
        value, gradients = value_and_grad(call.function, call.argnums)(*call.args, **call.kwargs)
    parts = {
        path: part
        for position, one in zip(call.argnums, gradients, strict=True)
        for path, part in _leaves(one, call.label(position))
    }
    if options.out:
        _save(Path(options.out), parts)
    if options.json:
        with _quiet(options):
            program = grad(call.function, call.argnums).program(*call.args, **call.kwargs)
            own = trace(call.function, *call.args, **call.kwargs)
        _print_json(
            {
                "function": options.function,
                "argnums": call.argnums,
                "value": value,
                "gradient": {call.label(place): one for place, one in zip(call.argnums, gradients, strict=True)},
                "shapes": {path: part.shape for path, part in parts.items()},
                "dtypes": {path: part.dtype.name for path, part in parts.items()},
                "cost": {"function": _cost(own), "gradient": _cost(program), "ratio": _ratio(program, own)},
                "program": str(program),
            }
        )
    else:
        _print_gradient(call.name, parts, value if options.value else None)
    return OK


def _leaves(tree: Any, root: str) -> list[tuple[str, Any]]:
    """The arrays of a container under the names that ``--at`` reads: ``params.W1``."""
    import numpy as np

    from chainrule.containers import flatten, leaf_paths

    leaves, structure = flatten(tree)
    paths = leaf_paths(structure, root)
    names = [re.sub(r"\[['\"]?(.*?)['\"]?\]", r".\1", path) for path in paths]
    return [(name, np.asarray(leaf)) for name, leaf in zip(names, leaves, strict=True)]


def _print_gradient(name: str, parts: dict[str, Any], value: Any) -> None:
    import numpy as np

    width = max(_width() - 2, 40)
    if value is not None:
        sys.stdout.write(f"{name} = {float(value)!r}\n")
    for path, part in parts.items():
        shape = ",".join(map(str, part.shape))
        head = f"d {name} / d {path}: {part.dtype.name}[{shape}] ="
        if part.ndim == 0:
            sys.stdout.write(f"{head} {part.item()!r}\n")
        else:
            text = np.array2string(part, max_line_width=width, threshold=200).replace("\n", "\n  ")
            sys.stdout.write(f"{head}\n  {text}\n")


def _width() -> int:
    from shutil import get_terminal_size

    return get_terminal_size((100, 24)).columns


def _save(path: Path, parts: dict[str, Any]) -> None:
    import numpy as np

    def write(path: Path) -> None:
        with path.open("wb") as file:
            if path.suffix == ".npy":
                np.save(file, next(iter(parts.values())))
            else:
                np.savez(file, **parts)

    if path.suffix == ".npy" and len(parts) != 1:
        raise Mistake(f"{path} can hold one array, and the gradient has {len(parts)}", cure="write a .npz")
    _write(path if path.suffix in (".npy", ".npz") else path.with_name(path.name + ".npz"), write)


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file, in a folder that is made if it has to be, and say so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except OSError as problem:
        raise Mistake(f"{path} can not be written: {problem.strerror or problem}", cure="choose another") from problem
    sys.stderr.write(f"wrote {path}\n")


def _trace(options: argparse.Namespace) -> int:
    from chainrule.operators import grad, trace

    with _quiet(options):
        call = _call(options)
        if options.grad:
            argnums = call.argnums if len(call.argnums) > 1 else call.argnums[0]
            program = grad(call.function, argnums).program(*call.args, **call.kwargs)
        else:
            program = trace(call.function, *call.args, **call.kwargs)
    cost = program.cost()
    text = (
        f"{program}\n# {len(program)} steps, {cost.flops:,.0f} floating-point operations, {cost.calls:,.0f} calls of "
        f"the maths library, {cost.bytes:,.0f} bytes\n"
    )
    if options.json:
        names = program.readable_names()
        typed = [
            {"name": names[var], "shape": program.types[var].shape, "dtype": program.types[var].dtype.name}
            for var in program.inputs
        ]
        _print_json(
            {
                "function": options.function,
                "program": str(program),
                "steps": len(program),
                "inputs": typed,
                "outputs": [repr(program.type_of(one)) for one in program.outputs],
                "cost": _cost(program),
            }
        )
    if options.out:
        _write(Path(options.out), lambda path: path.write_text(text, encoding="utf-8"))
    elif not options.json:
        sys.stdout.write(text)
    return OK


def _derive(options: argparse.Namespace) -> int:
    if options.open and options.format != "html":
        raise Mistake(f"--open shows a page, and --format is {options.format}", cure="add --format html")
    from chainrule.derive import derive

    with _quiet(options):
        call = _call(options)
        argnums = call.argnums if len(call.argnums) > 1 else call.argnums[0]
        made = derive(call.function, *call.args, argnums=argnums, **call.kwargs)
        if options.format == "text":
            plain = bool(options.out) or not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
            text = made.text(_width(), colour=not plain)
        elif options.format == "latex":
            text = made.latex(standalone=True)
        elif options.format == "html":
            text = made.html()
        else:
            text = made.numpy_source() if options.format == "numpy" else made.c_source()
    out = options.out
    if options.open and not out:
        out = str(Path(tempfile.mkdtemp(prefix="chainrule-")) / f"{call.name}.html")
    if out:
        _write(Path(out), lambda path: path.write_text(text, encoding="utf-8"))
    else:
        sys.stdout.write(text)
    if options.open:
        import webbrowser

        webbrowser.open(Path(out).resolve().as_uri())
    if made.unverified:
        sys.stderr.write(f"NOT VERIFIED: {', '.join(made.unverified)}\n")
        return FAILED
    return OK


def _check(options: argparse.Namespace) -> int:
    from chainrule.check import check

    with _quiet(options):
        call = _call(options)
        function = functools.partial(call.function, **call.kwargs) if call.kwargs else call.function
        claimed = _function(options.grad) if options.grad else None
        argnums = call.argnums if len(call.argnums) > 1 else call.argnums[0]
        report = check(
            function, *call.args, argnums=argnums, grad=claimed, rtol=options.rtol, budget=options.budget,
            seed=options.seed,
        )  # fmt: skip
    sys.stdout.write(f"{report.json() if options.json else report}\n")
    if options.plot:
        _write(Path(options.plot), report.plot)
    if options.html:
        _write(Path(options.html), report.html)
    return {"PASS": OK, "PASS*": OK, "INCONCLUSIVE": USAGE}.get(report.verdict, FAILED)


def _bench(options: argparse.Namespace) -> int:
    from chainrule.bench import bench, table

    with _quiet(options):
        call = _call(options)
        rows = bench(call.function, call.args, call.kwargs, call.argnums)
    if options.json:
        _print_json({"function": options.function, "rows": [{**row._asdict(), "ratio": row.ratio} for row in rows]})
    else:
        sys.stdout.write(f"{table(rows)}\n")
    return OK


def _tour(options: argparse.Namespace) -> int:
    # Shipped inside the package; in a checkout, beside src.
    for folder in (_PACKAGE / "examples", _PACKAGE.parents[1] / "examples"):
        if (folder / "tour.py").is_file():
            break
    else:
        raise Mistake("the tour's files are not installed", cure="install chainrule from its wheel or its repository")
    missing = [name for name in ("sklearn", "matplotlib", "plotext") if importlib.util.find_spec(name) is None]
    if missing:
        raise Mistake(
            f"the tour needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            cure='pip install "chainrule[examples]"',
        )
    try:
        Path(options.out).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Mistake(f"{options.out} can not be made: {problem.strerror}", cure="choose another --out") from problem
    _file(folder / "tour.py").main(options.out)
    return OK


# --- JSON -----------------------------------------------------------------------------------------------------------


def _cost(program: Any) -> dict[str, float]:
    cost = program.cost()
    return {"operations": cost.operations, "flops": cost.flops, "calls": cost.calls, "bytes": cost.bytes}


def _ratio(gradient: Any, own: Any) -> float | None:
    operations = own.cost().operations
    return gradient.cost().operations / operations if operations else None


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(_plain(value), indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Plain data; infinities and NaN, which JSON has not, become the strings ``inf``, ``-inf`` and ``nan``."""
    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
