"""Functions of other frameworks, scipy objectives, linear operators -> a claim on NumPy arrays, or its verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.check.claim import ClaimProblem, argument_names
from chainrule.check.report import Report
from chainrule.check.tape_jax import jax_tape
from chainrule.check.tape_torch import torch_tape
from chainrule.containers import Structure, flatten, leaf_paths, map_leaves, unflatten
from chainrule.errors import ArgumentError
from chainrule.numerical.point import FloatArray
from chainrule.provider import Provider, Tape, Taped

__all__ = ["BACKENDS", "Adapted", "adapt", "check_operator", "gradient_in", "is_operator", "of_objective"]

BACKENDS = ("torch", "jax", "autograd")


@dataclasses.dataclass
class Adapted:
    """A function of another framework as one of NumPy arrays, with the pullback that the framework claims for it."""

    f: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: int | tuple[int, ...]
    provider: Provider
    taped: Taped | None = None  # how the steps of f are had
    missing: str = ""  # why no gradient at all arrives, seen when the pullback was made
    eps: float = 0.0  # the coarsest type that a backward pass was seen to return
    notes: list[str] = dataclasses.field(default_factory=list)

    def tell(self, report: Report) -> None:
        """Adds what was seen on the way; a missing path is the reason of a failure, not a note beside it."""
        report.notes += [note for note in self.notes if note not in report.notes]
        if self.missing and report.verdict == "FAIL":
            report.sentence = f"{self.missing}; {report.sentence}"

    def note(self, sentence: str) -> None:
        """Remembers a sentence once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


def adapt(
    backend: str, f: Any, args: tuple[Any, ...], argnums: int | Sequence[int], rng_seed: int | None = None
) -> Adapted:
    """F and its arguments in NumPy, and the gradient that ``backend`` makes of it.

    Raises ``ArgumentError`` where the backend is not known or not installed, or f is nothing that it can call.
    """
    if backend not in BACKENDS:
        raise ArgumentError(f"backend={backend!r}", cure=f"backend is one of {', '.join(map(repr, BACKENDS))}")
    numbers = argnums if isinstance(argnums, int) else tuple(argnums)
    for number in (numbers,) if isinstance(numbers, int) else numbers:
        if not -len(args) <= number < len(args):
            raise ArgumentError(f"argnums={argnums!r}, but f was given {len(args)} arguments", cure="count from 0")
    if backend == "torch":
        return _Torch(f, args, numbers, rng_seed).adapted
    return (_Jax if backend == "jax" else _Autograd)(f, args, numbers).adapted


def gradient_in(backend: str, f: Any, argnum: int) -> Callable[..., Any]:
    """The gradient of a scalar f as a function of the same framework, which can be differentiated again."""
    if backend == "torch":
        return _torch_gradient(f, argnum)
    framework = _framework(backend)
    derived: Callable[..., Any] = framework.grad(f, argnum)
    return derived


def _framework(name: str) -> Any:
    """A framework that the user has; the judge itself depends on none of them."""
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise ArgumentError(
            f"{name} can not be imported: {problem}", cure=f"install {name.partition('.')[0]}"
        ) from problem


def _numbers(argnums: int | tuple[int, ...], total: int) -> list[int]:
    return [n % total for n in ((argnums,) if isinstance(argnums, int) else argnums)]


def _described(
    wrapper: Callable[..., Any], original: Any, described: Any, skip: int = 0, more: str = "", number: int = 0
) -> None:
    """Gives a wrapper the name and the argument names of the function that it stands for."""
    wrapper.__name__ = str(getattr(original, "__name__", type(original).__name__))
    try:
        parameters = list(inspect.signature(described).parameters.values())[skip:]
    except (TypeError, ValueError):
        return
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if more:
        # It stands after the arguments that were given; those that have defaults and were not given have no place.
        plain = plain[:number]
        plain += [inspect.Parameter(f"arg{k}", inspect.Parameter.POSITIONAL_ONLY) for k in range(len(plain), number)]
        plain.append(inspect.Parameter(more, inspect.Parameter.POSITIONAL_ONLY))
    plain = [p.replace(kind=inspect.Parameter.POSITIONAL_ONLY, default=inspect.Parameter.empty) for p in plain]
    wrapper.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]


def _is_subclass(kind: Any, base: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _width(tree: Any) -> list[int]:
    return [np.asarray(leaf).dtype.itemsize for leaf in flatten(tree)[0]]


class _Widening:
    """Widens the arguments that are held fixed when the judge lifts the others to float64: one function, one type."""

    def __init__(self, args: tuple[Any, ...], argnums: int | tuple[int, ...]) -> None:
        self.selected = _numbers(argnums, len(args))
        self.given = [_width(args[n]) for n in self.selected]

    def lifted(self, args: tuple[Any, ...]) -> bool:
        """Whether these arguments are wider than those that the user gave."""
        return any(
            now > before
            for n, widths in zip(self.selected, self.given, strict=True)
            for now, before in zip(_width(args[n]), widths, strict=True)
        )

    def __call__(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """All arguments, in one precision."""
        if not self.lifted(args):
            return args
        return tuple(a if n in self.selected else map_leaves(_wide, a) for n, a in enumerate(args))


def _wide(leaf: Any) -> Any:
    narrow = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" and leaf.dtype.itemsize < 8
    return leaf.astype(np.float64) if narrow else leaf


def _arranged(args: tuple[Any, ...], argnums: int | tuple[int, ...], parts: Sequence[Any]) -> Any:
    """Gradients of the leaves of the selected arguments, in the containers of those arguments."""
    rest = iter(parts)
    trees = [map_leaves(lambda _: next(rest), args[n]) for n in _numbers(argnums, len(args))]
    return trees[0] if isinstance(argnums, int) else tuple(trees)


# ---------------------------------------------------------------------------------------------------------- PyTorch


class _Torch:
    """A callable on tensors: a plain function, an ``nn.Module`` (its parameters are checked too), a ``Function``."""

    def __init__(self, f: Any, args: tuple[Any, ...], argnums: int | tuple[int, ...], rng_seed: int | None) -> None:
        self.torch = torch = _framework("torch")
        self.rng_seed = rng_seed
        self.tracked = False
        self.module: Any = None
        self.trained = False
        original, described, skip, more = f, f, 0, ""
        if _is_subclass(f, torch.autograd.Function):
            f = f.apply
        owner: Any = getattr(f, "__self__", None)
        if _is_subclass(owner, torch.autograd.Function):
            original, described = owner, owner.forward
            skip = int(owner.setup_context is torch.autograd.Function.setup_context)
        if not callable(f):
            raise ArgumentError(f"f is a {type(f).__name__}, not a function", cure="pass a callable on tensors")
        if isinstance(f, torch.nn.Module):
            described = f.forward
            args, argnums, more = self._with_parameters(f, args, argnums)
        self.call = f
        self.places = [[leaf.device if torch.is_tensor(leaf) else None for leaf in flatten(a)[0]] for a in args]
        arrays = tuple(map_leaves(self._as_array, a) for a in args)
        self.widening = _Widening(arrays, argnums)

        def value(*given: Any) -> Any:
            return self._value(given)

        _described(value, original, described, skip, more, len(args) - 1)
        self.adapted = Adapted(value, arrays, argnums, self._provider, self._taped)

    def _with_parameters(
        self, module: Any, args: tuple[Any, ...], argnums: int | tuple[int, ...]
    ) -> tuple[tuple[Any, ...], int | tuple[int, ...], str]:
        """The trainable parameters as one more argument: a wrong gradient of a weight is a wrong module."""
        self.module = module
        parameters = {n: p.detach() for n, p in module.named_parameters() if p.requires_grad}
        self.fixed = {n: p.detach() for n, p in module.named_parameters() if not p.requires_grad}
        self.fixed.update({n: b.detach() for n, b in module.named_buffers()})
        self.trained = bool(parameters)
        if not parameters:
            return args, argnums, ""
        chosen = [n for n in _numbers(argnums, len(args)) if self._real(args[n])]
        return (*args, parameters), (*chosen, len(args)), "parameters"

    def _real(self, tree: Any) -> bool:
        """Whether an argument can be moved by a small step; the indices of an embedding can not."""
        leaves = flatten(tree)[0]
        return all(
            leaf.is_floating_point() if self.torch.is_tensor(leaf) else np.asarray(leaf).dtype.kind in "fc"
            for leaf in leaves
        )

    def _as_array(self, leaf: Any) -> Any:
        if not self.torch.is_tensor(leaf):
            return leaf
        leaf = leaf.detach()
        if leaf.dtype == self.torch.bfloat16:
            raise ArgumentError("an argument is bfloat16, which NumPy has no type for", cure="pass it as float32")
        return leaf.resolve_conj().resolve_neg().cpu().numpy().copy()

    def _as_result(self, leaf: Any) -> Any:
        if not self.torch.is_tensor(leaf):
            return leaf
        if leaf.dtype == self.torch.bfloat16:
            raise ArgumentError("f returned bfloat16, which NumPy has no type for", cure="return y.float()")
        leaf = leaf.detach()
        leaf = leaf.to_dense() if leaf.layout != self.torch.strided else leaf
        return leaf.resolve_conj().resolve_neg().cpu().numpy()

    def _tensors(self, args: tuple[Any, ...], tracked: bool) -> tuple[list[Any], list[Any], list[Any]]:
        """The arguments as tensors, the leaves of the graph that gradients are asked for, and what f gets for them."""
        torch = self.torch
        roots: dict[int, list[Any]] = {n: [] for n in self.widening.selected}
        used: dict[int, list[Any]] = {n: [] for n in self.widening.selected}
        made: list[Any] = []
        for number, argument in enumerate(self.widening(args)):
            leaves, structure = flatten(argument)
            selected = number in self.widening.selected
            for k, leaf in enumerate(leaves):
                if not (isinstance(leaf, np.ndarray | np.generic) or (selected and isinstance(leaf, float))):
                    continue
                tensor = torch.from_numpy(np.asarray(leaf)).to(self.places[number][k])
                if selected and tracked:
                    roots[number].append(tensor.clone().requires_grad_())
                    # A copy, so that f may write to its argument, which it may not to a leaf of the graph.
                    tensor = roots[number][-1].clone()
                    used[number].append(tensor)
                leaves[k] = tensor
            made.append(unflatten(structure, leaves))
        return made, [r for part in roots.values() for r in part], [u for part in used.values() for u in part]

    def _taped(self, _f: Any, args: tuple[Any, ...], _argnums: Any) -> Tape:
        """The steps of one run, each a call of PyTorch."""
        split = {n: flatten(args[n]) for n in self.widening.selected}
        names = argument_names(self.adapted.f, len(args))
        labels = [path for n, (_, structure) in split.items() for path in leaf_paths(structure, names[n])]

        def run(recorder: Any, leaves: Sequence[Any] | None) -> tuple[Any, list[Any]]:
            given = list(args)
            rest = iter(leaves if leaves is not None else [leaf for mine, _ in split.values() for leaf in mine])
            for n, (mine, structure) in split.items():
                given[n] = unflatten(structure, [next(rest) for _ in mine])
            tensors, _, used = self._tensors(tuple(given), tracked=True)
            for tensor, label in zip(used, labels, strict=True):
                recorder.root(tensor, label)
            with self._frozen(), self.torch.enable_grad(), recorder.watching():
                return self._called(tensors, self.widening.lifted(tuple(given))), used

        return torch_tape(self.torch, run, self.module, frozen=self.rng_seed is not None)

    def _run(self, args: tuple[Any, ...], tracked: bool) -> tuple[Any, list[Any]]:
        tensors, roots, _ = self._tensors(args, tracked)
        with self._frozen(), self.torch.enable_grad():
            try:
                return self._called(tensors, self.widening.lifted(args)), roots
            except self.torch.linalg.LinAlgError as problem:
                raise np.linalg.LinAlgError(str(problem)) from problem

    def _called(self, tensors: list[Any], lifted: bool) -> Any:
        if self.module is None:
            return self.call(*tensors)
        state = {
            # Fresh at every call: batch norm writes to its buffers, and f must not depend on how often it was called.
            n: (b.double() if lifted and b.is_floating_point() else b).clone()
            for n, b in self.fixed.items()
        }
        if self.trained:
            state.update(tensors[-1])
            tensors = tensors[:-1]
        return self.torch.func.functional_call(self.module, state, tuple(tensors))

    @contextlib.contextmanager
    def _frozen(self) -> Iterator[None]:
        if self.rng_seed is None:
            yield
            return
        devices = {p.index or 0 for row in self.places for p in row if p is not None and p.type == "cuda"}
        with self.torch.random.fork_rng(devices=sorted(devices)):
            self.torch.manual_seed(self.rng_seed)
            yield

    def _value(self, args: tuple[Any, ...]) -> Any:
        try:
            out, _ = self._run(args, self.tracked)
        except RuntimeError:
            if self.tracked:
                raise
            # A function that differentiates inside (forces from an energy) needs inputs that are in a graph.
            try:
                out, _ = self._run(args, tracked=True)
            except Exception:  # noqa: BLE001 - then that was not the reason, and the first error says more
                out = None
            if out is None:
                raise
            self.tracked = True
        return map_leaves(self._as_result, out)

    def _provider(self, _f: Any, args: tuple[Any, ...], argnums: Any) -> tuple[Any, Callable[[Any], Any]]:
        out, roots = self._run(args, tracked=True)
        outputs, _ = flatten(out)
        torch = self.torch
        reached = [k for k, y in enumerate(outputs) if torch.is_tensor(y) and y.requires_grad]
        if not reached:
            self.adapted.missing = (
                "there is no path from the input to the output (requires_grad is False): f runs under torch.no_grad(),"
                " or leaves the graph by .detach(), .data, .item(), .numpy() or torch.tensor(...)"
            )
        for k, y in enumerate(outputs):
            if reached and k not in reached and (not torch.is_tensor(y) or y.is_floating_point()):
                self.adapted.note(f"output {k} has no path from the input: its gradient is taken as zero")
        self._watch([outputs[k].grad_fn for k in reached])
        value = map_leaves(lambda leaf: np.array(self._as_result(leaf)), out)

        def pullback(cotangent: Any) -> Any:
            if not reached:
                return _arranged(args, argnums, [None] * len(roots))
            weights = flatten(cotangent)[0]
            given = [
                torch.tensor(np.asarray(weights[k]), dtype=outputs[k].dtype, device=outputs[k].device) for k in reached
            ]
            with self._frozen():
                parts = torch.autograd.grad(
                    [outputs[k] for k in reached], roots, given, retain_graph=True, allow_unused=True
                )
            return _arranged(args, argnums, [None if part is None else self._as_result(part) for part in parts])

        return value, pullback

    def _watch(self, nodes: list[Any]) -> None:
        """Names a backward that returns another type than it was given: the engine converts it without a word."""
        seen: set[Any] = set()
        while nodes:
            node = nodes.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            nodes += [following for following, _ in node.next_functions]
            if hasattr(node, "_forward_cls"):
                node.apply = self._watched(node.apply, type(node).__name__)

    def _watched(self, backward: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(backward)
        def apply(*cotangents: Any) -> Any:
            parts = backward(*cotangents)
            wanted = {c.dtype for c in cotangents if c is not None and c.is_floating_point()}
            for part in parts if isinstance(parts, tuple) else (parts,):
                if self.torch.is_tensor(part) and part.is_floating_point() and len(wanted) == 1:
                    (dtype,) = wanted
                    if part.dtype.itemsize < dtype.itemsize:
                        self.adapted.eps = max(self.adapted.eps, float(self.torch.finfo(part.dtype).eps))
                        self.adapted.note(
                            f"{name} returns a gradient of {part.dtype} for a cotangent of {dtype};"
                            " PyTorch converts it silently"
                        )
            return parts

        return apply


def _torch_gradient(f: Any, argnum: int) -> Callable[..., Any]:
    torch = _framework("torch")
    if isinstance(f, type):
        f = f.apply  # type: ignore[attr-defined]

    def gradient(*args: Any) -> Any:
        leaves, structure = flatten(args[argnum])
        roots = [leaf if leaf.requires_grad else leaf.requires_grad_() for leaf in leaves]
        parts = torch.autograd.grad(f(*args), roots, create_graph=True, allow_unused=True, materialize_grads=True)
        return unflatten(structure, parts)

    return gradient


# -------------------------------------------------------------------------------------------- JAX and HIPS autograd


class _Jax:
    """Any function of JAX arrays, also with a ``custom_vjp`` or ``custom_jvp``; 64-bit types are on while it runs."""

    def __init__(self, f: Any, args: tuple[Any, ...], argnums: int | tuple[int, ...]) -> None:
        if not callable(f):
            raise ArgumentError(f"f is a {type(f).__name__}, not a function", cure="pass a function of JAX arrays")
        self.jax, self.jnp = _framework("jax"), _framework("jax.numpy")
        self.call = f
        arrays = tuple(map_leaves(self._as_array, a) for a in args)
        self.widening = _Widening(arrays, argnums)

        def value(*given: Any) -> Any:
            with self._double():
                return map_leaves(np.asarray, self.call(*self._given(given)))

        _described(value, f, f)
        self.adapted = Adapted(value, arrays, argnums, self._provider, self._taped)

    def _taped(self, _f: Any, args: tuple[Any, ...], argnums: Any) -> Tape:
        """The steps, each an equation."""
        numbers = _numbers(argnums, len(args))
        with self._double():
            given = self._given(args)
            split = [flatten(given[n]) for n in numbers]
            roots = [self.jnp.asarray(leaf) for leaves, _ in split for leaf in leaves]
        names = argument_names(self.adapted.f, len(args))
        labels = [path for n, (_, tree) in zip(numbers, split, strict=True) for path in leaf_paths(tree, names[n])]

        def flat(*leaves: Any) -> list[Any]:
            rest = iter(leaves)
            inputs = list(given)
            for n, (mine, structure) in zip(numbers, split, strict=True):
                inputs[n] = unflatten(structure, [next(rest) for _ in mine])
            return [self.jnp.asarray(y) for y in flatten(self.call(*inputs))[0]]

        return jax_tape(self.jax, _framework("jax.extend.core"), self._double, flat, roots, labels)

    def _double(self) -> Any:
        """The context with 64-bit types; older releases have it elsewhere."""
        enable = getattr(self.jax, "enable_x64", None)
        if enable is None:
            enable = _framework("jax.experimental").enable_x64
        return enable(True)

    def _as_array(self, leaf: Any) -> Any:
        if not isinstance(leaf, self.jax.Array) or self.jnp.issubdtype(leaf.dtype, self.jax.dtypes.prng_key):
            return leaf
        return np.array(leaf)

    def _given(self, args: tuple[Any, ...]) -> list[Any]:
        """The arguments as JAX arrays; what is no array (a flag, an axis) stays what it is."""
        return [
            map_leaves(lambda leaf: self.jnp.asarray(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf, a)
            for a in self.widening(args)
        ]

    def _provider(self, _f: Any, args: tuple[Any, ...], argnums: Any) -> tuple[Any, Callable[[Any], Any]]:
        jnp = self.jnp
        numbers = _numbers(argnums, len(args))
        with self._double():
            given = self._given(args)
            split = [flatten(given[n]) for n in numbers]
            structures: list[Structure] = []

            def flat(*leaves: Any) -> tuple[Any, Any]:
                rest = list(leaves)
                inputs = list(given)
                for n, (mine, structure) in zip(numbers, split, strict=True):
                    inputs[n] = unflatten(structure, [rest.pop(0) for _ in mine])
                outputs, structure = flatten(self.call(*inputs))
                structures.append(structure)
                outputs = [jnp.asarray(y) for y in outputs]
                # Outputs of integers have no cotangent; they are values only.
                return tuple(y for y in outputs if jnp.issubdtype(y.dtype, jnp.inexact)), outputs

            roots = [jnp.asarray(leaf) for leaves, _ in split for leaf in leaves]
            real, pull, outputs = self.jax.vjp(flat, *roots, has_aux=True)
            places = [k for k, y in enumerate(outputs) if jnp.issubdtype(y.dtype, jnp.inexact)]
        if not real:
            self.adapted.missing = "there is no path from the input to the output: f returns no floating-point numbers"

        def pullback(cotangent: Any) -> Any:
            if not real:
                return _arranged(args, argnums, [None] * len(roots))
            weights = flatten(cotangent)[0]
            with self._double():
                parts = pull(tuple(jnp.asarray(weights[k], dtype=y.dtype) for k, y in zip(places, real, strict=True)))
                return _arranged(args, argnums, [np.asarray(part) for part in parts])

        return unflatten(structures[0], [np.asarray(y) for y in outputs]), pullback


class _Autograd:
    """A function written with HIPS autograd's NumPy."""

    def __init__(self, f: Any, args: tuple[Any, ...], argnums: int | tuple[int, ...]) -> None:
        if not callable(f):
            raise ArgumentError(f"f is a {type(f).__name__}, not a function", cure="pass a function of arrays")
        self.autograd = _framework("autograd")
        self.tuple = _framework("autograd.builtins").tuple
        self.box = _framework("autograd.extend").Box
        self.call = f

        def value(*given: Any) -> Any:
            return self.call(*given)

        _described(value, f, f)
        self.adapted = Adapted(value, args, argnums, self._provider)

    def _provider(self, _f: Any, args: tuple[Any, ...], argnums: Any) -> tuple[Any, Callable[[Any], Any]]:
        numbers = _numbers(argnums, len(args))
        split = [flatten(args[n]) for n in numbers]
        count = sum(len(leaves) for leaves, _ in split)
        structures: list[Structure] = []
        reached: list[int] = []

        def flat(*leaves: Any) -> Any:
            rest = list(leaves)
            inputs = list(args)
            for n, (mine, structure) in zip(numbers, split, strict=True):
                inputs[n] = unflatten(structure, [rest.pop(0) for _ in mine])
            outputs, structure = flatten(self.call(*inputs))
            structures.append(structure)
            plain.extend(getattr(y, "_value", y) for y in outputs)
            reached.extend(k for k, y in enumerate(outputs) if isinstance(y, self.box))
            return self.tuple([outputs[k] for k in reached]) if reached else 0.0

        plain: list[Any] = []
        roots = [leaf for leaves, _ in split for leaf in leaves]
        with warnings.catch_warnings():
            # Said below, with its reason, in the sentence of the report.
            warnings.filterwarnings("ignore", message="Output seems independent of input")
            pull, _ = self.autograd.make_vjp(flat, tuple(range(count)))(*roots)
        if not reached:
            self.adapted.missing = (
                "there is no path from the input to the output: f leaves autograd's NumPy"
                " (plain numpy, .item(), or an assignment into an array made outside)"
            )

        def pullback(cotangent: Any) -> Any:
            if not reached:
                return _arranged(args, argnums, [None] * count)
            weights = flatten(cotangent)[0]
            return _arranged(args, argnums, pull(tuple(weights[k] for k in reached)))

        return unflatten(structures[0], plain), pullback


# ------------------------------------------------------------------------------------------------------------ SciPy


def of_objective(f: Any, args: tuple[Any, ...], argnums: Any, jac: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """An objective in SciPy's form, as f and a claim: ``jac=True`` (f returns value and gradient), or a function.

    A function of several numbers has a Jacobian (an array, sparse, or a linear operator) in place of the gradient.
    Raises ``ArgumentError`` where ``jac`` is neither, or f returns no pair.
    """
    if argnums not in (0, (0,), [0]):
        raise ArgumentError(f"jac= with argnums={argnums!r}", cure="SciPy's jac is for the first argument; pass grad=")
    if jac is not True and not callable(jac):
        raise ArgumentError(f"jac={jac!r}", cure="jac is True (f returns value and gradient) or a function")

    def value(*given: Any) -> Any:
        return f(*given) if callable(jac) else _value_and_derivative(f(*given))[0]

    def derivative(*given: Any) -> Any:
        return jac(*given) if callable(jac) else _value_and_derivative(f(*given))[1]

    _described(value, f, f)
    try:
        single = np.size(value(*map(_copied, args))) == 1
    except ArgumentError:
        raise
    except Exception:  # noqa: BLE001 - the check proper calls f again and says what it raises
        single = True
    if single:
        return value, {"grad": lambda *given: _gradient_of_one(derivative(*given), given[0])}
    return value, {"vjp": lambda *given: _product(derivative(*given[:-1]), given[-1])}


def _value_and_derivative(pair: Any) -> tuple[Any, Any]:
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise ArgumentError(
            f"jac=True, but f returned a {type(pair).__name__}", cure="return (value, gradient), or pass jac=function"
        )
    return pair[0], pair[1]


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _gradient_of_one(derivative: Any, x: Any) -> Any:
    """The gradient; a Jacobian of one row is one too."""
    if hasattr(derivative, "toarray"):
        derivative = derivative.toarray()
    if isinstance(derivative, np.ndarray) and derivative.shape == (1, *np.shape(x)):
        return derivative[0]
    return derivative


def _product(jacobian: Any, v: Any) -> Any:
    if isinstance(jacobian, list | tuple):
        jacobian = np.asarray(jacobian)
    shape = tuple(getattr(jacobian, "shape", ()))
    if len(shape) != 2 or shape[0] != np.size(v):
        raise ClaimProblem(f"the Jacobian has shape {shape} where f returns {np.size(v)} numbers")
    if hasattr(jacobian, "rmatvec"):
        return np.asarray(jacobian.rmatvec(np.ravel(v)))
    return np.asarray(jacobian.T @ np.ravel(v))


# -------------------------------------------------------------------------------------------------- linear operators


def is_operator(f: Any) -> bool:
    """Whether f is a linear operator with an adjoint: ``matvec`` and ``rmatvec``, or a pair of functions."""
    if isinstance(f, tuple) and not hasattr(f, "_fields"):
        return len(f) == 2 and all(callable(part) for part in f)
    return callable(getattr(f, "matvec", None)) and callable(getattr(f, "rmatvec", None))


class _Operator:
    """Both directions of a linear operator on flat vectors, counted, and their results examined."""

    def __init__(self, operator: Any, args: tuple[Any, ...]) -> None:
        self.counts = [0, 0]
        self.names = ("matvec", "rmatvec")
        if isinstance(operator, tuple):
            if len(args) != 1:
                raise ArgumentError(
                    "a pair of functions does not say how large its input is",
                    cure="check((forward, adjoint), x): x is an array like the input of forward",
                )
            self.functions = operator
            self.names = ("the forward function", "the adjoint")
            x = np.asarray(args[0])
            self.shapes = [x.shape, np.shape(operator[0](x.copy()))]
            self.dtype = x.dtype if x.dtype.kind in "fc" else np.dtype(np.float64)
            return
        self.functions = (operator.matvec, operator.rmatvec)
        shape = getattr(operator, "shape", None)
        if shape is None or len(shape) != 2:
            raise ArgumentError(
                f"the operator has the shape {shape}", cure="give it shape = (rows, columns), or pass the pair and x"
            )
        self.shapes = [(int(shape[1]),), (int(shape[0]),)]
        dtype = getattr(operator, "dtype", None)
        self.dtype = np.dtype(np.float64 if dtype is None else dtype)
        if self.dtype.kind not in "fc":
            self.dtype = np.dtype(np.float64)

    def apply(self, way: int, vector: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The operator (0) or its adjoint (1) on a flat vector."""
        self.counts[way] += 1
        given = vector.astype(self.dtype).reshape(self.shapes[way])
        kept = given.copy()
        out = np.asarray(self.functions[way](given))
        name, wanted = self.names[way], self.shapes[1 - way]
        if not np.array_equal(given, kept):
            raise ClaimProblem(f"{name} overwrites its input")
        if out.dtype.kind not in "fciu":
            raise ClaimProblem(f"{name} returned {out.dtype}")
        if out.size != int(np.prod(wanted)):
            raise ClaimProblem(f"{name} returned the shape {out.shape} where the operator says {wanted}")
        if not np.isfinite(out).all():
            raise ClaimProblem(f"{name} returned numbers that are not finite")
        return out.ravel().copy()

    def draw(self, way: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        """A random vector whose entries are of size 1 to 2 and exact in every type."""
        size = int(np.prod(self.shapes[way]))
        real = rng.choice([-1.0, 1.0], size) * rng.integers(8, 16, size) / 8.0
        if self.dtype.kind == "c":
            return np.asarray(real + 1j * rng.choice([-1.0, 1.0], size) * rng.integers(8, 16, size) / 8.0)
        return np.asarray(real)


def check_operator(
    operator: Any, args: tuple[Any, ...] = (), *, rtol: float | None = None, seed: int = 0, pairs: int = 4
) -> Report:
    """Holds ``matvec`` against ``rmatvec`` by the dot test <v, A u> = <A* v, u>, and both against linearity.

    The test needs no differences: it sees errors down to roundings. An error is followed to its row and column, where
    both are asked for that entry. ``rtol`` (1e-5; 2e-3 in float32) parts FAIL from WARN. Raises ``ArgumentError``
    where the size of the operator is not known.

    >>> import numpy as np
    >>> forward, adjoint = (lambda x: np.diff(x)), (lambda y: -np.diff(y, prepend=0, append=0))
    >>> check_operator((forward, adjoint), (np.zeros(5),)).verdict
    'PASS'
    >>> report = check_operator((forward, lambda y: np.diff(y, prepend=0, append=0)), (np.zeros(5),))
    >>> report.verdict, report.pattern
    ('FAIL', 'the adjoint is -1 x the true one')
    """
    began = time.perf_counter()
    report = Report("INCONCLUSIVE", "", seed=seed, reproduce=f"check(operator, seed={seed})")
    both = _Operator(operator, args)
    rng = np.random.default_rng(seed)
    try:
        _judge_operator(report, both, rng, rtol, pairs)
    except NotImplementedError as problem:
        report.sentence = f"the operator does not have both directions ({problem}): there is nothing to compare."
    except ClaimProblem as problem:
        report.verdict, report.sentence = "FAIL", f"{problem}."
    except ArgumentError:
        raise
    except Exception as problem:  # noqa: BLE001 - whatever the operator raises is the finding
        report.verdict, report.sentence = "FAIL", f"the operator raises {type(problem).__name__}: {problem}."
    report.evaluations, report.calls = both.counts
    report.seconds = time.perf_counter() - began
    return report


def _judge_operator(report: Report, both: _Operator, rng: np.random.Generator, rtol: float | None, pairs: int) -> None:
    rows, columns = int(np.prod(both.shapes[1])), int(np.prod(both.shapes[0]))
    if not rows * columns:
        report.verdict, report.resolution = "PASS", 0.0
        report.sentence = f"nothing to compare: the operator has the shape ({rows}, {columns})."
        return
    us = [both.draw(0, rng) for _ in range(pairs)]
    vs = [both.draw(1, rng) for _ in range(pairs)]
    forward = [both.apply(0, u) for u in us]
    backward = [both.apply(1, v) for v in vs]
    eps = max(
        float(np.finfo(a.dtype).eps) for a in (*forward, *backward, us[0].astype(both.dtype)) if a.dtype.kind in "fc"
    )
    report.rtol = rtol if rtol is not None else 1e-5 if eps < 1e-10 else 2e-3
    for way, inputs, outputs in ((0, us, forward), (1, vs, backward)):
        report.structural += _linear(both, way, inputs, outputs, eps)
    failed = [sentence for _, outcome, sentence in report.structural if outcome == "fail"]
    if failed:
        report.verdict, report.sentence = "FAIL", "; ".join(failed) + "."
        return
    left = np.array([np.vdot(v, a) for v, a in zip(vs, forward, strict=True)])
    right = np.array([np.vdot(b, u) for b, u in zip(backward, us, strict=True)])
    size = np.array(
        [
            np.linalg.norm(v) * np.linalg.norm(a) + np.linalg.norm(b) * np.linalg.norm(u)
            for u, v, a, b in zip(us, vs, forward, backward, strict=True)
        ]
    )
    allowed = 1e3 * eps * size
    frobenius = max(
        float(np.sqrt(np.mean([np.linalg.norm(a) ** 2 for a in forward]) / np.mean(np.abs(us[0]) ** 2))), 1e-300
    )
    report.resolution, report.limited_by = float(np.max(allowed)) / frobenius, "roundings"
    wrong = np.abs(left - right) > allowed
    if not np.any(wrong):
        report.verdict = "PASS"
        report.sentence = (
            f"<v, A u> = <A* v, u> for {pairs} random pairs; an error above {report.resolution:.1e} of the operator's"
            " (Frobenius) norm in one entry would have been seen."
        )
        return
    k = int(np.argmax(np.abs(left - right) / size))
    names = both.names
    claimed, true, place = _entry(both, us[k], vs[k], backward[k])
    gap = abs(claimed - true) / max(abs(claimed), abs(true), 1e-300)
    report.worst = [
        {
            "name": f"A[{place[0]}, {place[1]}]", "flat": place[0] * columns + place[1], "index": place,
            "projection": 0, "claimed": abs(claimed) if both.dtype.kind == "c" else claimed,
            "numeric": abs(true) if both.dtype.kind == "c" else true, "error": eps * abs(true), "relative": gap,
            "ratio": None if both.dtype.kind == "c" or true == 0 else claimed / true, "x": 0.0, "status": "ok",
            "z": float(abs(left[k] - right[k]) / allowed[k]),
        }
    ]  # fmt: skip
    report.pattern = _operator_pattern(both, us, vs, left, right, allowed)
    report.verdict = "FAIL" if gap > report.rtol else "WARN"
    report.sentence = (
        f"{names[1]} is not the adjoint of {names[0]}: <v, A u> = {left[k]:.8g} and <A* v, u> = {right[k]:.8g};"
        f" in row {place[0]}, column {place[1]} {names[0]} says {true:.8g} and {names[1]} {claimed:.8g}"
        + ("." if report.verdict == "FAIL" else f", a difference below rtol={report.rtol:.0e}.")
    )


def _linear(
    both: _Operator, way: int, inputs: list[npt.NDArray[Any]], outputs: list[npt.NDArray[Any]], eps: float
) -> list[tuple[str, str, str]]:
    """Repeatable, zero for zero, and additive: three calls."""
    name = both.names[way]
    found: list[tuple[str, str, str]] = []
    factor = 2j if both.dtype.kind == "c" else 2.0
    size = float(np.max(np.abs(outputs[0])) + 2 * np.max(np.abs(outputs[1])))
    again = both.apply(way, inputs[0])
    # Cancelling sums (a Fourier transform) leave roundings of the largest output in every entry.
    room = 1e3 * eps * size
    if np.max(np.abs(again - outputs[0])) > room:
        found.append(("repeatable", "fail", f"{name} gives another result for the same vector: it keeps state"))
        return found
    if np.any(both.apply(way, np.zeros(inputs[0].size)) != 0):
        found.append(("zero", "fail", f"{name} of zero is not zero: the operator is affine, or keeps state"))
    mixed = both.apply(way, inputs[0] - factor * inputs[1])
    defect = float(np.max(np.abs(mixed - (outputs[0] - factor * outputs[1]))))
    if defect > room and not found:
        found.append(("linear", "fail", f"{name} is not linear (defect {defect / size:.2g} of its result)"))
    return found or [("linear", "ok", f"{name} is linear")]


def _entry(
    both: _Operator, u: npt.NDArray[Any], v: npt.NDArray[Any], adjoint: npt.NDArray[Any]
) -> tuple[Any, Any, tuple[int, int]]:
    """The entry where both directions differ, by halving the columns and then the rows: claimed, true, its place."""

    def keep(vector: npt.NDArray[Any], members: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        part = np.zeros_like(vector)
        part[members] = vector[members]
        return part

    columns = np.arange(u.size)
    while columns.size > 1:
        halves = np.array_split(columns, 2)
        gaps = [abs(np.vdot(v, both.apply(0, keep(u, h))) - np.vdot(adjoint, keep(u, h))) for h in halves]
        columns = halves[int(np.argmax(gaps))]
    column = int(columns[0])
    unit = np.zeros(u.size)
    unit[column] = 1.0
    image = both.apply(0, unit)
    rows = np.arange(v.size)
    while rows.size > 1:
        halves = np.array_split(rows, 2)
        gaps = [abs(np.vdot(keep(v, h), image) - np.conj(both.apply(1, keep(v, h))[column])) for h in halves]
        rows = halves[int(np.argmax(gaps))]
    row = int(rows[0])
    unit = np.zeros(v.size)
    unit[row] = 1.0
    claimed = np.conj(both.apply(1, unit)[column])
    return claimed.item(), image[row].item(), (row, column)


def _operator_pattern(
    both: _Operator,
    us: list[npt.NDArray[Any]],
    vs: list[npt.NDArray[Any]],
    left: npt.NDArray[Any],
    right: npt.NDArray[Any],
    allowed: FloatArray,
) -> str:
    """One factor for all pairs, a missing conjugation, or nothing that is known."""
    if np.all(np.abs(right) <= allowed):
        return "the adjoint is zero"
    factor = np.vdot(left, right) / max(float(np.vdot(left, left).real), 1e-300)
    if np.all(np.abs(right - factor * left) <= allowed * (1 + abs(factor))):
        shown = f"{factor.real:.6g}" if abs(factor.imag) < 1e-12 * abs(factor) else f"{factor:.6g}"
        return f"the adjoint is {shown} x the true one"
    if both.dtype.kind == "c":
        plain = [np.vdot(np.conj(both.apply(1, np.conj(v))), u) for v, u in zip(vs, us, strict=True)]
        if np.all(np.abs(left - np.array(plain)) <= allowed):
            return "the adjoint is the transpose without the complex conjugate"
    return ""
