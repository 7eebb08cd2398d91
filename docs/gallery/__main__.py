"""``python docs/gallery``: every function of the gallery is derived, and its page, text and LaTeX are written.

Each file beside this one is a function in plain NumPy that does not know that gradients exist, with the gradient that
textbooks give for it. The page shows both.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.containers import flatten

HERE = Path(__file__).resolve().parent

#: In the order in which a reader may want them.
ENTRIES = (
    "logistic_regression",
    "two_layer_network",
    "deep_network",
    "recurrent_network",
    "batch_normalisation",
    "attention",
    "gaussian_mixture",
    "kalman_filter",
    "rosenbrock",
    "lasso",
)


def load(name: str) -> ModuleType:
    """The module of an entry."""
    spec = importlib.util.spec_from_file_location(f"gallery.{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"gallery.{name}"] = module
    spec.loader.exec_module(module)
    return module


def flat(tree: Any) -> Any:
    """All numbers of a gradient in one vector."""
    return np.concatenate([np.ravel(leaf) for leaf in flatten(tree)[0]])


def gap(module: ModuleType) -> float:
    """The largest difference between the textbook's gradient and ours, over the largest entry."""
    f, args = module.problem()
    ours, theirs = flat(cr.grad(f, argnums=module.ARGNUMS)(*args)), flat(module.textbook(*args))
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


def beside(module: ModuleType) -> Any:
    """What the textbook says, for the page."""
    from chainrule.derive.page import Beside

    difference = gap(module)
    said = "to the last digit" if difference == 0.0 else f"to {difference:.0e} of the largest entry"
    return Beside(
        title="What the textbook says",
        formulas=module.TEXTBOOK,
        credit=module.SOURCE,
        code=inspect.getsource(module.textbook),
        remark=f"At this point the two agree {said}.",
    )


def main(out: Path) -> None:
    """Write the gallery to a folder."""
    from chainrule.derive.page import page

    out.mkdir(parents=True, exist_ok=True)
    for name in ENTRIES:
        module = load(name)
        f, args = module.problem()
        derivation = cr.derive(f, *args, argnums=module.ARGNUMS)
        made = page(derivation, title=module.TITLE, beside=beside(module))
        (out / f"{name}.html").write_text(made, encoding="utf-8")
        (out / f"{name}.txt").write_text(f"{derivation.text()}\n", encoding="utf-8")
        (out / f"{name}.tex").write_text(derivation.latex(standalone=True), encoding="utf-8")
        state = f"NOT VERIFIED: {', '.join(derivation.unverified)}" if derivation.unverified else "verified"
        print(f"{name:<22} {len(derivation.items):>4} steps  {len(made) / 1000:>6.0f} kB  {state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python docs/gallery", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "pages", help="folder for the files (default: %(default)s)")
    main(parser.parse_args().out)
