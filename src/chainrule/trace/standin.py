"""The stand-in: an array of the user's code while it is traced, with NumPy's in-place semantics, views included.

A stand-in is *traced* (it names a variable of its trace) or *plain* (it holds an ordinary array that the user's code
made, e.g. ``np.zeros(3)``, and becomes traced when a traced value is written into it). A view knows its parent and the
operation that made it: reading it after a write to its base makes it anew, writing it writes through to the base.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from chainrule.build import Operators, dispatch, dispatch_ufunc, is_recorded, no_rule
from chainrule.errors import ChainruleError, NoRule, ShapeError, TraceError
from chainrule.program import ArrayType, Operand, Step, array_type, infer, literal
from chainrule.rule import FUNCTIONS, UFUNCS, Rule
from chainrule.source import excerpt
from chainrule.trace.frames import OURS, in_try, is_formatting, is_ours, user_site

__all__ = ["StandIn", "Text", "call", "is_standin", "lowered", "plain"]


class Text(str):
    """Text made from a stand-in: it may be shown, but a number that is read from it would have lost its path."""

    __slots__ = ()


class StandIn(Operators):
    """An array of the user's code while it is traced. See the module's docstring."""

    __slots__ = (
        "__weakref__",
        "_frozen",
        "_held",
        "_loose",
        "_parent",
        "_root",
        "_scalar",
        "_seen",
        "_trace",
        "_unordered",
        "_value",
        "_var",
        "_version",
        "_view",
    )

    def __init__(self, trace: Any, var: Any, value: Any = None, scalar: bool = True) -> None:
        self._trace = trace
        self._var = var
        #: The ordinary array of a plain stand-in, else None.
        self._value = value
        self._parent: StandIn | None = None
        #: Of a view: the stand-in whose memory it looks at. (None, and not itself: a cycle would live until the next
        #: collection, with all that it holds.)
        self._root: StandIn | None = None
        self._view: Any = None
        self._seen = 0
        self._version = 0
        #: A plain array that a step has captured: it must be copied before it is written.
        self._held = False
        #: Whether NumPy makes a copy or a view here depends on strides that are not tracked.
        self._loose = False
        #: Read-only, as np.diagonal's result is.
        self._frozen = False
        #: Not surely in C order: NumPy's results follow the order of their arguments.
        self._unordered = False
        #: Of the 0-d ones: a NumPy scalar (immutable) rather than a 0-d array.
        self._scalar = scalar

    # -- what it is

    @property
    def _base(self) -> StandIn:
        return self if self._root is None else self._root

    @property
    def _chainrule_level(self) -> int:
        return self._trace.level  # type: ignore[no-any-return]

    @property
    def _chainrule_type(self) -> ArrayType:
        if self._value is not None and self._base._value is not None:
            return array_type(self._value.shape, self._value.dtype)
        return self._trace.types[self._var if self._var is not None else self._read()]  # type: ignore[no-any-return]

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # isinstance(x, np.ndarray) and isinstance(x, float) are how plain code asks what it was given.
        kind = self._chainrule_type
        if kind.ndim == 0 and self._scalar:
            return kind.dtype.type
        return np.ndarray

    @property
    def is_plain(self) -> bool:
        """Holds an ordinary array, which depends on no input."""
        return self._value is not None and self._base._value is not None

    # -- reading

    def _read(self) -> Any:
        """The variable that holds the present contents; a view is made anew after a write to its base."""
        if self._parent is None or (self._seen == self._base._version and self._value is None):
            return self._var
        stale = [self]
        above = self._parent
        while above._parent is not None and (above._seen != above._base._version or above._value is not None):
            stale.append(above)
            above = above._parent
        version = self._base._version
        for view in reversed(stale):
            if view._loose:
                self._refuse_loose()
            assert view._parent is not None
            rule, params, index = view._view
            view._value = None
            view._trace = trace = self._base._trace
            whole = trace.operand(view._parent) if view._parent.is_plain else view._parent._var
            view._var = trace.add(rule, (whole, *[trace.operand(one) for one in index]), params)[0]
            view._seen = version
        return self._var

    def _array(self) -> Any:
        """The ordinary array of a plain stand-in, as it is now."""
        if self._parent is not None and self._seen != self._base._version:
            rule, params, index = self._view
            self._value = rule.value(self._parent._array(), *map(_bare, index), *params)
            self._seen = self._base._version
        return self._value

    def _refuse_loose(self) -> NoReturn:
        raise TraceError(
            "whether NumPy makes a copy or a view here depends on the memory layout, which a trace does not know, and "
            "an in-place write makes the difference visible",
            where=excerpt(user_site()),
            cure="say which you mean: reshape(...).copy(), or write to the array itself",
        )

    # -- writing

    def _write(self, new: StandIn) -> None:
        """Make ``new`` the contents, through to the base."""
        trace = new._trace
        contents = new._read()
        view: StandIn = self
        chain = []
        while view._parent is not None:
            if view._loose:
                self._refuse_loose()
            chain.append((view, contents))
            above = view._parent
            contents = _written_back(trace, above, view._view, contents)
            view = above
        base = view
        base._trace, base._var, base._value = trace, contents, None
        base._version += 1
        for one, var in chain:
            one._trace, one._var, one._value, one._seen = trace, var, None, base._version

    def _refuse_frozen(self) -> None:
        if self._frozen:
            msg = "assignment destination is read-only"
            raise ValueError(msg)

    def _settle(self) -> None:
        """Contents written by a trace that has finished (an inner derivative) become what they were computed from."""
        base = self._base
        if base._value is None and base._trace.finished:
            here = lowered(StandIn(base._trace, base._var), None)
            if type(here) is StandIn and not here.is_plain:
                base._trace, base._var = here._trace, here._read()
            else:
                base._value, base._var = np.array(_bare(here)), None
            base._version += 1

    def _become_traced(self) -> None:
        """A plain array receives a traced value: from here on it is a variable, for all its views."""
        value = self._value
        self._var = self._trace.capture_own(value if self._held else value.copy())
        self._value = None
        self._version += 1

    def _before_plain_write(self) -> None:
        base = self._base
        if base._held:
            base._value = base._value.copy()
            base._held = False
            base._version += 1

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._chainrule_type.ndim == 0 and self._scalar:
            msg = f"'{self.dtype.type.__module__}.{self.dtype.type.__name__}' object does not support item assignment"
            raise TypeError(msg)
        self._refuse_frozen()
        self._settle()
        value = lowered(value, None)
        if (
            is_standin(value)
            and value._parent is self
            and not value._loose
            and value._seen == self._base._version
            and value._view is not None
            and _is_same_place(value, key)
        ):
            return
        if self.is_plain and not _holds_traced(value) and not _holds_traced(key):
            self._before_plain_write()
            self._array()[_plain_key(key)] = _bare(value)
            return
        if self._base._value is not None:
            self._trace_for(value, key)
            self._base._become_traced()
        self._write(FUNCTIONS["setitem"](self._present(), key, value))

    def _trace_for(self, *others: Any) -> None:
        """A plain array joins the trace of the value that it receives."""
        level, trace = -1, self._trace
        for one in _recorded_in(others):
            if one._chainrule_level > level and not one._trace.finished:
                level, trace = one._chainrule_level, one._trace
        self._base._trace = self._trace = trace

    def _present(self) -> StandIn:
        """The present contents, without a link to the base."""
        return StandIn(self._trace, self._read(), scalar=False)

    def _inplace(self, ufunc: Any, other: Any) -> Any:
        if self._chainrule_type.ndim == 0 and self._scalar:
            return self._chainrule_ufunc(ufunc, (self, other))
        self._refuse_frozen()
        self._settle()
        other = lowered(other, None)
        if self.is_plain and not _holds_traced(other):
            self._before_plain_write()
            ufunc(self._array(), _bare(other), out=self._array())
            return self
        self._store(self._chainrule_ufunc(ufunc, (self, other)))
        return self

    def _store(self, new: Any) -> None:
        """Replace the whole contents, with NumPy's casting rule of ``out=``."""
        self._refuse_frozen()
        self._settle()
        kind = self._chainrule_type
        if self.is_plain and not _holds_traced(new):
            self._before_plain_write()
            np.copyto(self._array(), _bare(new), casting="same_kind")
            return
        if not np.can_cast(new.dtype, kind.dtype, casting="same_kind"):
            msg = f"Cannot cast ufunc output from {new.dtype!r} to {kind.dtype!r} with casting rule 'same_kind'"
            raise np.exceptions.ComplexWarning(msg) if new.dtype.kind == "c" else TypeError(msg)
        if np.broadcast_shapes(np.shape(new), kind.shape) != kind.shape:
            raise ShapeError(
                f"non-broadcastable output operand with shape {kind.shape} for a result of shape {np.shape(new)}"
            )
        if self._base._value is not None:
            self._trace_for(new)
            self._base._become_traced()
        if new.dtype != kind.dtype:
            new = FUNCTIONS["astype"](new, kind.dtype)
        if np.shape(new) != kind.shape:
            new = FUNCTIONS[np.broadcast_to](new, kind.shape) if is_recorded(new) else np.broadcast_to(new, kind.shape)
        if not _holds_traced(new):
            new = StandIn(self._trace, self._trace.capture_own(np.array(_bare(new))))
        self._write(new)

    # -- recording

    def _chainrule_record(self, rule: Rule, arguments: Sequence[Any], params: tuple[Any, ...]) -> Any:
        trace = self._trace
        if trace.finished or self._value is not None:
            return _record_with_plain(self, rule, arguments, params)
        # Builder.add, in line: this is where the time of a trace goes.
        types = trace.types
        operands: list[Operand] = []
        kinds: list[Any] = []
        unordered = False
        for one in arguments:
            kind = type(one)
            operand: Any
            if (
                kind is StandIn
                and one._trace is trace
                and one._value is None
                and (one._parent is None or one._seen == one._base._version)
            ):
                operand = one._var
                if one._unordered:
                    unordered = True
            elif kind is float or kind is int:
                operand = literal(one)
            else:
                operand = trace.operand(one)
                if kind is StandIn:
                    unordered = unordered or one._unordered
                elif kind is np.ndarray and one.ndim > 1 and not one.flags.c_contiguous:
                    unordered = True
            operands.append(operand)
            kinds.append(types[operand] if type(operand) is int else operand.type)
        try:
            made_kinds = infer(rule, tuple(kinds), params)
        except ChainruleError as refusal:
            refusal.where = refusal.where or excerpt(user_site())
            raise
        first = len(types)
        types.extend(made_kinds)
        outs = (first,) if len(made_kinds) == 1 else tuple(range(first, first + len(made_kinds)))
        trace.steps.append(tuple.__new__(Step, (rule, tuple(operands), params, outs)))
        frame: Any = sys._getframe(1)
        direct = True
        while frame is not None:
            code = frame.f_code
            ours = OURS.get(code)
            if ours is None:
                ours = is_ours(code)
            if not ours:
                site = (code, frame.f_lasti)
                # The steps of one NumPy function share one site object: the last of them has the user's name.
                if not direct and trace.last_site == site:
                    site = trace.last_site
                trace.last_site = site
                for var in outs:
                    trace.sites[var] = site
                break
            direct = direct and code.co_name in _THIN
            frame = frame.f_back
        if not trace.abstract and (trace.strict or (rule.raises and in_try(sys._getframe(1)))):
            trace.evaluate(outs[0], strict=trace.strict > 0)
        if len(outs) == 1:
            made = StandIn(trace, outs[0])
            if unordered or (rule.view is not None and rule.view.by_key and len(arguments) > 1):
                made._unordered = True
            if rule.view is not None:
                _link(made, rule, arguments, params)
            return made
        return tuple(StandIn(trace, var) for var in outs)

    def _chainrule_ufunc(self, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
        rule = UFUNCS.get(ufunc)
        if rule is None:
            return self.__array_ufunc__(ufunc, "__call__", *inputs)
        trace = self._trace
        for one in inputs:
            if type(one) is StandIn and one._trace is not trace:
                return dispatch_ufunc(ufunc, "__call__", inputs, {})
        return self._chainrule_record(rule, inputs, ())

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if not kwargs and method == "__call__" and ufunc in UFUNCS:
            return self._chainrule_ufunc(ufunc, inputs)
        try:
            return dispatch_ufunc(ufunc, method, inputs, kwargs)
        except NoRule as refusal:
            return _bare_call(refusal, getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return call(func, args, kwargs)

    # -- Python's questions: a value is asked for, and recorded as a guard

    def _ask(self, as_python: Callable[[Any], Any]) -> Any:
        here = lowered(self, None)
        if not is_standin(here):
            return as_python(here)
        if here.is_plain:
            return as_python(here._array())
        if here.ndim and as_python in (bool, int, float):
            here = here.reshape(())
        return here._trace.guarded(here._read(), as_python)

    def __bool__(self) -> bool:
        if self.size > 1 or self.size == 0:
            return bool(np.empty(self.shape))  # NumPy's own error
        if self.dtype.kind != "b" and not self.is_plain:
            # A guard tells what the answer was, of a value whose every change matters.
            return bool((self != 0)._ask(bool))
        return bool(self._ask(bool))

    def _ask_whole(self, rounding: Any) -> int:
        # The rounded number is guarded, not the number: as long as it stays, the program does.
        here = lowered(self, None)
        if here.dtype.kind != "f":
            return int(self._ask(int))
        if is_standin(here) and not here.is_plain:
            return int(rounding(here)._ask(int))
        return int(self._ask(lambda value: int(rounding(value))))

    def __int__(self) -> int:
        self._trace.leave("int()")
        return self._ask_whole(np.trunc)

    def __index__(self) -> int:
        if self.dtype.kind not in "iub" or self.ndim:
            msg = "only integer scalar arrays can be converted to a scalar index"
            raise TypeError(msg)
        return int(self._ask(int))

    def __float__(self) -> float:
        here = lowered(self, None)
        if not is_standin(here):
            return float(here)
        if here.is_plain or here.dtype.kind in "iub":
            return float(self._ask(float))
        if is_formatting(sys._getframe(1)):
            value = here._printable()
            return float("nan") if value is None else float(value)
        raise self._lost("float(x), or a function written in C that takes a number (such as one of math),")

    def __complex__(self) -> complex:
        return complex(float(self))

    def __round__(self, ndigits: int | None = None) -> Any:
        if ndigits is None:
            self._trace.leave("round()")
            return self._ask_whole(np.rint)
        return FUNCTIONS[np.round](self, ndigits)

    def __trunc__(self) -> int:
        return int(self)

    def __floor__(self) -> int:
        self._trace.leave("math.floor()")
        return self._ask_whole(np.floor)

    def __ceil__(self) -> int:
        self._trace.leave("math.ceil()")
        return self._ask_whole(np.ceil)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        here = lowered(self, None)
        if not is_standin(here):
            return np.array(here, dtype=dtype)
        if here.is_plain:
            # A copy: what C code would write into it must not bypass the record of writes.
            made = np.array(here._array(), dtype=dtype)
            made.flags.writeable = False
            return made
        if here.dtype.kind in "iub":
            return np.array(here._trace.guarded(here._read(), np.asarray), dtype=dtype)
        raise self._lost(
            "a function that takes the memory of an array (np.asarray, C code, an assignment into a plain array)"
        )

    def _lost(self, how: str) -> TraceError:
        error = TraceError(
            f"the dependence on the input would be lost here: {how} takes the bare value of something that is being "
            "differentiated",
            where=excerpt(user_site()),
            cure="use the NumPy function of the same name; make arrays that are written to with np.zeros, np.array or "
            "np.copy inside the function; give foreign code a rule with chainrule.primitive; or, if the "
            "path is to be dropped on purpose, chainrule.stop_gradient(x)",
        )
        self._trace.refuse(error)
        return error

    def __format__(self, spec: str) -> str:
        value = self._printable()
        return Text(value) if value is None else Text(format(value, spec))

    def __repr__(self) -> str:
        value = self._printable()
        return Text(f"<traced {self._chainrule_type!r}>" if value is None else repr(value))

    def __str__(self) -> str:
        value = self._printable()
        return Text(f"<traced {self._chainrule_type!r}>" if value is None else str(value))

    def _printable(self) -> Any:
        self._trace.leave("printing")
        here: Any = self
        while is_standin(here):
            if here.is_plain:
                return here._array()
            if here._trace.abstract:
                return None
            here = here._trace.shown(here._read())
        return here

    # -- copies, attributes

    def copy(self, order: str = "C") -> Any:
        made = FUNCTIONS["copy"](self)
        if type(made) is StandIn and order in ("C", "F"):
            made._unordered = order == "F"
        return made

    def __copy__(self) -> Any:
        return FUNCTIONS["copy"](self)

    def __deepcopy__(self, memo: Any) -> Any:
        return FUNCTIONS["copy"](self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if lowered(self, None) is not self or self.is_plain:
            return np.asarray(self).__reduce_ex__(protocol)
        raise self._lost("pickling")

    def __iter__(self) -> Iterator[Any]:
        shape = self.shape
        if not shape:
            msg = "iteration over a 0-d array"
            raise TypeError(msg)
        return (self[place] for place in range(shape[0]))

    def __contains__(self, item: Any) -> bool:
        return bool((self == item).any())

    def fill(self, value: Any) -> None:
        self[...] = value

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None) -> None:
        self._store(FUNCTIONS[np.sort](self, axis=axis, kind=kind))

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        call(np.put, (self, indices, values), {"mode": mode})

    def resize(self, *shape: Any, refcheck: bool = True) -> None:
        raise no_rule(np.ndarray.resize)

    def view(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            raise self._lost("reading the memory as another type (view)")
        return self[...]

    @property
    def flat(self) -> Any:
        return self.reshape(-1)

    @flat.setter
    def flat(self, value: Any) -> None:
        self.reshape(-1)[...] = value

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def base(self) -> Any:
        return self._parent

    @property
    def flags(self) -> Any:
        return np.empty(self.shape, self.dtype).flags

    @property
    def strides(self) -> tuple[int, ...]:
        return np.empty(self.shape, self.dtype).strides

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        return call(np.transpose, (self,), {})

    @T.setter
    def T(self, value: Any) -> None:  # noqa: N802 - NumPy's name
        self.T[...] = value

    @property
    def shape(self) -> tuple[int, ...]:
        return self._chainrule_type.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        msg = "setting .shape of an array in place is not recorded"
        raise TraceError(msg, where=excerpt(user_site()), cure="use x = x.reshape(...)")

    # float's methods, which code for scalars uses
    def is_integer(self) -> bool:
        return bool(self == self._chainrule_ufunc(np.floor, (self,)))

    def hex(self) -> str:
        raise self._lost("hex()")

    def as_integer_ratio(self) -> Any:
        raise self._lost("as_integer_ratio()")

    def tobytes(self, order: str = "C") -> bytes:
        if self.is_plain:
            made: bytes = self._array().tobytes(order)
            return made
        raise self._lost("reading the bytes of an array")

    tostring = dump = dumps = tofile = data = property(lambda self: self.tobytes())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if hasattr(np.ndarray, name):
            raise no_rule(getattr(np.ndarray, name))
        msg = f"'numpy.ndarray' object has no attribute '{name}'"
        raise AttributeError(msg)


_THIN = frozenset(
    {
        "forward",
        "reflected",
        "dispatch",
        "dispatch_ufunc",
        "__call__",
        "_chainrule_ufunc",
        "__array_ufunc__",
        "apply",
        "record",
        "call",
        "_chainrule_record",
        "__array_function__",
        "twin",
        "method",
        "<lambda>",
    }
)


def is_standin(value: Any) -> bool:
    """Whether it is a stand-in by its true type (``isinstance`` sees what ``__class__`` says)."""
    return type(value) is StandIn


def plain(trace: Any, array: np.ndarray[Any, Any]) -> StandIn:
    """A stand-in for an array that the user's code has just made."""
    made = StandIn(trace, None, array, scalar=False)
    made._unordered = not array.flags.c_contiguous
    return made


# --- levels ---------------------------------------------------------------------------------------------------------


def lowered(value: Any, trace: Any) -> Any:
    """A stand-in of a finished trace is what it was computed from: a value, or a stand-in of a trace still running."""
    while type(value) is StandIn and value._trace.finished and value._trace is not trace and not value.is_plain:
        value = value._trace.evaluate(value._read())
    return value


def _holds_traced(value: Any) -> bool:
    return any(not one.is_plain for one in _recorded_in((value,)))


def _recorded_in(values: Any) -> Iterator[Any]:
    for one in values:
        if type(one) is StandIn:
            if one._trace.finished and not one.is_plain:
                one = lowered(one, None)
                if type(one) is not StandIn:
                    continue
            yield one
        elif isinstance(one, tuple | list):
            yield from _recorded_in(one)


def _bare(value: Any) -> Any:
    """The value with plain stand-ins replaced by their arrays."""
    if type(value) is StandIn:
        value = lowered(value, None)
        return value._array() if type(value) is StandIn else value
    if type(value) is tuple or type(value) is list:
        return type(value)([_bare(one) for one in value])
    return value


_plain_key = _bare


def _record_with_plain(self: StandIn, rule: Rule, arguments: Sequence[Any], params: tuple[Any, ...]) -> Any:
    """Record where an argument is traced; compute at once where all are plain."""
    arguments = [lowered(one, None) for one in arguments]
    traced = [one for one in arguments if type(one) is StandIn and not one.is_plain]
    if traced:
        top = max(traced, key=lambda one: one._trace.level)
        top._read()
        return top._chainrule_record(rule, arguments, params)
    others = [one for one in arguments if is_recorded(one) and type(one) is not StandIn]
    if others:
        return others[0]._chainrule_record(rule, [_bare(one) for one in arguments], params)
    with np.errstate(all="ignore"):
        made = rule.value(*[_bare(one) for one in arguments], *params)
    if isinstance(made, tuple):
        return tuple(_wrapped(self._trace, one) for one in made)
    result = _wrapped(self._trace, made)
    if rule.view is not None and type(result) is StandIn:
        _link(result, rule, arguments, params)
    return result


def _wrapped(trace: Any, made: Any) -> Any:
    if isinstance(made, np.ndarray) and made.dtype.kind == "f":
        return plain(trace, made)
    return made


def _bare_call(refusal: NoRule, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """A function without a rule may still take what depends on no input."""
    if _holds_traced(list(args)) or _holds_traced(list(kwargs.values())):
        if not refusal.where:
            refusal.where = excerpt(user_site())
        for one in _recorded_in([*args, *kwargs.values()]):
            one._trace.refuse(refusal)
        raise refusal
    traces = [one._trace for one in _recorded_in([*args, *kwargs.values()])]
    made = function(*[_bare(one) for one in args], **{key: _bare(one) for key, one in kwargs.items()})
    return _wrapped(traces[0], made) if traces else made


_MAKE_ARRAYS = frozenset({np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.full_like, np.copy})


def call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function on stand-ins; an error of ours shows the user's line."""
    try:
        made = dispatch(function, args, kwargs)
    except NoRule as refusal:
        return _bare_call(refusal, function, args, kwargs)
    except TraceError as refusal:
        if not refusal.where:
            refusal.where = excerpt(user_site())
        for one in _recorded_in([*args, *kwargs.values()]):
            one._trace.refuse(refusal)
        raise
    if function in _MAKE_ARRAYS and type(made) is StandIn and made._scalar and made.ndim == 0:
        # np.asarray of a scalar is an array of no dimension, which can be written to.
        made = _copy(made)
        made._scalar = False
    if type(made) is np.ndarray and made.dtype.kind == "f":
        # Such as zeros_like: a new array, which may be written to.
        return plain(next(iter(_recorded_in([*args, *kwargs.values()])))._trace, made)
    return made


# --- views ----------------------------------------------------------------------------------------------------------


def _link(made: StandIn, rule: Rule, arguments: Sequence[Any], params: tuple[Any, ...]) -> None:
    """Make the result a view of the first argument, where NumPy's is."""
    first, *index = arguments
    if type(first) is not StandIn or first._trace is not made._trace:
        return
    if index and any(np.ndim(one) for one in index):
        return  # an array of indices makes a copy; a single one, however it was computed, makes a view
    if first._chainrule_type.ndim == 0 and first._scalar:
        return
    assert rule.view is not None
    kind = rule.view.kind(first._chainrule_type, made._chainrule_type, params, lambda: _layout(first))
    if kind == "copy":
        made._unordered = rule.view.disorders is not None and rule.view.disorders(params)
        return
    made._scalar = False
    made._parent = first
    made._root = first._base
    made._view = (rule, params, tuple([one._present() if type(one) is StandIn else one for one in index]))
    made._seen = first._base._version
    made._loose = first._loose or kind == "either"
    made._unordered = first._unordered or rule.view.reorders


def _layout(view: StandIn) -> Any:
    """An array with the strides that NumPy's has here, and no memory (never read it); None where they are unknown."""
    chain = []
    while view._parent is not None:
        if view._loose:
            return None
        chain.append(view)
        view = view._parent
    made: Any
    if view.is_plain:
        made = view._array()
    elif view._unordered:
        return None
    else:
        shape = view._chainrule_type.shape
        strides = [1] * len(shape)
        for axis in reversed(range(len(shape) - 1)):
            strides[axis] = strides[axis + 1] * shape[axis + 1]
        made = np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), shape, strides)
    for one in reversed(chain):
        rule, params, index = one._view
        # Of an index that is computed, any will do: it moves the start, not the strides.
        made = rule.view.apply(made, [0 for _ in index], params)
    return made


def _is_same_place(value: StandIn, key: Any) -> bool:
    """Whether ``value`` is ``self[key]`` itself, as in ``x[1:] += y`` (Python assigns the view back)."""
    if not value._view[0].view.by_key:
        return False
    from chainrule.rules.gather import encode

    whole = key if isinstance(key, tuple) else (key,)
    if any(not (one is None or one is Ellipsis or type(one) in (int, slice)) for one in whole):
        return False
    parts = [one for one in whole if isinstance(one, slice)]
    if any(type(part) not in (int, type(None)) for one in parts for part in (one.start, one.stop, one.step)):
        return False
    template, _ = encode(whole)
    return bool(template == value._view[1][0] or _filled(template, value) == _filled(value._view[1][0], value))


def _filled(template: Any, value: StandIn) -> Any:
    template = tuple(template)
    while template and template[-1] in (":", "..."):
        template = template[:-1]
    return template


def _written_back(trace: Any, whole: StandIn, view: Any, contents: Any) -> Any:
    """The variable of the whole after the view's new contents were put into it."""
    rule, params, index = view
    if rule.view.write_back is None:
        msg = "assignment destination is read-only"
        raise ValueError(msg)
    present = StandIn(trace, trace.operand(whole), scalar=False)
    return rule.view.write_back(present, StandIn(trace, contents, scalar=False), params, *index)._read()


# --- what rules ask of the tracer -----------------------------------------------------------------------------------


def _store(target: Any, new: Any) -> Any:
    if isinstance(target, tuple) and len(target) == 1:
        target = target[0]
    if type(target) is StandIn:
        target._store(new)
        return target
    if not is_recorded(new):
        np.copyto(target, new, casting="same_kind")
        return target
    raise TraceError(
        "a value that is being differentiated is written into an array that was made outside of the trace (out=, +=, "
        "np.add.at)",
        where=excerpt(user_site()),
        cure="make that array inside the function with np.zeros, np.array or np.copy, or write x = x + y",
    )


def _concrete(value: Any) -> Any:
    if type(value) is StandIn:
        return value._ask(np.asarray)
    if is_recorded(value):
        raise TraceError(
            "a shape depends on values that are not known while a rule or a batched function is recorded",
            cure="use numpy.where instead of boolean indexing, or call the function for one point at a time",
        )
    return value


def _copy(value: Any) -> Any:
    if type(value) is StandIn:
        if value.is_plain:
            return plain(value._trace, value._array().copy("K"))
        made = StandIn(value._trace, value._read(), scalar=value._scalar)
        made._unordered = value._unordered
        return made
    return value if is_recorded(value) else np.copy(value)


def _augmented(ufunc: Any) -> Callable[[Any, Any], Any]:
    def inplace(self: StandIn, other: Any) -> Any:
        return self._inplace(ufunc, other)

    return inplace


for _name, _ufunc in {
    "__iadd__": np.add, "__isub__": np.subtract, "__imul__": np.multiply, "__itruediv__": np.divide,
    "__ifloordiv__": np.floor_divide, "__imod__": np.remainder, "__ipow__": np.power, "__iand__": np.bitwise_and,
    "__ior__": np.bitwise_or, "__ixor__": np.bitwise_xor, "__imatmul__": np.matmul,
}.items():  # fmt: skip
    setattr(StandIn, _name, _augmented(_ufunc))

FUNCTIONS["store"] = _store
FUNCTIONS["concrete"] = _concrete
FUNCTIONS["copy"] = _copy
