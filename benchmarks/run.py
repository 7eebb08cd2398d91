"""Every benchmark, one after the other, each in a process of its own: what ``make bench`` runs.

    python benchmarks/run.py [--quick] [NAME ...]

A benchmark is a script in this folder. The exit code is 1 if one of them ended with an error or said that something is
wrong; figures alone never fail, because they depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent


def scripts() -> list[Path]:
    """The benchmarks in this folder, by name."""
    return sorted(path for path in HERE.glob("*.py") if path.name != "run.py" and not path.name.startswith("_"))


def machine() -> str:
    """What the figures were measured on."""
    versions = []
    for name in ("numpy", "scipy", "autograd"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}"


def main(argv: list[str] | None = None) -> int:
    """Run them; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (file names without .py)")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, where a benchmark knows the option")
    options = parser.parse_args(argv)
    chosen = scripts()
    unknown = sorted(set(options.names) - {path.stem for path in chosen})
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(path.stem for path in chosen)}")
    print(machine(), flush=True)
    failed = []
    for path in chosen:
        if options.names and path.stem not in options.names:
            continue
        title = path.read_text(encoding="utf-8").splitlines()[0].strip('"').rstrip(".")
        print(f"\n=== {path.stem}: {title}\n", flush=True)
        start = time.perf_counter()
        quick = ["--quick"] if options.quick and '"--quick"' in path.read_text(encoding="utf-8") else []
        code = subprocess.run([sys.executable, str(path), *quick], check=False).returncode
        print(f"\n    {path.stem}: {time.perf_counter() - start:.1f} s, exit code {code}", flush=True)
        if code:
            failed.append(path.stem)
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall benchmarks ended well")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
