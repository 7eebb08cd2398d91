"""A run of a function of PyTorch tensors -> its tape: every call of PyTorch, and every ``autograd.Function``, a step.

The calls are seen by a ``TorchFunctionMode``; the forward passes of ``autograd.Function`` classes, which it does not
see, by a wrapper that stands in their place while the program runs. A step is run alone on detached copies of what it
was given, so its backward pass is that of PyTorch, or of the class, and nobody else's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import linecache
import os.path
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.containers import flatten, unflatten
from chainrule.provider import Tape, TapeStep, Untraceable

__all__ = ["torch_tape"]

#: ``run(recorder, leaves)``: the output of f at these leaves (None: at the point), and the tensors that f got for them
Run = Callable[[Any, Sequence[Any] | None], tuple[Any, list[Any]]]
_HOOKS = {"register_hook": "a hook may change a gradient"}
_LEAVES = ("item", "tolist", "numpy", "__float__", "__int__", "__array__")


@dataclasses.dataclass
class _Call:
    """One call as it was recorded; numbers stand for the tensors."""

    name: str
    function: Callable[..., Any]
    args: Any
    kwargs: Any
    inputs: list[int]
    outputs: list[int]
    before: dict[int, Any]  # the tensors that it was given, as they were
    tracked: list[bool]  # of the inputs: floating point, and made from x
    made: list[Any]  # the output tensors themselves
    place: str = ""
    text: str = ""
    rule: str = ""
    random: Any = None
    cut: bool = False  # no gradient passes, as the graph of the run shows


def torch_tape(torch: Any, run: Run, module: Any = None, *, frozen: bool = False) -> Tape:
    """The tape of a function, given as ``run``, which tells the recorder its roots and runs under ``watching()``.

    Raises Untraceable where a program can not be taken to pieces: values written through a second view of the same
    memory, derivatives taken inside of it, tensors of a transform.
    """
    first = _Recorder(torch, module, frozen=frozen, located=True)
    out, used = run(first, None)
    results = first.results(out)
    first.close()
    roots = [first.numbers[id(one)] for one in used]
    names = dict(zip(roots, first.root_names, strict=True))

    def replay(leaves: Sequence[Any]) -> Mapping[int, Any] | None:
        again = _Recorder(torch, module, frozen=frozen, located=False)
        made, _ = run(again, leaves)
        if [(one.name, one.outputs) for one in again.calls] != [(one.name, one.outputs) for one in first.calls]:
            return None
        again.results(made)
        return again.values

    steps = [_step(torch, call, names, frozen=frozen) for call in first.calls]
    remarks = [f"{name} ({place})" for name, place in dict.fromkeys(first.left)]
    return Tape(steps, roots, results, replay, remarks)


class _Recorder:
    """Numbers tensors by identity and keeps what every call was given and what it made."""

    def __init__(self, torch: Any, module: Any, *, frozen: bool, located: bool) -> None:
        self.torch, self.frozen, self.located = torch, frozen, located
        self.calls: list[_Call] = []
        self.values: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}
        self.depends: set[int] = set()
        self.alive: list[Any] = []
        self.stale: dict[int, str] = {}
        self.left: list[tuple[str, str]] = []
        self.root_names: list[str] = []
        self.aliases: dict[Any, int] = {}
        self.depth = 0
        self.modules = {id(one): name for name, one in module.named_modules()} if module is not None else {}
        outer = self

        class Mode(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
            def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
                if outer.depth:
                    return func(*args, **(kwargs or {}))
                return outer.called(func, _name_of(func), args, kwargs or {})

        self.mode = Mode()

    # -- what is seen

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Stands in for ``Function.apply``, and for forward passes of classes whose ``apply`` may be held already."""
        base = self.torch.autograd.Function
        apply = vars(base)["apply"]
        patched: list[tuple[Any, Any]] = []
        try:
            for kind in _subclasses(base):
                if "forward" in vars(kind) and not kind.__module__.startswith("torch."):
                    patched.append((kind, vars(kind)["forward"]))
                    kind.forward = staticmethod(self.standing(kind, kind.forward))
            base.apply = classmethod(self.applying(apply.__func__))
            with self.mode:
                yield
        finally:
            base.apply = apply
            for kind, own in patched:
                kind.forward = own

    def applying(self, apply: Any) -> Any:
        """``Function.apply``, recorded as one step."""
        mine = threading.get_ident()

        def recorded(owner: Any, *args: Any, **kwargs: Any) -> Any:
            if self.depth or threading.get_ident() != mine:
                return apply(owner, *args, **kwargs)
            return self.called(functools.partial(apply, owner), owner.__name__, args, kwargs, owner)

        return recorded

    def standing(self, owner: Any, forward: Any) -> Any:
        """The forward pass of a class, recorded as one step where ``apply`` itself could not be."""
        separate = owner.setup_context is not self.torch.autograd.Function.setup_context
        mine = threading.get_ident()

        @functools.wraps(forward)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if self.depth or threading.get_ident() != mine:
                return forward(*args, **kwargs)
            given = args if separate else args[1:]
            return self.called(lambda *_a, **_k: forward(*args, **kwargs), owner.__name__, given, kwargs, owner)

        return recorded

    def root(self, tensor: Any, name: str) -> None:
        """A tensor that the gradient is asked for."""
        number = self.constant(tensor)
        self.depends.add(number)
        self.root_names.append(name)

    def results(self, out: Any) -> list[int]:
        """The numbers of the leaves of the output."""
        return [self.number_of(one) if self.torch.is_tensor(one) else self.constant(one) for one in flatten(out)[0]]

    def constant(self, value: Any) -> int:
        """A number for what no call has made."""
        number = len(self.values)
        self.values[number] = _array(self.torch, value)
        if self.torch.is_tensor(value):
            self.numbers[id(value)] = number
            self.alive.append(value)
        return number

    def number_of(self, tensor: Any) -> int:
        found = self.numbers.get(id(tensor))
        if found is None:
            # A class that returns its input: what the program gets is another tensor on the same memory.
            alias = self.aliases.pop(_memory(tensor), None) if tensor.grad_fn is not None else None
            if alias is None:
                return self.constant(tensor)
            self.numbers[id(tensor)] = alias
            self.alive.append(tensor)
            return alias
        if id(tensor) in self.stale:
            raise Untraceable(
                f"a tensor is used after its memory was written through another view ({self.stale[id(tensor)]})"
            )
        return found

    def called(self, function: Any, name: str, args: Any, kwargs: Any, owner: Any = None) -> Any:
        """Runs one call and records it; what happens inside of it is no step of its own."""
        self.depth += 1
        try:
            return self._called(function, name, args, kwargs, owner)
        finally:
            self.depth -= 1

    def _called(self, function: Any, name: str, args: Any, kwargs: Any, owner: Any) -> Any:
        torch = self.torch
        leaves, structure = flatten((args, kwargs))
        tensors = [one for one in leaves if torch.is_tensor(one)]
        if not tensors:
            return function(*args, **kwargs)
        if any(torch._C._functorch.is_functorch_wrapped_tensor(one) for one in tensors):  # noqa: SLF001
            raise Untraceable("it uses the transforms of torch.func inside")
        inputs = [self.number_of(one) for one in tensors]
        depends = any(number in self.depends for number in inputs)
        versions = [_version(one) for one in tensors]
        before = {number: one.detach().clone() for number, one in zip(inputs, tensors, strict=True)}
        rng = torch.get_rng_state() if self.frozen else None
        out = function(*args, **kwargs)
        if depends and name in (*_LEAVES, *_HOOKS):
            self.left.append(
                (_HOOKS.get(name, f".{name}() takes a value that depends on x out of the graph"), self.here()[0])
            )
        if depends and str(getattr(function, "__module__", "")) == "torch.autograd":
            raise Untraceable("it takes a derivative inside")
        made = _outputs(torch, out, tensors, versions)
        same = [one for one in flatten(out)[0] if any(one is other for other in tensors)] if owner is not None else []
        if not made and not same:
            return out
        place = self.here() if self.located else ("", "")
        self.overwritten([one for one in made if any(one is other for other in tensors)], place[0])
        position = {id(one): number for one, number in zip(tensors, inputs, strict=True)}
        outputs = []
        for one in made:
            self.stale.pop(id(one), None)
            outputs.append(self.constant(one))
            if depends and _is_float(one):
                self.depends.add(outputs[-1])
        for one in same:
            outputs.append(len(self.values))
            self.values[outputs[-1]] = _array(torch, one)
            self.aliases[_memory(one)] = outputs[-1]
            self.depends.update(outputs[-1:] if depends else [])
        kept = [_Place(position[id(one)]) if torch.is_tensor(one) else one for one in leaves]
        spread_args, spread_kwargs = unflatten(structure, kept)
        distinct = list(dict.fromkeys(inputs))
        tracked = [n in self.depends and _is_float(before[n]) for n in distinct]
        self.calls.append(
            _Call(
                name, _applied(owner) if owner is not None else function, spread_args, spread_kwargs,
                distinct, outputs, before, tracked, [] if same else made, *place,
                _written_at(owner) if owner is not None and self.located else "", rng,
            )
        )  # fmt: skip
        return out

    def overwritten(self, written: list[Any], place: str) -> None:
        """Other tensors on the same memory no longer hold what was recorded."""
        for one in written:
            memory = one.untyped_storage().data_ptr()
            for other in self.alive:
                if other is not one and other.untyped_storage().data_ptr() == memory:
                    self.stale[id(other)] = place

    def close(self) -> None:
        """What is only known once the graph is complete: whether an ``autograd.Function`` was cut off."""
        in_graph = {self.numbers[id(one)] for one in self.alive if one.requires_grad}
        for call in self.calls:
            given = any(number in in_graph for number in call.inputs)
            call.cut = bool(call.made) and given and not any(one.requires_grad for one in call.made)

    def here(self) -> tuple[str, str]:
        """The user's line that is running: the innermost one outside of PyTorch and of this package."""
        frame: Any = inspect.currentframe()
        module = ""
        while frame is not None:
            file = frame.f_code.co_filename
            if self.modules and not module:
                module = self.modules.get(id(frame.f_locals.get("self")), "")
            outside = not file.startswith((_folder(self.torch), _HERE)) and not file.startswith("<")
            if outside and file not in {contextlib.__file__, functools.__file__}:
                break
            frame = frame.f_back
        if frame is None:
            return (f"module {module}" if module else ""), ""
        at = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        return (f"{at}, module {module}" if module else at), linecache.getline(
            frame.f_code.co_filename, frame.f_lineno
        ).strip()


_HERE = os.path.dirname(__file__)


class _Place:
    """Stands for a tensor in the arguments of a recorded call."""

    def __init__(self, number: int) -> None:
        self.number = number


@functools.cache
def _folder(torch: Any) -> str:
    return os.path.dirname(str(torch.__file__))


def _applied(owner: Any) -> Any:
    def apply(*args: Any, **kwargs: Any) -> Any:
        # Looked up when it is called: what stands there while a program is recorded is gone by then.
        return owner.apply(*args, **kwargs)

    return apply


def _memory(tensor: Any) -> Any:
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())


def _outputs(torch: Any, out: Any, given: Sequence[Any], versions: Sequence[int]) -> list[Any]:
    """The tensors that a call has made or written to, each once."""
    old = {id(one): one for one in given}
    made = [one for one in flatten(out)[0] if torch.is_tensor(one) and id(one) not in old]
    written = [one for one, version in zip(given, versions, strict=True) if _version(one) != version]
    return list({id(one): one for one in [*made, *written]}.values())


def _version(tensor: Any) -> int:
    return 0 if tensor.is_inference() else int(tensor._version)  # noqa: SLF001 - PyTorch's own count of writes


def _is_float(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _subclasses(kind: Any) -> list[Any]:
    found = []
    for one in kind.__subclasses__():
        found += [one, *_subclasses(one)]
    return list(dict.fromkeys(found))


def _name_of(function: Any) -> str:
    name = str(getattr(function, "__name__", type(function).__name__))
    if name in ("__get__", "__set__"):
        name = str(getattr(getattr(function, "__self__", None), "__name__", name))
    return name


def _written_at(owner: Any) -> str:
    code = getattr(inspect.unwrap(owner.backward), "__code__", None)
    return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code is not None else ""


# --- values and steps -----------------------------------------------------------------------------------------------


def _array(torch: Any, value: Any) -> Any:
    """A copy in NumPy; complex numbers as pairs of real ones, because adjoints are of real numbers."""
    if not torch.is_tensor(value):
        return np.asarray(value)
    value = value.detach()
    if value.layout != torch.strided:
        raise Untraceable("it holds sparse tensors")
    if value.dtype == torch.bfloat16:
        value = value.float()
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    return value.resolve_neg().cpu().numpy().copy()


def _tensor(torch: Any, array: Any, like: Any) -> Any:
    made = torch.from_numpy(np.ascontiguousarray(array).reshape(np.shape(array))).to(like.device)
    if like.is_complex():
        made = torch.view_as_complex(made.contiguous())
    return made.to(like.dtype) if like.dtype == torch.bfloat16 else made


def _step(torch: Any, call: _Call, names: Mapping[int, str], *, frozen: bool) -> TapeStep:
    def run(values: Sequence[Any], *, graph: bool) -> tuple[list[Any], list[Any]]:
        given: dict[int, Any] = {}
        sources: list[Any] = []
        for number, value, tracked in zip(call.inputs, values, call.tracked, strict=True):
            like = call.before[number]
            tensor = _tensor(torch, value, like).clone() if tracked else like.clone()
            sources.append(tensor.requires_grad_() if graph and tracked else tensor)
            # A copy of it, so that a call that writes to its argument may do so.
            given[number] = tensor.clone() if graph and tracked else tensor
        leaves, structure = flatten((call.args, call.kwargs))
        args, kwargs = unflatten(structure, [given[one.number] if isinstance(one, _Place) else one for one in leaves])
        keep = torch.random.fork_rng(devices=[]) if frozen else contextlib.nullcontext()
        with keep, torch.enable_grad() if graph else torch.no_grad():
            if frozen:
                torch.set_rng_state(call.random)
            versions = [_version(one) for one in given.values()]
            out = call.function(*args, **kwargs)
        made = _outputs(torch, out, list(given.values()), versions)
        if not made:
            made = [one for one in flatten(out)[0] if torch.is_tensor(one)]
        if len(made) != len(call.outputs):
            raise Untraceable(f"`{call.name}` returns another number of tensors when it is run alone")
        return sources, made

    def forward(*values: Any) -> list[Any]:
        return [_array(torch, one) for one in run(values, graph=False)[1]]

    def vjp(*values: Any) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
        sources, made = run(values, graph=True)
        reached = [k for k, one in enumerate(made) if one.requires_grad] if not call.cut else []
        wanted = [k for k, one in enumerate(sources) if one.requires_grad]

        def pullback(adjoints: Sequence[Any]) -> list[Any]:
            parts: list[Any] = [None] * len(call.inputs)
            if not reached or not wanted:
                return parts
            gradients = torch.autograd.grad(
                [made[k] for k in reached], [sources[k] for k in wanted],
                [_tensor(torch, np.asarray(adjoints[k]), made[k]).to(made[k].dtype) for k in reached],
                retain_graph=True, allow_unused=True,
            )  # fmt: skip
            for k, gradient in zip(wanted, gradients, strict=True):
                parts[k] = None if gradient is None else _array(torch, gradient)
            return parts

        return [_array(torch, one) for one in made], pullback

    labels = tuple(names.get(number, "") for number in call.inputs)
    return TapeStep(
        call.name, tuple(call.inputs), tuple(call.outputs), forward, vjp, labels, call.place, call.text, call.rule
    )
