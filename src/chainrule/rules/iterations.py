"""Rules that a loop's body reads its data with: entries at positions that grow with the number of the iteration.

A key is that of the static rules (``indexing``), with ``("affine", start, stride, ...)`` where a position moves: it
stands at ``start + stride * l``, one stride for each number ``l`` that the step is given. ``start`` is an int, or a
slice like ``"0:3"``, of which both ends move.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from chainrule.rule import Cost, Discrete, Gather, apply, register
from chainrule.rules.gather import blank, decode, getitem, index_add, key_shape, setitem

__all__ = ["number", "pack", "unpack"]

FREE = Cost(0)


def _no_work(types: Any, params: Any, outs: Any) -> Cost:
    return FREE


# --- keys that move ---------------------------------------------------------------------------------------------------


def _moved(one: Any, numbers: Sequence[int]) -> Any:
    if type(one) is not tuple:
        return one
    _, start, *strides = one
    shift = sum(stride * number for stride, number in zip(strides, numbers, strict=True))
    if type(start) is int:
        return start + shift
    first, last, *step = start.split(":")
    if int(first) + shift < 0 or int(last) + shift < 0:
        msg = f"the slice {start} moved by {shift} begins before the array"
        raise IndexError(msg)
    return ":".join([str(int(first) + shift), str(int(last) + shift), *step])


@lru_cache(maxsize=65536)
def _settled(template: tuple[Any, ...], numbers: tuple[int, ...]) -> tuple[Any, ...]:
    """The key at these numbers of iterations."""
    return tuple([_moved(one, numbers) for one in template])


@lru_cache(maxsize=8192)
def _first(template: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key at the first iteration, and whether a slice moves."""
    if "?" in template:
        msg = f"a key that moves has no arrays of indices: {template}"
        raise ValueError(msg)
    count = max((len(one) - 2 for one in template if type(one) is tuple), default=0)
    return _settled(template, (0,) * count)


@lru_cache(maxsize=8192)
def _slides(template: tuple[Any, ...]) -> bool:
    return any(type(one) is tuple and type(one[1]) is str for one in template)


def _here(shape: tuple[int, ...], template: tuple[Any, ...], numbers: Sequence[Any]) -> tuple[Any, ...]:
    """The index at these numbers; raises IndexError where a slice that moved is cut short by the end of the array."""
    key = _settled(template, tuple([int(one) for one in numbers]))
    if _slides(template) and key_shape(shape, key, ()) != key_shape(shape, _first(template), ()):
        msg = f"the slice in {template} moved to {key}, beyond an array of shape {shape}"
        raise IndexError(msg)
    return decode(key, ())


def _check(types: Sequence[Any], template: tuple[Any, ...]) -> None:
    counts = {len(one) - 2 for one in template if type(one) is tuple}
    if counts - {len(types)} or any(one.shape != () or np.dtype(one.dtype).kind not in "iu" for one in types):
        msg = f"the key {template} needs {max(counts, default=0)} integers, got {list(types)}"
        raise ValueError(msg)


def _known(operands: Sequence[Any]) -> tuple[int, ...] | None:
    """The numbers, where all are literals."""
    if all(hasattr(one, "value") for one in operands):
        return tuple([int(one.value) for one in operands])
    return None


def _settle_to(rule: Any, first: int) -> Any:
    def settle(operands: Any, params: Any) -> Any:
        numbers = _known(operands[first:])
        return None if numbers is None else (rule, operands[:first], (_settled(params[0], numbers),))

    return settle


def _moves(whole: Any, params: Any) -> Any:
    (template,) = params
    still: list[Any] = []
    moved: list[tuple[Any, ...]] = []
    axis = 0
    given = sum(one not in (None, "...") for one in template)
    for one in template:
        if type(one) is tuple:
            _, start, *factors = one
            if type(start) is int:
                still.append(0)
                moved.append((whole.strides[axis], whole.shape[axis], start, 0, tuple(factors)))
            else:
                first, last, *step = map(int, start.split(":"))
                still.append(slice(0, last - first, *step))
                moved.append((whole.strides[axis], whole.shape[axis], first, last - first, tuple(factors)))
        else:
            still.append(decode((one,), ())[0])
        axis += whole.ndim - given if one == "..." else one is not None
    return whole[tuple(still) if "..." in template else (*still, ...)], moved


def _one_by_one(rule: Any, batched: Any, size: int, arguments: Any, params: Any) -> Any:
    """Each example has its own number of an iteration: a case that no loop makes."""
    rows = [
        apply(rule, [one[k] if yes else one for one, yes in zip(arguments, batched, strict=True)], params)
        for k in range(size)
    ]
    return np.stack(rows)


# --- in plain NumPy ---------------------------------------------------------------------------------------------------


def _affine_source(start: Any, strides: Sequence[Any], first: int) -> str:
    """``start + stride * number`` as a person writes it; the numbers are the arguments from ``first`` on."""
    text = "" if start == 0 and any(strides) else repr(start)
    for place, stride in enumerate(strides, first):
        if stride == 0:
            continue
        term = f"{{{place}}}" if abs(stride) == 1 else f"{abs(stride)!r} * {{{place}}}"
        if text and text.startswith("-") and stride > 0 and "{" not in text:
            text = f"{term} - {text[1:]}"
        elif text:
            text += f" {'+' if stride > 0 else '-'} {term}"
        else:
            text = term if stride > 0 else f"-{term}"
    return text


def _moving_source(template: tuple[Any, ...], first: int) -> str:
    """A key that moves, as it is written between brackets."""
    shown = []
    for one in template:
        if type(one) is not tuple:
            shown.append(one if isinstance(one, str) else repr(one))
            continue
        _, start, *strides = one
        if type(start) is int:
            shown.append(_affine_source(start, strides, first))
            continue
        low, high, *step = start.split(":")
        ends = [_affine_source(int(end), strides, first) for end in (low, high)]
        shown.append(":".join([*ends, *step]))
    return ", ".join(shown) or "()"


def _written_source(types: Any, params: Any, sign: str) -> str:
    inside = key_shape(types[0].shape, _first(params[0]), ())
    given = types[1].shape
    shown = "{1}" if len(given) <= len(inside) else f"{{1}}.reshape({given[len(given) - len(inside) :]})"
    return f"{{0}}[{_moving_source(params[0], 2)}] {sign} {shown}"


def _run_source(place: int, run: Any, ndim: int) -> str:
    if run is None:
        return f"{{{place}}}[None]" if ndim else f"[{{{place}}}]"
    start, stop, step = run
    ends = (start or "", "" if stop < 0 else stop, "" if step == 1 else step)
    return f"{{{place}}}[{':'.join(map(str, ends if ends[2] != '' else ends[:2]))}]"


def _pack_source(types: Any, params: Any, numbers: Any) -> str:
    dtype, runs = params
    same = all(one.dtype == dtype and value is None for one, value in zip(types, numbers, strict=True))
    wide = "" if same or (dtype == "float64" and not types[0].ndim) else f", dtype=np.{dtype}"
    if not runs:
        return f"np.{'stack' if types[0].ndim else 'array'}([{{*}}]{wide})"
    parts = [
        _run_source(place, run, one.ndim - (run is not None))
        for place, (one, run) in enumerate(zip(types, runs, strict=True))
    ]
    return f"{parts[0]}.copy()" if len(parts) == 1 and same else f"np.concatenate([{', '.join(parts)}]{wide})"


def _number_source(types: Any, params: Any, numbers: Any) -> str:
    start, strides, dtype, _ = params
    return f"np.{dtype}({_affine_source(start, strides, 0)})"


# --- reading ----------------------------------------------------------------------------------------------------------


def _index_at_value(x: Any, *rest: Any) -> Any:
    *numbers, template = rest
    return x[_here(x.shape, template, numbers)]


def _index_at_infer(types: Any, params: Any) -> Any:
    _check(types[1:], params[0])
    return key_shape(types[0].shape, _first(params[0]), ()), types[0].dtype


def _index_at_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    if any(batched[1:]):
        return _one_by_one(index_at, batched, size, arguments, params)
    return apply(index_at, arguments, ((":", *params[0]),))


def _index_at_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    return apply(add_at, (blank(g, types[0].shape, types[0].dtype), g, *arguments[1:]), params)


_TWO = np.asarray(np.int64(2))
_ONE = np.asarray(np.int64(1))

index_at: Any = register(
    Gather(
        name="index_at",
        source=lambda types, params, numbers: f"{{0}}[{_moving_source(params[0], 1)}]",
        value=_index_at_value,
        params=("key",),
        linear=(0,),
        infer=_index_at_infer,
        transpose=_index_at_transpose,
        batch=_index_at_batch,
        settle=_settle_to(getitem, 1),
        moves=_moves,
        moving="index_at",
        latex=r"{0}_{{[{key}]}}",
        cost=_no_work,
        aliases=True,
        points=(
            (("5", _TWO), ((("affine", 0, 1),),)),
            (("7", _TWO), ((("affine", "4:7", -2),),)),
            (("4,6", _TWO), ((":", ("affine", -1, -1)),)),
            (("4,6", _TWO, _ONE), ((("affine", 0, 1, 0), ("affine", 1, 1, 2)),)),
            (("4,6,2", _ONE), ((("affine", 1, 2), "...", None, ("affine", 0, 1)),)),
        ),
    )
)


# --- writing ----------------------------------------------------------------------------------------------------------


def _writing(static: Any) -> tuple[Any, Any]:
    def update(x: Any, v: Any, *rest: Any) -> Any:
        *numbers, template = rest
        key = _settled(template, tuple([int(one) for one in numbers]))
        if _slides(template):
            _here(x.shape, template, numbers)
        return static.update(x, v, key)

    def value(x: Any, v: Any, *rest: Any) -> Any:
        return update(np.array(x), v, *rest)

    return value, update


def _write_infer(types: Any, params: Any) -> Any:
    _check(types[2:], params[0])
    return setitem.infer(types[:2], (_first(params[0]),))


def _write_batch(rule: Any) -> Any:
    def batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
        if any(batched[2:]):
            return _one_by_one(rule(), batched, size, arguments, params)
        x, v, *numbers = arguments
        if not batched[0]:
            x = np.broadcast_to(x, (size, *np.shape(x)))
        inside = key_shape(np.shape(x)[1:], _first(params[0]), ())
        own = np.shape(v)[1:] if batched[1] else np.shape(v)
        own = own[max(0, len(own) - len(inside)) :]
        v = np.reshape(v, (size if batched[1] else 1, *(1,) * (len(inside) - len(own)), *own))
        return apply(rule(), (x, v, *numbers), ((":", *params[0]),))

    return batch


def _assign_at_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    numbers = arguments[2:]
    if k == 0:
        return apply(assign_at, (g, 0.0, *numbers), params)
    return _taken(g, types, numbers, params)


def _taken(g: Any, types: Any, numbers: Any, params: Any) -> Any:
    """The adjoint of what was written: the entries of ``g``, summed where the value was broadcast."""
    # The static rule knows the sums; its own reading of g is the one that moves.
    taken = apply(index_at, (g, *numbers), params)
    if taken.dtype != types[1].dtype:
        taken = taken.astype(types[1].dtype)
    extra = np.ndim(taken) - len(types[1].shape)
    if extra < 0:
        return np.reshape(_summed(taken, types[1].shape[-extra:]), types[1].shape)
    return _summed(taken, types[1].shape)


def _summed(g: Any, shape: tuple[int, ...]) -> Any:
    extra = np.ndim(g) - len(shape)
    axes = tuple(range(extra)) + tuple(
        place + extra for place, extent in enumerate(shape) if extent == 1 and np.shape(g)[place + extra] != 1
    )
    if axes:
        g = np.sum(g, axis=axes)
    return np.reshape(g, shape) if np.shape(g) != shape else g


_assign_value, _assign_update = _writing(setitem)

assign_at: Any = register(
    Gather(
        name="assign_at",
        source=lambda types, params, numbers: _written_source(types, params, "="),
        value=_assign_value,
        update=_assign_update,
        params=("key",),
        linear=(0, 1),
        infer=_write_infer,
        transpose=_assign_at_transpose,
        batch=_write_batch(lambda: assign_at),
        settle=_settle_to(setitem, 2),
        moves=_moves,
        moving="assign_at",
        latex=r"{0}\big|_{{[{key}]={1}}}",
        cost=_no_work,
        points=(
            (("5", "", _TWO), ((("affine", 0, 1),),)),
            (("7", "3", _TWO), ((("affine", "4:7", -2),),)),
            (("4,6", "1", _TWO), ((":", ("affine", -1, -1)),)),
            (("4,6", "1,4", _TWO), ((":", ("affine", -1, -1)),)),
            (("4,6", "", _TWO, _ONE), ((("affine", 0, 1, 0), ("affine", 1, 1, 2)),)),
        ),
    )
)


def _add_at_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    return g if k == 0 else _taken(g, types, arguments[2:], params)


_add_value, _add_update = _writing(index_add)

add_at: Any = register(
    Gather(
        name="add_at",
        source=lambda types, params, numbers: _written_source(types, params, "+="),
        adds=True,
        value=_add_value,
        update=_add_update,
        params=("key",),
        linear=(0, 1),
        infer=_write_infer,
        transpose=_add_at_transpose,
        batch=_write_batch(lambda: add_at),
        settle=_settle_to(index_add, 2),
        moves=_moves,
        moving="add_at",
        latex=r"{0}\big|_{{[{key}]\mathrel{{+}}={1}}}",
        cost=lambda types, params, outs: Cost(types[1].size),
        points=(
            (("5", "", _TWO), ((("affine", 0, 1),),)),
            (("7", "3", _TWO), ((("affine", "4:7", -2),),)),
            (("4,6", "", _TWO, _ONE), ((("affine", 0, 1, 0), ("affine", 1, 1, 2)),)),
        ),
    )
)


# --- a number that grows ----------------------------------------------------------------------------------------------


def _grown(start: Any, strides: Sequence[Any], numbers: Sequence[int]) -> Any:
    for stride, one in zip(strides, numbers, strict=True):
        start = start + stride * one
    return start


def _number_value(*rest: Any) -> Any:
    *numbers, start, strides, dtype, _ = rest
    return np.dtype(dtype).type(_grown(start, strides, [int(one) for one in numbers]))


def _number_infer(types: Any, params: Any) -> Any:
    _, strides, dtype, _ = params
    if len(types) != len(strides) or any(one.shape != () or np.dtype(one.dtype).kind not in "iu" for one in types):
        msg = f"{len(strides)} strides need as many integers, got {list(types)}"
        raise ValueError(msg)
    return (), np.dtype(dtype)


def _number_settle(operands: Any, params: Any) -> Any:
    start, strides, dtype, weak = params
    numbers = _known(operands)
    if numbers is None:
        return None
    grown = _grown(start, strides, numbers)
    return grown if weak else np.dtype(dtype).type(grown)


def _number_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    return _one_by_one(number, batched, size, arguments, params)


#: ``start + stride * l``, as Python computes it; ``weak`` says that it was a bare Python number in the user's code.
number: Any = register(
    Discrete(
        name="number_at",
        source=_number_source,
        native="number_at",
        value=_number_value,
        params=("start", "strides", "dtype", "weak"),
        infer=_number_infer,
        batch=_number_batch,
        settle=_number_settle,
        latex=r"({start} + {strides}\,{0})",
        cost=Cost(2),
        points=(
            ((_TWO,), (3, (2,), "int64", False)),
            ((_TWO,), (0.5, (0.1,), "float64", True)),
            ((_TWO, _ONE), (0.5, (0.1, 1), "float32", True)),
        ),
    )
)


# --- what the iterations take, and what they leave --------------------------------------------------------------------


def _run_length(run: Any) -> int:
    return 1 if run is None else len(range(*run))


def _runs(count: int, runs: tuple[Any, ...]) -> tuple[Any, ...]:
    """For each argument None (it is one entry), or the (start, stop, step) of the entries of it that are taken."""
    return runs or (None,) * count


def _pack_value(*rest: Any) -> Any:
    *parts, dtype, runs = rest
    if not runs and not np.ndim(parts[0]):
        # Numbers need none of what stack does for arrays.
        return np.array([np.asarray(one)[()] for one in parts], dtype=dtype)
    if not runs:
        return np.stack([np.asarray(one, dtype=dtype) for one in parts])
    taken = [
        np.asarray(one, dtype=dtype)[None if run is None else list(range(*run))]
        for one, run in zip(parts, runs, strict=True)
    ]
    return np.concatenate(taken)


def _pack_infer(types: Any, params: Any) -> Any:
    dtype, runs = params
    shapes = set()
    length = 0
    for one, run in zip(types, _runs(len(types), runs), strict=True):
        shapes.add(one.shape if run is None else one.shape[1:])
        length += _run_length(run)
        if run is not None and any(not 0 <= entry < one.shape[0] for entry in range(*run)):
            msg = f"entries {run} of an array of {one.shape[0]}"
            raise ValueError(msg)
        if not np.can_cast(one.dtype, dtype, casting="same_kind"):
            msg = f"a value of dtype {one.dtype} is not packed with those of {dtype}"
            raise ValueError(msg)
    if len(shapes) != 1:
        msg = f"entries of shapes {sorted(shapes)} do not make one array"
        raise ValueError(msg)
    return (length, *shapes.pop()), np.dtype(dtype)


def _pack_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    runs = _runs(len(types), params[1])
    start = sum(map(_run_length, runs[:k]))
    run = runs[k]
    if run is None:
        part = apply(unpack, (g,), (start,))
    else:
        entries = list(range(*run))
        part = apply(pack, (g,), (str(g.dtype), ((start, start + len(entries), 1),)))
        if entries != list(range(types[k].shape[0])):
            part = apply(index_add, (blank(g, types[k].shape, g.dtype), part, np.array(entries, np.intp)), (("?",),))
    return part if part.dtype == types[k].dtype else part.astype(types[k].dtype)


def _pack_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    dtype, runs = params
    spread = []
    for one, yes, run in zip(arguments, batched, _runs(len(arguments), runs), strict=True):
        if run is None:
            spread.append(one if yes else np.broadcast_to(one, (size, *np.shape(one))))
        elif yes:
            spread.append(np.moveaxis(one, 1, 0))
        else:
            shape = np.shape(one)
            spread.append(np.broadcast_to(np.reshape(one, (shape[0], 1, *shape[1:])), (shape[0], size, *shape[1:])))
    return np.moveaxis(apply(pack, _of_dtype(spread, dtype), params), 0, 1)


def _of_dtype(arguments: list[Any], dtype: str) -> list[Any]:
    return [one if one.dtype == np.dtype(dtype) else one.astype(dtype) for one in arguments]


def _packed_at(whole: Any, k: int, types: Any, params: Any) -> Any:
    lengths = list(map(_run_length, _runs(len(types), params[1])))
    start = sum(lengths[:k])
    return whole[start : start + lengths[k]] if params[1] and params[1][k] is not None else whole[start, ...]


def _packed_of(whole: Any, k: int, params: Any) -> Any:
    run = params[1][k] if params[1] else None
    if run is None:
        return whole
    start, stop, step = run
    return whole[start : None if stop < 0 else stop : step]


#: One array of entries. A Python number among them takes the dtype, as it does where it meets arrays of it.
pack: Any = register(
    Gather(
        name="pack",
        source=_pack_source,
        value=_pack_value,
        params=("dtype", "runs"),
        infer=_pack_infer,
        transpose=_pack_transpose,
        lands=_packed_at,
        takes=_packed_of,
        batch=_pack_batch,
        latex=r"\operatorname{{pack}}({0})",
        cost=_no_work,
        points=(
            (("", ""), ("float64", ())),
            (("3", "3", "3"), ("float64", ())),
            (("3", "4,3", "3"), ("float64", (None, (2, 0, -1), None))),
            (("4,3",), ("float64", ((3, -1, -1),))),
        ),
    )
)

unpack: Any = register(
    Gather(
        name="unpack",
        source="{0}[{entry}]",
        value=lambda x, entry: x[entry],
        params=("entry",),
        infer=lambda types, params: (key_shape(types[0].shape, params, ()), types[0].dtype),
        moves=lambda whole, params: (whole[params[0], ...], []),
        transpose=lambda k, g, types, arguments, params: apply(
            index_add, (blank(g, types[0].shape, types[0].dtype), g), (params,)
        ),
        batch=lambda batched, size, arguments, params: apply(getitem, arguments, ((":", *params),)),
        latex=r"{0}_{{{entry}}}",
        cost=_no_work,
        aliases=True,
        points=((("4",), (2,)), (("4,3",), (0,))),
    )
)
