"""What a bug report and a checkpoint should say about the machine and the installation.

`get_composer_env_dict` is small and quick and goes into every checkpoint; `print_env` adds
torch's own report, which asks several programs and takes seconds. `configure_excepthook` prints
that report when a program ends with an error. Importing this module changes nothing, and torch is
loaded only when asked.
"""

import json
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from composer._version import __version__
from composer.env import ENV_REPORT, LOCAL_WORLD_SIZE

__all__ = [
    "configure_excepthook",
    "disable_env_report",
    "enable_env_report",
    "get_composer_env_dict",
    "print_env",
]

ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]

# None: as COMPOSER_ENV_REPORT says.
_report_wanted: bool | None = None


def get_composer_env_dict() -> dict[str, str | int | None]:
    """Describe Composer and the machine in a few JSON values.

    Returns:
        ``composer_version``; ``composer_commit_hash`` (of a git checkout or an installation from
        git, else ``None``); ``host_processor_model_name``; ``host_processor_core_count`` (logical
        cores); ``local_world_size`` (processes on this machine); ``accelerator_model_name`` and
        ``cuda_device_count`` (``None`` and 0 without an accelerator).
    """
    name, count = _accelerators()
    return {
        "composer_version": __version__,
        "composer_commit_hash": _commit_hash(),
        "host_processor_model_name": _processor_name(),
        "host_processor_core_count": os.cpu_count(),
        "local_world_size": LOCAL_WORLD_SIZE.get() or 1,
        "accelerator_model_name": name,
        "cuda_device_count": count,
    }


def print_env(file: TextIO | None = None) -> None:
    """Print the report about the environment.

    Args:
        file: where to; standard output if ``None``.
    """
    print(_report(), file=sys.stdout if file is None else file)


def enable_env_report() -> None:
    """Let the exception hook print the report, whatever ``COMPOSER_ENV_REPORT`` says."""
    global _report_wanted  # noqa: PLW0603 - a switch for the whole process, like the hook itself
    _report_wanted = True


def disable_env_report() -> None:
    """Keep the exception hook from printing the report."""
    global _report_wanted  # noqa: PLW0603 - a switch for the whole process, like the hook itself
    _report_wanted = False


def configure_excepthook() -> None:
    """Print the report when the program ends with an error, after the usual traceback.

    The hook that was set before still runs first. Inside IPython its own way is used. Calling this
    again changes nothing.
    """
    shell = _ipython_shell()
    if shell is not None:
        shell.set_custom_exc((Exception,), _ipython_handler)
    elif not isinstance(sys.excepthook, _ReportingHook):
        sys.excepthook = _ReportingHook(sys.excepthook)


class _ReportingHook:
    """An exception hook that adds the report to what another hook prints."""

    def __init__(self, previous: ExceptHook) -> None:
        self._previous = previous

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self._previous(kind, error, trace)
        if issubclass(kind, Exception):  # a Ctrl-C is no bug
            _print_report_if_wanted()


def _ipython_shell() -> Any:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _ipython_handler(
    shell: Any, kind: Any, error: Any, trace: Any, tb_offset: int | None = None
) -> None:
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    _print_report_if_wanted()


def _print_report_if_wanted() -> None:
    if not (ENV_REPORT.get() if _report_wanted is None else _report_wanted):
        return
    try:
        print(f"\n{_report()}", file=sys.stderr)
    except Exception:  # noqa: BLE001 - the user's own error matters; ours must not hide it
        traceback.print_exc()


def _report() -> str:
    labels = {
        "composer_version": "Composer version",
        "composer_commit_hash": "Composer commit",
        "host_processor_model_name": "Processor",
        "host_processor_core_count": "Logical cores",
        "local_world_size": "Processes on this machine",
        "accelerator_model_name": "Accelerator",
        "cuda_device_count": "CUDA devices",
    }
    values = get_composer_env_dict()
    lines = [f"{label}: {values[key]}" for key, label in labels.items()]
    return "\n".join(["Composer", "--------", *lines, "", "PyTorch", "-------", _torch_report()])


def _torch_report() -> str:
    try:
        from torch.utils import collect_env
    except ImportError as error:
        return f"not to be had: {error}"
    return collect_env.get_pretty_env_info()


def _accelerators() -> tuple[str | None, int]:
    try:
        import torch
    except ImportError:
        return None, 0
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0), torch.cuda.device_count()
    if torch.backends.mps.is_available():
        return "Apple Metal", 0
    return None, 0


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _commit_hash() -> str | None:
    try:
        origin = json.loads(distribution("composer-ml").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        origin = {}
    installed_from: str | None = origin.get("vcs_info", {}).get("commit_id")
    return installed_from or _checkout_hash(Path(__file__).resolve().parents[1])


def _checkout_hash(package: Path) -> str | None:
    # The package may lie in a virtual environment inside somebody else's repository, so git has to
    # know this very file.
    known = _git(package, "ls-files", "--error-unmatch", "_version.py")
    return None if known is None else _git(package, "rev-parse", "HEAD")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
