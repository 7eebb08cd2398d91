"""``compile``: a function that is traced once for each kind of arguments, compiled, and run from then on.

Which kinds there are, and when a compiled form no longer holds, is told in ``docs/compile.md``.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from chainrule.arguments import name_of, parameter_names, reached_by
from chainrule.build import is_recorded
from chainrule.containers import LEAF, flatten, leaf_paths, unflatten
from chainrule.errors import ArgumentError, CompileError, TraceError
from chainrule.operators import Operator, program_of, reading
from chainrule.program import Program
from chainrule.source import excerpt
from chainrule.specialise import MISSED, REFUSED, Specialisation, contents
from chainrule.trace.standin import StandIn
from chainrule.trace.surroundings import surroundings_of
from chainrule.trace.tracer import STACK, Meetings, trace_leaves
from chainrule.trace.twins import TWINS
from chainrule.transforms.simplify import simplify

__all__ = ["Compiled", "compile"]

#: Compiled forms that are kept for one function; and re-traces after which a warning says what causes them.
MOST = 16
_ATTEMPTS = 3


class _Call:
    """The arguments of one call, taken apart into leaves and described."""

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.leaves, self.tree = flatten((args, kwargs))
        self.kinds = tuple([_kind(one) for one in self.leaves])

    @property
    def is_flat(self) -> bool:
        """Whether the leaves are the positional arguments themselves."""
        args, kwargs = self.tree.children
        return not kwargs.children and all(child is LEAF for child in args.children)

    def key(self, frozen: frozenset[int]) -> Any:
        """What a compiled form is chosen by."""
        fixed = [(place, _frozen_key(self.leaves[place])) for place in sorted(frozen)]
        return self.tree, self.kinds, tuple(fixed)

    def moving(self, frozen: frozenset[int]) -> list[int]:
        """The leaves that a compiled form takes as inputs."""
        return [place for place, kind in enumerate(self.kinds) if kind[0] != "fixed" and place not in frozen]

    def names(self) -> list[str]:
        args, kwargs = self.tree.children
        labels = parameter_names(self.function, len(args.children))
        found: list[str] = []
        for label, child in zip(labels, args.children, strict=True):
            found.extend(leaf_paths(child, label))
        for label, child in zip(kwargs.meta or (), kwargs.children, strict=True):
            found.extend(leaf_paths(child, label))
        return found

    def differentiated(self) -> set[int]:
        """The leaves that an operator differentiates by: those are NumPy numbers, never weak Python ones."""
        options = getattr(self.function, "_options", {})
        argnums = options.get("argnums")
        if argnums is None:
            return set()
        args, _ = self.tree.children
        wanted = argnums if isinstance(argnums, tuple | list) else (argnums,)
        places: set[int] = set()
        start = 0
        for number, child in enumerate(args.children):
            if number in wanted or number - len(args.children) in wanted:
                places.update(range(start, start + child.size))
            start += child.size
        return places


def _kind(leaf: Any) -> Any:
    """What a compiled form depends on, of one leaf."""
    kind = type(leaf)
    if kind is np.ndarray or kind is np.memmap:
        if leaf.dtype.kind in "fiub":
            return "array", _native(leaf.dtype), leaf.shape
        return "fixed", "array", leaf.dtype, leaf.shape, contents(leaf)
    if kind is float or (isinstance(leaf, np.floating) and kind in _BOXED):
        return "boxed", kind
    if isinstance(leaf, bool | int | float | str | bytes | complex | np.generic | None):
        return "fixed", kind, repr(leaf)
    # The object is kept alive by the compiled form: no other one gets its identity.
    return "fixed", kind, id(leaf)


_BOXED = (np.float64, np.float32)


@functools.lru_cache(maxsize=256)
def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The one dtype object of this kind in native byte order."""
    return np.dtype(dtype.newbyteorder("=").str)


def _frozen_key(leaf: Any) -> Any:
    return contents(leaf) if isinstance(leaf, np.ndarray) else repr(leaf)


class Compiled(Operator):
    """A compiled function; see ``compile``. Each one has a class of its own, whose ``__call__`` is machine code."""

    __slots__ = ()
    _held: list[tuple[Any, Specialisation]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """An object of a class of its own."""
        return object.__new__(type(cls.__name__, (cls,), {"__slots__": ()}))

    def __init__(self, function: Callable[..., Any], *, verify: bool = False) -> None:
        Operator.__init__(self, function, "compile", _run, {})
        self._verify = verify
        self._held = []
        self._frozen: dict[Any, frozenset[int]] = {}
        self._changing: Counter[Any] = Counter()
        self._causes: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result at these arguments."""
        return self._general(*args, **kwargs)

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The Program that a call with these arguments runs."""
        return program_of(self.__wrapped__, self.__wrapped__, args, kwargs)

    def __reduce__(self) -> Any:
        return _again, (self.__wrapped__, self._verify)

    @classmethod
    def recompiled(cls, function: Any, made: Operator) -> Compiled:
        """An operator of a compiled function is compiled too."""
        made.__wrapped__ = function.__wrapped__
        return compile(made, verify=function._verify)

    # -- the general path

    def _general(self, *args: Any, **kwargs: Any) -> Any:
        function = self.__wrapped__
        call = _Call(function, args, kwargs)
        if any(is_recorded(one) for one in call.leaves):
            # Within a trace: the trace takes the function's steps into its own program.
            return (TWINS.of(function) or function)(*args, **kwargs)
        if self._verify:
            return self._verified(call, args, kwargs)
        result = self._known(call)
        return self._unknown(call, args, kwargs) if result is MISSED else result

    def _known(self, call: _Call) -> Any:
        base = (call.tree, call.kinds)
        frozen = self._frozen.get(base, frozenset())
        key = call.key(frozen)
        for known, one in list(self._held):
            if known == key:
                inputs = [_plain(call.leaves[place]) for place in call.moving(frozen)]
                results = one.answer(inputs)
                if results is not MISSED and results is not REFUSED:
                    return one.whole(results)
        return MISSED

    def _unknown(self, call: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        base = (call.tree, call.kinds)
        if self._changing[base] >= _ATTEMPTS:
            return self.__wrapped__(*args, **kwargs)
        key, made, state = self._specialised(call)
        if made is None:
            self._changing[base] += 1
            self._warn(
                "state",
                f"compile({name_of(self.__wrapped__)}): {state}; such a function is run without compiling",
                "pass what changes as an argument and return what is new",
            )
            # It was traced just now, with its side effects; the result needs another run with the next ones.
            return self.__wrapped__(*args, **kwargs)
        self._add(call, key, made)
        frozen = self._frozen.get(base, frozenset())
        results = made.answer([_plain(call.leaves[place]) for place in call.moving(frozen)])
        if results is MISSED or results is REFUSED:
            # The surroundings changed between the trace and this run (another thread).
            return self.__wrapped__(*args, **kwargs)
        return made.whole(results)

    def _add(self, call: _Call, key: Any, made: Specialisation) -> None:
        with self._lock:
            if self._held:
                self._causes[self._cause(call, key)] += 1
                if self._causes.total() >= MOST:
                    listed = "; ".join(f"{cause} ({count} times)" for cause, count in self._causes.most_common(3))
                    self._warn(
                        "thrash",
                        f"compile({name_of(self.__wrapped__)}) was traced and compiled {self._causes.total() + 1} "
                        f"times, because {listed}",
                        "pass what changes as a floating-point argument or array, or compile for it on purpose",
                    )
            self._held.insert(0, (key, made))
            del self._held[MOST:]
            self._relink()

    def _relink(self) -> None:
        """Chain the functions of all forms: each asks the next one, the last one asks Python."""
        following: Callable[..., Any] = self._general
        if not self._verify:
            for _, one in reversed(self._held):
                if one.direct is not None:
                    one.ask(following)
                    following = one.direct
        kind = type(self)
        if following == self._general:
            if "__call__" in vars(kind):
                del kind.__call__
        else:
            kind.__call__ = following  # type: ignore[method-assign]

    def _warn(self, kind: str, what: str, cure: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(f"{what}.\nWhat to do: {cure}. (docs/compile.md)", RuntimeWarning, stacklevel=4)

    def _cause(self, call: _Call, key: Any) -> str:
        """Why no compiled form would do, in words."""
        same = [one for known, one in self._held if known == key]
        if same:
            for one in same:
                difference = one.difference()
                if difference:
                    return difference
            var, value = same[0].program.guards[0] if same[0].program.guards else (None, None)
            where = excerpt(same[0].program.sites.get(var)).strip() if var is not None else ""
            return f"a value that the function asks for (an if, a while, int()) is not always {value!r}: {where}"
        tree, kinds, _ = self._held[0][0]
        if tree != call.tree:
            return "the structure of the arguments differs"
        for name, before, now in zip(call.names(), kinds, call.kinds, strict=True):
            if before != now:
                return f"argument {name} is {_said(now)} and was {_said(before)}"
        return "a number that could not be traced has another value"

    # -- making a form

    def _specialised(self, call: _Call) -> tuple[Any, Specialisation | None, str]:
        base = (call.tree, call.kinds)
        frozen = self._frozen.get(base)
        if frozen is None:
            frozen = frozenset()
            fixable = self._fixable(call)
            try:
                traced = _Traced(self.__wrapped__, call, frozen)
            except Exception:
                if not fixable:
                    raise
                # Perhaps a number or an index is used in a way that can not be traced: take them as they are.
                frozen = fixable
                traced = _Traced(self.__wrapped__, call, frozen)
            else:
                weak = frozenset(place for place in fixable if call.kinds[place] == ("boxed", float))
                if weak and traced.has_small_floats:
                    # A Python float takes the dtype of what it meets; as an input it would be a float64.
                    frozen = weak
                    traced = _Traced(self.__wrapped__, call, frozen)
            self._frozen[base] = frozen
        else:
            traced = _Traced(self.__wrapped__, call, frozen)
        state = traced.state()
        key = call.key(frozen)
        if state:
            return key, None, state
        made = traced.specialisation(self._general)
        with contextlib.suppress(ImportError):
            made.link()
        return key, made, ""

    def _fixable(self, call: _Call) -> frozenset[int]:
        differentiated = call.differentiated()
        return frozenset(
            place
            for place, kind in enumerate(call.kinds)
            if place not in differentiated and (kind[0] == "boxed" or (kind[0] == "array" and kind[1].kind in "iub"))
        )

    def _verified(self, call: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Trace again, and hold what is compiled against it."""
        base = (call.tree, call.kinds)
        frozen = self._frozen.get(base, frozenset())
        key = call.key(frozen)
        kept = [one for known, one in self._held if known == key]
        inputs = [_plain(call.leaves[place]) for place in call.moving(frozen)]
        for one in kept:
            results = one.answer(inputs)
            if results is not MISSED and results is not REFUSED:
                fresh = _Traced(self.__wrapped__, call, frozen)
                state = fresh.state()
                if state:
                    raise _stale(self.__wrapped__, state)
                _compare(self.__wrapped__, one, fresh)
                return one.whole(results)
        return self._unknown(call, args, kwargs)

    # -- what was made

    def _form(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Specialisation, list[Any]]:
        """The compiled form for these arguments, made where there is none, and its inputs."""
        call = _Call(self.__wrapped__, args, kwargs)
        base = (call.tree, call.kinds)
        for _ in range(2):
            frozen = self._frozen.get(base, frozenset())
            key = call.key(frozen)
            inputs = [_plain(call.leaves[place]) for place in call.moving(frozen)]
            for known, one in list(self._held):
                if known == key and one.answer(inputs) not in (MISSED, REFUSED):
                    return one, inputs
            self._unknown(call, args, kwargs)
        raise CompileError(
            f"{name_of(self.__wrapped__)} is not compiled: it changes what it reads, or draws random numbers",
            cure="pass what changes as an argument and return what is new",
        )

    def _compiled(self, *args: Any, **kwargs: Any) -> Any:
        made = self._form(args, kwargs)[0].compiled
        if made is None:
            from chainrule.native import call

            raise CompileError(f"there is no machine code here: {call.refusal() or 'llvmlite is not installed'}")
        return made

    def llvm(self, *args: Any, **kwargs: Any) -> str:
        """The LLVM IR for these arguments, before LLVM's own passes.

        Without arguments that of the form that was made last.
        """
        text: str = (self._compiled(*args, **kwargs) if args or kwargs else self._last()).llvm()
        return text

    def assembly(self, *args: Any, **kwargs: Any) -> str:
        """The machine code for these arguments, in the processor's assembly language; without arguments as ``llvm``."""
        text: str = (self._compiled(*args, **kwargs) if args or kwargs else self._last()).assembly()
        return text

    def _last(self) -> Any:
        for _, one in self._held:
            if one.compiled is not None:
                return one.compiled
        raise CompileError(f"{name_of(self.__wrapped__)} was not compiled yet", cure="call it, or give arguments")

    def explain_cost(self, *args: Any, **kwargs: Any) -> Any:
        """A table of what a call with these arguments does, loop by loop, to be printed.

        Operations (a call of the maths library counts as 20), bytes moved, whether arithmetic or memory is what the
        loop waits for, its estimated share, and the measured time of the whole call.
        """
        from chainrule.native.costs import table_of

        made = self._compiled(*args, **kwargs)
        return table_of(made.program.name, made.code, _measured(lambda: self(*args, **kwargs)))

    def into(self, out: Any) -> Callable[..., Any]:
        """A function that writes the result into ``out`` (an array, or the container of arrays of the result).

        Each array must have the dtype and the shape of what it receives, and be writeable. It may be one of the
        arguments. The function gives back ``out``. Raises ArgumentError where ``out`` does not fit.

        >>> import numpy as np
        >>> out = np.empty(2)
        >>> compile(lambda x: x * 2.0).into(out)(np.array([1.0, 2.0])) is out
        True
        >>> out
        array([2., 4.])
        """
        targets, tree = flatten(out)
        for one in targets:
            if type(one) is not np.ndarray or not one.flags.writeable:
                raise ArgumentError("into takes arrays that can be written to", cure="out = np.empty_like(result)")

        def call(*args: Any, **kwargs: Any) -> Any:
            here = _Call(self.__wrapped__, args, kwargs)
            frozen = self._frozen.get((here.tree, here.kinds), frozenset())
            inputs = [_plain(here.leaves[place]) for place in here.moving(frozen)]
            key = here.key(frozen)
            shared = any(
                isinstance(one, np.ndarray) and np.may_share_memory(one, to) for one in inputs for to in targets
            )
            if not shared and not self._verify:
                for known, one in list(self._held):
                    write = one.writer(targets, tree) if known == key else None
                    if write is not None and write(*inputs) is not MISSED:
                        return out
            results, made = flatten(self(*args, **kwargs))
            if made != tree:
                raise ArgumentError(f"the result has the structure {made!r}, out has {tree!r}")
            for target, result in zip(targets, results, strict=True):
                shape, dtype = np.shape(result), np.asarray(result).dtype
                if target.shape != shape or target.dtype != dtype:
                    raise ArgumentError(
                        f"out is {target.dtype}{list(target.shape)}, the result is {dtype}{list(shape)}",
                        cure="give out the dtype and the shape of the result",
                    )
            for target, result in zip(targets, results, strict=True):
                target[...] = result
            return out

        return call


def _measured(call: Callable[[], Any]) -> float:
    """Seconds a call: the least of several rounds, as the other work of a machine only adds."""
    best = float("inf")
    times, ends = 1, time.perf_counter() + 0.3
    while time.perf_counter() < ends:
        start = time.perf_counter()
        for _ in range(times):
            call()
        spent = time.perf_counter() - start
        best = min(best, spent / times)
        if spent < 0.01:
            times *= 2
    return best


def _again(function: Callable[..., Any], verify: bool) -> Compiled:
    return compile(function, verify=verify)


def _run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


def _plain(leaf: Any) -> Any:
    """An array as machine code reads it: C-contiguous, aligned, in native byte order; other leaves as they are."""
    if isinstance(leaf, np.ndarray):
        flags = leaf.flags
        if type(leaf) is not np.ndarray or not (flags.c_contiguous and flags.aligned and leaf.dtype.isnative):
            return np.require(np.asarray(leaf), dtype=_native(leaf.dtype), requirements=("C", "A")).reshape(leaf.shape)
        dtype = _native(leaf.dtype)
        return leaf if leaf.dtype is dtype else leaf.view(dtype)
    return leaf


def _said(kind: Any) -> str:
    if kind[0] == "array":
        return f"{kind[1]}{list(kind[2])}"
    if kind[0] == "boxed":
        return f"a {kind[1].__name__}"
    return str(kind[-1]) if isinstance(kind[-1], str) else f"another {getattr(kind[1], '__name__', kind[1])}"


class _Traced:
    """One trace of a function with its surroundings before and after."""

    def __init__(self, function: Any, call: _Call, frozen: frozenset[int]) -> None:
        self.function = function
        self.call = call
        self.frozen = frozen
        self.places = call.moving(frozen)
        fixed = [one for place, one in enumerate(call.leaves) if call.kinds[place][0] == "fixed" or place in frozen]
        self.frozen_arrays = [one for one in fixed if isinstance(one, np.ndarray)]
        objects = [one for one in fixed if not isinstance(one, np.ndarray)]
        self.around = surroundings_of(function, *objects)
        self.digests = [contents(one) for one in (*self.around.arrays, *self.frozen_arrays)]
        before = self.around.random_state()
        self.program, self.standins = self._trace()
        self.drew = self.around.random_state() != before
        if self.around.late:
            # The function has imported a module, which it reads from now on.
            self.around = surroundings_of(function, *objects)
            self.digests = [contents(one) for one in (*self.around.arrays, *self.frozen_arrays)]

    def _trace(self) -> tuple[Program, list[Any]]:
        call, function = self.call, self.function
        held: list[Any] = []
        given = [_kept(call.leaves[place]) for place in self.places]
        names = call.names()

        def run(standins: Sequence[Any]) -> Any:
            held.extend(standins)
            leaves = list(call.leaves)
            for place, one in zip(self.places, standins, strict=True):
                leaves[place] = one
            args, kwargs = unflatten(call.tree, leaves)
            return (TWINS.of(function) or function)(*args, **kwargs)

        args, kwargs = unflatten(call.tree, call.leaves)
        before, STACK.meetings = STACK.meetings, Meetings()
        try:
            with reading():
                program, _, _ = trace_leaves(
                    run, given, [names[place] for place in self.places], name=name_of(function),
                    reached=reached_by(function, args, kwargs), constant=True,
                )  # fmt: skip
            self.meetings = STACK.meetings
        finally:
            STACK.meetings = before
        if not isinstance(function, Operator):
            for standin, place in zip(held, self.places, strict=True):
                if type(standin) is StandIn and standin._version:
                    raise TraceError(
                        f"{name_of(function)} writes into its argument {names[place]}; compiled, it would not",
                        cure="write into a copy, and return it",
                    )
        return simplify(program), held

    @property
    def has_small_floats(self) -> bool:
        return any(kind.dtype in (np.float32, np.float16) for kind in self.program.types)

    def state(self) -> str:
        """What the function changed besides its result, in words."""
        if self.drew:
            return "the function draws random numbers"
        if not self.around.complete:
            return "the function reads what can not be watched (an iterator, an object of C code, too many objects)"
        changed = self.around.changed()
        if changed is not None:
            return f"the function changes what it reads: {changed}"
        for array, digest in zip(self.around.arrays, self.digests, strict=False):
            if contents(array) != digest:
                return f"the function writes into an array of shape {array.shape} that is not its argument"
        return ""

    def originals(self) -> list[Any]:
        """The arrays that the program captures: those that the function reads, where it reads them."""
        reached = {id(one) for one in self.around.arrays}
        found = []
        for constant in self.program.constants:
            original = self.meetings.original(constant)
            base = original
            while base is not None and id(base) not in reached:
                base = base.base if isinstance(base, np.ndarray) else None
            found.append(constant if base is None else original)
        return found

    def specialisation(self, fall_back: Callable[..., Any]) -> Specialisation:
        from chainrule.native.call import Array, Boxed, Fixed

        call = self.call
        arguments: list[Any] = []
        for place, (kind, leaf) in enumerate(zip(call.kinds, call.leaves, strict=True)):
            if kind[0] == "fixed" or place in self.frozen:
                arguments.append(Fixed(leaf, isinstance(leaf, int | str | bytes | np.integer | np.bool_)))
            elif kind[0] == "array":
                arguments.append(Array(kind[1], kind[2]))
            else:
                arguments.append(Boxed(kind[1], np.dtype(kind[1])))
        return Specialisation(
            self.program,
            originals=self.originals(),
            around=self.around,
            digests=self.digests,
            only_met=set(),
            arguments=arguments,
            frozen=self.frozen_arrays,
            inputs=[_plain(call.leaves[place]) for place in self.places],
            fall_back=fall_back,
            flat=call.is_flat,
        )


_SMALL = 1 << 20


def _kept(leaf: Any) -> Any:
    """A leaf as the tracer takes it."""
    if type(leaf) is float:
        return np.float64(leaf)
    leaf = _plain(leaf) if isinstance(leaf, np.ndarray) else leaf
    return leaf.copy() if isinstance(leaf, np.ndarray) and leaf.nbytes <= _SMALL else leaf


def _stale(function: Any, what: str) -> CompileError:
    return CompileError(
        f"compile({name_of(function)}, verify=True): {what}",
        cure="pass what the function depends on as an argument, or do not compile it",
    )


def _compare(function: Any, kept: Specialisation, fresh: _Traced) -> None:
    """Raise if the program that is compiled is not the one that the function has now."""
    before, now = kept.program, fresh.program
    if before != now:
        line = next(
            (
                f"compiled {old!r}, now {new!r}"
                for old, new in zip(_lines(before), _lines(now), strict=False)
                if old != new
            ),
            f"{len(before)} steps were compiled, now it has {len(now)}",
        )
        raise _stale(function, f"the function no longer does what was compiled: {line}")
    for compiled, original in zip(kept.captured, fresh.originals(), strict=True):
        if compiled is not original and contents(np.asarray(compiled)) != contents(np.asarray(original)):
            raise _stale(function, f"an array of shape {np.shape(original)} has other contents than what was compiled")


def _lines(program: Program) -> list[str]:
    """The text of a program without the user's lines."""
    return [line.partition("  # ")[0].strip() for line in str(program).splitlines()]


def compile(f: Callable[..., Any], *, verify: bool = False) -> Compiled:
    """``f`` in machine code: traced once for each kind of arguments, and run from then on without Python.

    ``f`` is a plain function, or what an operator gives: ``compile(value_and_grad(f))``. Operators of a compiled
    function are compiled too. Floating-point numbers and arrays among the arguments (in containers too) may have other
    values in the next call; other arguments (int, str, None, objects) belong to the compiled form, and so do shapes and
    dtypes. What f reads besides its arguments is looked up again at every call; arrays among that are read where they
    are. With ``verify`` every call traces ``f`` again and raises CompileError if it is no longer what was compiled.
    Side effects (printing, appending to a list) happen when f is traced, not at each call.

    Raises what calling or differentiating f raises. Where no machine code can be made, the traced program runs through
    NumPy.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> gradient = cr.compile(cr.grad(lambda x: np.sum(x**2)))
    >>> gradient(np.array([1.0, 2.0, 3.0]))
    array([2., 4., 6.])
    """
    if not callable(f):
        raise ArgumentError(f"compile takes a function, got {f!r:.60}")
    if isinstance(f, Compiled):
        return f if f._verify == verify else Compiled(f.__wrapped__, verify=verify)
    return Compiled(f, verify=verify)
