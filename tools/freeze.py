"""Print the exact versions of all that requirements/dev.in brings into this environment.

Only what is reached from there is printed, so that a package installed by hand does not slip in.
Torch has a file of its own, and so it is left out, with what a CUDA build of it would add.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1] / "requirements"
LEFT_OUT = re.compile(r"^(torch|triton|nvidia-.*|cuda-.*|pip|setuptools)$")


def reached() -> dict[str, str]:
    """Version of every distribution that dev.in leads to, extras included."""
    lines = ROOT.joinpath("dev.in").read_text("utf-8").splitlines()
    waiting = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    seen: set[tuple[str, str]] = set()
    versions: dict[str, str] = {}
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        for extra in {"", *wanted.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                found = distribution(name)
            except PackageNotFoundError:
                sys.exit(f"{name} is not installed: run `make pins`")
            versions[name] = found.version
            for text in found.requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return versions


if __name__ == "__main__":
    print("# Written by `make pins` from dev.in. Torch stands in torch.txt and goes first.")
    for name, version in sorted(reached().items()):
        if not LEFT_OUT.match(name):
            print(f"{name}=={version}")
