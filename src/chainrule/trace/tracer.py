"""``trace``: run the user's function on stand-ins, once, and keep what it did as a Program."""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from chainrule.build import Builder, is_recorded
from chainrule.containers import flatten
from chainrule.errors import ArgumentError, ChainruleError, NotDifferentiable, TraceError
from chainrule.program import Literal, Operand, Program, Var, array_type, literal
from chainrule.rule import FUNCTIONS, Rule
from chainrule.source import Site, excerpt, line_text
from chainrule.trace.frames import is_ours, user_site
from chainrule.trace.standin import StandIn, lowered

__all__ = ["STACK", "Meetings", "Trace", "active", "execute", "paused", "trace_leaves"]

#: Arrays up to this size are copied when they are captured; of larger ones a checksum is kept.
_COPIED_BYTES = 1 << 20


class Meetings:
    """The ordinary arrays that met traced values: those that were copied, with their copies, and where they met."""

    def __init__(self) -> None:
        self.copied: dict[int, tuple[Any, Any]] = {}
        self.sites: list[tuple[Any, Site | None]] = []

    def note(self, array: Any) -> None:
        """An array is met at the user's present line."""
        self.sites.append((array, user_site()))

    def original(self, array: Any) -> Any:
        """The array that this captured one is a copy of."""
        found = self.copied.get(id(array))
        while found is not None:
            array = found[1]
            found = self.copied.get(id(array))
        return array


class _Stack(threading.local):
    """The traces that run in this thread, the outermost first."""

    def __init__(self) -> None:
        self.traces: list[Trace | None] = []
        #: Where somebody wants to know them.
        self.meetings: Meetings | None = None


STACK = _Stack()


def active() -> Trace | None:
    """The innermost trace that is running in this thread."""
    traces = STACK.traces
    return traces[-1] if traces else None


@contextmanager
def paused() -> Iterator[None]:
    """Within the block this thread is not tracing: foreign code that runs on ordinary arrays gets no twins' results."""
    STACK.traces.append(None)
    try:
        yield
    finally:
        STACK.traces.pop()


class Trace(Builder):
    """A Builder whose values are the stand-ins of one run of the user's function."""

    def __init__(self, name: str, *, abstract: bool = False) -> None:
        super().__init__(name)
        self.level = len(STACK.traces) + 1
        #: No concrete values are known (the function is being batched).
        self.abstract = abstract
        self.finished = False
        self.guards: list[tuple[Var, Any]] = []
        self.last_site: Site | None = None
        self.left: tuple[str, Site | None] | None = None
        #: An error of ours that the user's code may have caught: plain NumPy would not have raised it.
        self.refused: ChainruleError | None = None
        #: Above zero where the user's code asks NumPy to raise floating-point errors: steps are then done at once.
        self.strict = 0
        self._values: dict[Var, Any] = {}
        self._snapshots: dict[int, tuple[Any, Any, Var]] = {}
        self._large: list[tuple[Any, int, Site | None]] = []

    # -- entering and leaving

    def __enter__(self) -> Self:
        STACK.traces.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self.finished = True
        STACK.traces.remove(self)

    def leave(self, how: str) -> None:
        """Note that a value was taken out of the trace in a way that has no derivative."""
        if self.left is None and not self.finished:
            self.left = (how, user_site())

    def compared(self) -> tuple[str, Site | None] | None:
        """The first guard on a value that was computed from an input, as ``left`` describes such things."""
        for var, _ in self.guards:
            step = self.step_of(var) if var not in self.inputs else None
            if step is not None and any(type(one) is int and self.types[one].dtype.kind == "f" for one in step.inputs):
                return "a comparison", self.sites.get(var)
        return None

    def refuse(self, error: ChainruleError) -> None:
        """Note an error that only a traced value raises; going on after it was caught would be another function."""
        if self.refused is None and not self.finished:
            self.refused = error

    # -- operands

    def input_standin(self, value: Any, name: str, scalar: bool) -> StandIn:
        kind = value._chainrule_type if is_recorded(value) else array_type(np.shape(value), value.dtype)
        var = self.new(kind)
        self.inputs.append(var)
        self.names[var] = name
        if not self.abstract:
            self._values[var] = value
        made = StandIn(self, var, scalar=scalar)
        made._unordered = bool(
            value._unordered
            if type(value) is StandIn
            else isinstance(value, np.ndarray) and not value.flags.c_contiguous
        )
        return made

    def operand(self, value: Any) -> Operand:
        kind = type(value)
        if kind is StandIn:
            return self._standin(value)
        if kind is float or kind is int or isinstance(value, bool | int | float | np.generic):
            if isinstance(value, np.generic) and value.dtype.kind not in "fiub":
                raise _unsupported(value.dtype)
            return literal(value)
        if isinstance(value, np.ndarray):
            return self._plain_array(value)
        if isinstance(value, list | tuple):
            return self.operand(FUNCTIONS[np.array](value) if _has_recorded(value) else np.asarray(value))
        if isinstance(value, complex):
            raise _unsupported("complex")
        if is_recorded(value):
            return self._foreign(value)
        raise TraceError(
            f"a {type(value).__module__}.{type(value).__qualname__} meets a value that is being differentiated",
            where=excerpt(user_site()),
            cure="convert it to a NumPy array or a number first",
        )

    def _standin(self, value: StandIn) -> Operand:
        value = lowered(value, self)
        if type(value) is not StandIn:
            return self.operand(value)
        if value.is_plain:
            base = value._base
            array = value._array()
            base._held = True
            return literal(array[()]) if array.ndim == 0 else self.capture_own(array)
        if value._trace is self:
            var: Operand = value._read()
            return var
        if value._trace.level > self.level and not value._trace.finished:
            raise TraceError(
                "a value of an inner derivative is used by an outer one before the inner one is finished",
                where=excerpt(user_site()),
                cure="return it from the inner function (see has_aux) instead of storing it elsewhere",
            )
        return self._foreign(value)

    def _foreign(self, value: Any) -> Var:
        """A variable of an outer trace, captured with its present contents."""
        outer = value._read() if type(value) is StandIn else value.var
        owner = value._trace if type(value) is StandIn else value.builder
        key = hash(("outer", id(owner), outer))
        found = self._snapshots.get(key)
        if found is not None and found[1] == (id(owner), outer):
            return found[2]
        frozen = StandIn(owner, outer) if type(value) is StandIn else value
        var = self._capture(frozen, value._chainrule_type)
        self._snapshots[key] = (frozen, (id(owner), outer), var)
        return var

    def _capture(self, value: Any, kind: Any) -> Var:
        var = self.new(kind)
        self.captures.append(var)
        self.constants.append(value)
        self._values[var] = value
        return var

    def capture_own(self, array: Any) -> Var:
        """An array that nobody will write to any more."""
        found = self._snapshots.get(id(array))
        if found is not None and found[0] is array:
            return found[2]
        var = self._capture(array, array_type(array.shape, array.dtype))
        self._snapshots[id(array)] = (array, None, var)
        return var

    def _plain_array(self, array: Any) -> Operand:
        """An ordinary array that the function reads; it may be written to later, so its present contents are kept."""
        _check_array(array)
        if array.ndim == 0:
            return literal(array[()])
        meetings = STACK.meetings
        if meetings is not None:
            meetings.note(array)
        found = self._snapshots.get(id(array))
        if found is not None and found[0] is array and _is_unchanged(array, found[1]):
            return found[2]
        if array.nbytes <= _COPIED_BYTES or not array.flags.c_contiguous:
            kept = array.copy()
            if meetings is not None:
                meetings.copied[id(kept)] = (kept, array)
            var = self._capture(kept, array_type(array.shape, array.dtype))
            self._snapshots[id(array)] = (array, kept, var)
            return var
        mark = zlib.crc32(array)
        var = self._capture(array, array_type(array.shape, array.dtype))
        self._snapshots[id(array)] = (array, mark, var)
        if array.flags.writeable:
            self._large.append((array, mark, user_site()))
        return var

    def check_captures(self) -> None:
        """Refuse if a large array was overwritten after it was used: its earlier contents are lost."""
        for array, mark, site in self._large:
            if zlib.crc32(array) != mark:
                raise TraceError(
                    f"an array of shape {array.shape} was used here and overwritten later in the same call",
                    where=excerpt(site),
                    cure="make work arrays in the function with np.zeros, np.empty or np.copy: their writes are seen",
                )

    # -- values

    def guarded(self, var: Var, as_python: Callable[[Any], Any]) -> Any:
        """The value that the user's code asks for; what it was is kept as a guard."""
        here = self.evaluate(var)
        value = as_python(here)
        kept = value
        if isinstance(value, np.ndarray):
            kept = zlib.crc32(np.ascontiguousarray(value).data) if value.ndim else value.item()
        self.guards.append((var, kept))
        return value

    def shown(self, var: Var) -> Any:
        """The value of a variable that is to be printed."""
        value = self.evaluate(var)
        if STACK.meetings is not None and not is_recorded(value):
            # A program that is to run again prints what it did as long as what it printed stays.
            self.guarded(var, np.asarray if np.ndim(value) else lambda one: one.item())
        return value

    def evaluate(self, var: Var, *, strict: bool = False) -> Any:
        """The value of a variable: an array, or a stand-in of an outer trace.

        ``strict`` leaves NumPy's error state as the user's code has set it.
        """
        values = self._values
        if var in values:
            return values[var]
        if self.abstract and self._depends_on_unknown(var):
            raise TraceError(
                "a batched function (vmap) asks for a value, but it runs once for the whole batch",
                where=excerpt(user_site()),
                cure="use numpy.where instead of if, or call the function for one point at a time",
            )
        needed = [var]
        order: list[Any] = []
        seen: set[Var] = set()
        while needed:
            one = needed.pop()
            if one in values or one in seen:
                continue
            seen.add(one)
            step = self.step_of(one)
            order.append(step)
            needed.extend(operand for operand in step.inputs if type(operand) is int)
        order.sort(key=lambda step: step.outputs[0])
        with contextlib.nullcontext() if strict else np.errstate(all="ignore"):
            for step in order:
                if step.outputs[0] in values:
                    continue
                inputs = [one.value if isinstance(one, Literal) else values[one] for one in step.inputs]
                made = _apply(step.rule, inputs, step.params)
                results = (made,) if len(step.outputs) == 1 else made
                for out, result in zip(step.outputs, results, strict=True):
                    values[out] = result
                    self._hand_on_site(out, result)
        return values[var]

    def _hand_on_site(self, var: Var, value: Any) -> None:
        """Where an outer trace does the step now, it is still from the line that this one met it on."""
        site = self.sites.get(var)
        if type(value) is StandIn and not value.is_plain and site is not None:
            value._trace.sites[value._read()] = site

    def _depends_on_unknown(self, var: Var) -> bool:
        needed, seen = [var], set()
        while needed:
            one = needed.pop()
            if one in seen or one in self._values:
                continue
            seen.add(one)
            if one in self.inputs:
                return True
            needed.extend(operand for operand in self.step_of(one).inputs if type(operand) is int)
        return False

    def step_of(self, var: Var) -> Any:
        """The step that made a variable."""
        place = bisect_right(self.steps, var, key=lambda step: step.outputs[0]) - 1
        return self.steps[place]

    def value(self, operand: Operand) -> Any:
        return operand.value if isinstance(operand, Literal) else StandIn(self, operand)


def _apply(rule: Rule, inputs: list[Any], params: tuple[Any, ...]) -> Any:
    for one in inputs:
        if is_recorded(one):
            return one._chainrule_record(rule, inputs, params)
    return rule.value(*inputs, *params)


def _has_recorded(values: Any) -> bool:
    return any(is_recorded(one) or (isinstance(one, list | tuple) and _has_recorded(one)) for one in values)


def _is_unchanged(array: Any, kept: Any) -> bool:
    if kept is None:
        return True
    if isinstance(kept, int):
        return bool(array.flags.c_contiguous and zlib.crc32(array) == kept)
    if array.shape != kept.shape:
        return False
    if array.flags.c_contiguous and kept.flags.c_contiguous and array.size:
        # Bytes, not numbers: NaN is to equal itself, and comparing memory takes no copy.
        return bool(memoryview(array).cast("B") == memoryview(kept).cast("B"))
    return bool(array.tobytes() == kept.tobytes())


def _unsupported(dtype: Any) -> TraceError:
    return TraceError(
        f"an array of dtype {dtype} meets a value that is being differentiated",
        where=excerpt(user_site()),
        cure="complex, object and string arrays have no derivative here: convert to real numbers first",
    )


def _check_array(array: Any) -> None:
    if type(array) is np.ndarray and array.dtype.kind in "fiub":
        return
    # Looking np.ma up would import it.
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())
    if isinstance(array, (np.matrix, masked) if masked else np.matrix):
        raise TraceError(
            f"a {type(array).__name__} meets a value that is being differentiated; its operators mean something else",
            where=excerpt(user_site()),
            cure="pass an ordinary array: np.asarray(matrix), or masked.filled(value) with np.where",
        )
    if array.dtype.kind not in "fiub":
        raise _unsupported(array.dtype)


# --- running programs on whatever there is --------------------------------------------------------------------------


def execute(program: Program, inputs: Sequence[Any], constants: Sequence[Any] | None = None) -> list[Any]:
    """Run a program on arrays, or write its steps into the trace whose stand-ins are among the inputs."""
    # What a transform captured besides the arrays of the traced function comes after them, and stays with the program.
    constants = program.constants if constants is None else [*constants, *program.constants[len(constants) :]]
    top = None
    values = [lowered(one, None) if type(one) is StandIn else one for one in (*inputs, *constants)]
    for one in values:
        traced = is_recorded(one) and not (type(one) is StandIn and one.is_plain)
        if traced and (top is None or one._chainrule_level > top._chainrule_level):
            top = one
    if top is None:
        values = [one._array() if type(one) is StandIn else one for one in values]
        return program.run(values[: len(inputs)], values[len(inputs) :])
    if type(top) is StandIn:
        owner: Any = top._trace
    else:
        owner = top.builder
    env: dict[Var, Operand] = {}
    for var, value in zip((*program.inputs, *program.captures), values, strict=True):
        env[var] = owner.operand(value)
    before = owner.last_site if isinstance(owner, Trace) else None
    owner.replay_steps(program, program.steps, env)
    if isinstance(owner, Trace):
        owner.last_site = before
    results: list[Any] = []
    for one in program.outputs:
        operand = one if isinstance(one, Literal) else env[one]
        results.append(owner.value(operand))
    return results


# --- tracing --------------------------------------------------------------------------------------------------------


def trace_leaves(
    function: Callable[[list[Any]], Any],
    leaves: Sequence[Any],
    names: Sequence[str],
    *,
    name: str,
    reached: Any,
    abstract: bool = False,
    constant: bool = False,
) -> tuple[Program, Trace, Any]:
    """Trace ``function(stand-ins)`` at the given leaves (arrays, or stand-ins of an outer trace).

    With ``constant`` a result that is a plain number is constant under the guards, not a derivative that was lost.

    Gives the program, its trace, and what the function returned (with stand-ins).
    """
    from chainrule.trace.reach import twins_in

    trace = Trace(name, abstract=abstract)
    standins = [
        trace.input_standin(leaf, label, scalar=not isinstance(leaf, np.ndarray))
        for leaf, label in zip(leaves, names, strict=True)
    ]
    with twins_in(reached), trace:
        try:
            result = function(standins)
        except Exception as refusal:
            ours = _wrapped_refusal(refusal)
            if ours is not None:
                raise ours from None
            if trace.refused is not None and not isinstance(refusal, ChainruleError):
                # C code has put an exception of its own in the place of ours.
                raise trace.refused from refusal
            if not isinstance(refusal, ChainruleError) and "StandIn" in str(refusal):
                # C code names the type that it does not know.
                raise TraceError(
                    f"code in C was handed a value that is being differentiated and refused it: {refusal}",
                    where=excerpt(_raised_at(refusal)),
                    cure="give that code a rule with chainrule.primitive, or write it with NumPy functions",
                ) from refusal
            if not isinstance(refusal, ChainruleError) and _is_of_foreign_code(refusal):
                refusal.add_note(
                    f"(chainrule was tracing {name}: if this comes from code in C that was handed a traced value, give "
                    "that code a rule with chainrule.primitive; see docs/errors.md#traceerror)"
                )
            raise
        if trace.refused is not None:
            trace.refused.cure += (
                f" ({name} caught this error and went on, which it would not have done with plain arrays)"
            )
            raise trace.refused
        flat, out_tree = flatten(result)
        outputs = [_output(trace, one, constant) for one in flat]
        trace.check_captures()
    program = Program(
        name=name, types=trace.types, inputs=trace.inputs, captures=trace.captures, constants=trace.constants,
        steps=trace.steps, outputs=outputs, guards=trace.guards, sites=trace.sites, names=trace.names,
        out_tree=out_tree,
    )  # fmt: skip
    return program, trace, result


def _wrapped_refusal(refusal: Exception) -> ChainruleError | None:
    """An error of ours that NumPy has wrapped into one of its own (an assignment into a plain array)."""
    cause = refusal.__cause__
    while cause is not None and not isinstance(cause, ChainruleError):
        cause = cause.__cause__
    return cause if cause is not None and not isinstance(refusal, ChainruleError) else None


def _raised_at(refusal: Exception) -> Site | None:
    """The innermost line outside of chainrule and NumPy that the exception came through."""
    found: Site | None = None
    traceback = refusal.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not is_ours(code) and line_text(code.co_filename, traceback.tb_lineno):
            # (Frames of compiled code have a name and no text.)
            found = (code, traceback.tb_lasti)
        traceback = traceback.tb_next
    return found


def _is_of_foreign_code(refusal: Exception) -> bool:
    """Whether it looks like what a C extension says of an object that it does not know."""
    return type(refusal) is TypeError or type(refusal).__module__ in ("ctypes", "_ctypes")


def _output(trace: Trace, value: Any, constant: bool) -> Any:
    if value is None:
        raise ArgumentError(
            f"{trace.name} returned None, or a container with None in it",
            cure="return the numbers or arrays that are to be differentiated (is a return statement missing?)",
        )
    if is_recorded(value):
        return trace.operand(value)
    if isinstance(value, bool | int | float | np.generic | np.ndarray):
        array = np.asarray(value)
        if array.dtype.kind in "fiub":
            left = trace.left or trace.compared()
            if left is not None and array.dtype.kind == "f" and not constant:
                how, site = left
                raise NotDifferentiable(
                    f"{trace.name} returned a plain number although its input was looked at by {how}: "
                    "if the result depends on it, its derivative is lost",
                    where=excerpt(site),
                    cure="compute with the value itself; if the result really is constant, use chainrule.stop_gradient",
                )
            return trace.operand(array[()] if array.ndim == 0 else array)
    if inspect.isgenerator(value) or hasattr(value, "__next__"):
        kind = "a generator"
    else:
        kind = f"a {type(value).__module__}.{type(value).__qualname__}"
    raise ArgumentError(
        f"{trace.name} returned {kind}, which is neither a number, an array, nor a container of them",
        cure="return floats, arrays, or tuples, lists, dicts, namedtuples or dataclasses of them",
    )
