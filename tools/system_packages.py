"""Look for the programs named in requirements/system.txt and install what is missing.

Installing needs root and apt-get. Where that is not to be had, what is missing is named; with
CI=true that is a failure, so that no test is skipped there unnoticed.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

LIST = Path(__file__).resolve().parents[1] / "requirements" / "system.txt"


def wanted() -> list[tuple[str, str]]:
    """What to look for and the package that has it, line by line."""
    lines = (line.partition("#")[0].split() for line in LIST.read_text("utf-8").splitlines())
    return [(line[0], line[1]) for line in lines if line]


def is_present(probe: str) -> bool:
    """Whether ``command:NAME`` is on the PATH or ``header:NAME`` is among Python's headers."""
    kind, _, name = probe.partition(":")
    if kind == "command":
        return shutil.which(name) is not None
    if kind == "header":
        return (Path(sysconfig.get_path("include")) / name).exists()
    raise ValueError(f"{LIST}: {probe!r} must begin with 'command:' or 'header:'.")


def install(packages: list[str]) -> None:
    """Install Debian packages if this process may; otherwise do nothing."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "-q", *arguments], env=environment, check=False)


def main() -> int:
    """Install what is missing; fail in CI if something still is."""
    missing = [each for each in wanted() if not is_present(each[0])]
    if missing:
        install([package for _, package in missing])
    missing = [each for each in missing if not is_present(each[0])]
    for probe, package in missing:
        print(f"missing: {probe} (Debian package {package}); tests that need it cannot run")
    return 1 if missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
