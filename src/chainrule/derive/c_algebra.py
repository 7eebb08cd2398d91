"""Steps of linear algebra in C: which routine is called for each matrix of a stack, with what memory to work in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.derive.c_arrays import Affine, Lazy, Memory, token
from chainrule.derive.c_expression import C_TYPES, cast
from chainrule.derive.c_places import line_of

__all__ = ["ALGEBRA"]

#: By the ``native`` name of a rule: code ``(body, count, step)`` that writes the step.
ALGEBRA: dict[str, Callable[[Any, int, Any], None]] = {}

# --- calls ------------------------------------------------------------------------------------------------------------


class _Call:
    """A call of a routine for each matrix of a stack."""

    def __init__(self, body: Any, count: int, step: Any) -> None:
        import numpy as np

        self.body, self.count, self.step = body, count, step
        self.dtype = body.program.types[step.outputs[0]].dtype
        if self.dtype.kind != "f":
            raise body.no_form(step)
        self.real = C_TYPES[self.dtype.name]
        body.cite(count)
        self.arguments = [self._block(body.node(one)) for one in step.inputs]
        self.results = [body.room(var) for var in step.outputs]
        self.int = np.dtype(np.int32)

    def _block(self, node: Any) -> Memory:
        if node.dtype != self.dtype:
            plain = node
            node = Lazy(
                plain.shape, self.dtype, lambda index: cast(plain.at(index), plain.dtype, self.dtype), plain.reads
            )
        made: Memory = self.body.in_memory(node)
        return made

    def room(self, size: int, wish: str, dtype: Any = None) -> str:
        """Memory for the routine to work in."""
        held = self.body.file.buffer(dtype or self.dtype, (max(size, 1),), self.body.file.names.new(wish))
        return token(held)

    def run(self, name: str, cores: Sequence[int], line: Callable[..., str], failure: str = "") -> None:
        """Write the call; ``cores`` are how many trailing axes of each argument and result belong to one matrix."""
        body = self.body
        body.file.routines.add((name, self.real))
        blocks = [*self.arguments, *self.results]
        batch = blocks[0].shape[: len(blocks[0].shape) - cores[0]]

        def entry(index: list[Affine]) -> None:
            pointers = []
            for one, core in zip(blocks, cores, strict=True):
                place = one.place([*index, *[Affine()] * core])
                pointers.append(f"{token(one.buffer)} + {place}" if str(place) != "0" else token(one.buffer))
            text = line(*pointers)
            if failure:
                number = body.file.fails(f"{failure} ({line_of(body, self.step)})")
                body.say(f"if ({name}_{self.real}({text})) return {number};")
            else:
                body.say(f"{name}_{self.real}({text});" if "=" not in text else text)

        body.nest(batch, entry)
        for var, one in zip(self.step.outputs, self.results, strict=True):
            body.nodes[var] = one


def _algebra(native: str) -> Callable[[Any], Any]:
    def keep(code: Any) -> Any:
        ALGEBRA[native] = lambda body, count, step: code(_Call(body, count, step))
        return code

    return keep


def _sizes(call: _Call) -> tuple[int, int]:
    m, n = call.arguments[0].shape[-2:]
    return m, n


_SINGULAR = "a singular matrix"


@_algebra("solve")
def solve(call: _Call) -> None:
    a, b = call.arguments
    n = a.shape[-1]
    core = 1 if len(b.shape) == len(a.shape) - 1 else 2
    m = 1 if core == 1 else b.shape[-1]
    lu, rows = call.room(n * n, "lu"), call.room(n, "rows", call.int)
    call.run("solve", (2, core, core), lambda a, b, x: f"{n}, {m}, {a}, {b}, {x}, {lu}, {rows}", _SINGULAR)


@_algebra("solve_triangular")
def solve_triangular(call: _Call) -> None:
    a, b = call.arguments
    n, (lower, unit) = a.shape[-1], call.step.params
    core = 1 if len(b.shape) == len(a.shape) - 1 else 2
    m = 1 if core == 1 else b.shape[-1]
    call.run(
        "solve_triangle",
        (2, core, core),
        lambda a, b, x: f"{n}, {m}, {int(lower)}, {int(unit)}, {a}, {b}, {x}",
        _SINGULAR,
    )


@_algebra("inv")
def inv(call: _Call) -> None:
    n = _sizes(call)[1]
    one, lu, rows = call.room(n * n, "one"), call.room(n * n, "lu"), call.room(n, "rows", call.int)
    call.run("invert", (2, 2), lambda a, x: f"{n}, {a}, {x}, {one}, {lu}, {rows}", _SINGULAR)


@_algebra("det")
def det(call: _Call) -> None:
    n = _sizes(call)[1]
    lu, rows = call.room(n * n, "lu"), call.room(n, "rows", call.int)
    call.run("determinant", (2, 0), lambda a, y: f"*({y}) = determinant_{call.real}({n}, {a}, {lu}, {rows});")


@_algebra("slogdet")
def slogdet(call: _Call) -> None:
    n = _sizes(call)[1]
    lu, rows = call.room(n * n, "lu"), call.room(n, "rows", call.int)
    call.run("log_determinant", (2, 0, 0), lambda a, sign, y: f"{n}, {a}, {sign}, {y}, {lu}, {rows}")


@_algebra("cholesky")
def cholesky(call: _Call) -> None:
    n, (lower,) = _sizes(call)[1], call.step.params
    call.run("cholesky", (2, 2), lambda a, x: f"{n}, {int(lower)}, {a}, {x}", "a matrix that is not positive definite")


@_algebra("eigh")
def eigh(call: _Call) -> None:
    n, (lower,) = _sizes(call)[1], call.step.params
    work = call.room(n * n, "rotated")
    call.run("symmetric_eigen", (2, 1, 2), lambda a, w, v: f"{n}, {int(lower)}, {a}, {w}, {v}, {work}")


@_algebra("eigvalsh")
def eigvalsh(call: _Call) -> None:
    n, (lower,) = _sizes(call)[1], call.step.params
    vectors, work = call.room(n * n, "vectors"), call.room(n * n, "rotated")
    call.run("symmetric_eigen", (2, 1), lambda a, w: f"{n}, {int(lower)}, {a}, {w}, {vectors}, {work}")


def _svd_rooms(call: _Call) -> tuple[str, str]:
    m, n = _sizes(call)
    return call.room(m * n, "x"), call.room(min(m, n) ** 2, "y")


@_algebra("svd")
def svd(call: _Call) -> None:
    m, n = _sizes(call)
    x, y = _svd_rooms(call)
    call.run("singular", (2, 2, 1, 2), lambda a, u, s, vt: f"{m}, {n}, {a}, {u}, {s}, {vt}, {x}, {y}")


@_algebra("svdvals")
def svdvals(call: _Call) -> None:
    m, n = _sizes(call)
    u, vt = call.room(m * min(m, n), "u"), call.room(n * min(m, n), "vt")
    x, y = _svd_rooms(call)
    call.run("singular", (2, 1), lambda a, s: f"{m}, {n}, {a}, {u}, {s}, {vt}, {x}, {y}")


@_algebra("qr")
def qr(call: _Call) -> None:
    m, n = _sizes(call)
    h, t = call.room(m * n, "h"), call.room(n, "tau")
    call.run("householder", (2, 2, 2), lambda a, q, r: f"{m}, {n}, {a}, {q}, {r}, {h}, {t}")


@_algebra("pinv")
def pinv(call: _Call) -> None:
    (m, n), (least,) = _sizes(call), call.step.params
    k = min(m, n)
    u, s, vt = call.room(m * k, "u"), call.room(k, "s"), call.room(n * k, "vt")
    x, y = _svd_rooms(call)
    call.run("pseudo_inverse", (2, 2), lambda a, p: f"{m}, {n}, {least!r}, {a}, {p}, {u}, {s}, {vt}, {x}, {y}")


def _cofactor_rooms(call: _Call) -> str:
    n = _sizes(call)[1]
    sizes = (("u", n * n), ("s", n), ("vt", n * n), ("x", n * n), ("y", n * n))
    rooms = [call.room(size, wish) for wish, size in sizes]
    return ", ".join([*rooms, call.room(n, "rows", call.int)])


@_algebra("cofactor")
def cofactor(call: _Call) -> None:
    n, rooms = _sizes(call)[1], _cofactor_rooms(call)
    call.run("cofactors", (2, 2), lambda a, c: f"{n}, {a}, {c}, {rooms}")


@_algebra("cofactor_change")
def cofactor_change(call: _Call) -> None:
    n, rooms = _sizes(call)[1], _cofactor_rooms(call)
    call.run("cofactor_change", (2, 2, 2), lambda a, e, c: f"{n}, {a}, {e}, {c}, {rooms}")


@_algebra("expm")
def expm(call: _Call) -> None:
    n = _sizes(call)[1]
    rooms = ", ".join(call.room(n * n, wish) for wish in ("x", "p2", "p4", "p6", "u", "v", "lu"))
    rows = call.room(n, "rows", call.int)
    call.run("exponential", (2, 2), lambda a, e: f"{n}, {a}, {e}, {rooms}, {rows}", _SINGULAR)
