"""Import what may not be installed, and what is named by text.

Packages that are not core dependencies are imported where they are used, through
:func:`import_extra`, so that a missing one says how to install it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from composer.errors import ConfigError, MissingDependencyError, did_you_mean

__all__ = [
    "MissingConditionalImportError",
    "import_extra",
    "import_from_file",
    "import_object",
]

DISTRIBUTION = "composer-ml"


class MissingConditionalImportError(MissingDependencyError):
    """A package of an extra is needed and not installed; the message says how to install it.

    Args:
        extra_deps_group: name of the extra, as in ``pip install 'composer-ml[NAME]'``.
        conda_package: name of the package that is missing.
        conda_channel: the conda channel that has it; ``None`` leaves conda out of the message.
    """

    def __init__(
        self,
        extra_deps_group: str,
        conda_package: str,
        conda_channel: str | None = "conda-forge",
    ) -> None:
        super().__init__(extra_deps_group, conda_package, conda_channel)
        self.extra_deps_group = extra_deps_group
        self.conda_package = conda_package
        self.conda_channel = conda_channel
        self.name = conda_package

    def __str__(self) -> str:
        text = (
            f"this needs {self.conda_package!r}, which is not installed. "
            f"Run: pip install '{DISTRIBUTION}[{self.extra_deps_group}]'"
        )
        if self.conda_channel is None:
            return text
        return f"{text} (with conda: conda install -c {self.conda_channel} {self.conda_package})"


def import_extra(module_name: str, extra: str, package: str | None = None) -> ModuleType:
    """Import an optional module.

    Args:
        module_name: the module, e.g. ``"torchvision.transforms"``.
        extra: the extra of Composer that installs it, e.g. ``"vision"``.
        package: name of the distribution, where it is not the first part of ``module_name``.

    Raises:
        ImportError: it is not installed; the message names the extra. A module that is installed
            and fails on an import of its own raises that error unchanged.
    """
    root = module_name.partition(".")[0]
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != root:
            raise
        raise MissingConditionalImportError(extra, package or root, None) from error


def import_object(name: str) -> Any:
    """Import an object by name.

    Args:
        name: ``"module:object"``; the object may be dotted, e.g. ``"pathlib:Path.home"``.

    Raises:
        ValueError: the name is not of this form.
        ImportError: there is no such module.
        AttributeError: the module does not have the object.

    Example:
        >>> import_object("math:pi")
        3.141592653589793
    """
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise ConfigError(f"{name!r} does not name an object; write 'module:object'")
    found: Any = importlib.import_module(module_name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            hint = did_you_mean(part, [each for each in dir(found) if not each.startswith("_")])
            raise AttributeError(
                f"{name!r}: {getattr(found, '__name__', found)!r} has no {part!r}.{hint}"
            ) from None
    return found


def import_from_file(name: str) -> Any:
    """Import an object of a file, as a user names it on a command line.

    The file's folder goes before others on the path, as when Python runs the file itself.

    Args:
        name: ``"path/to/file.py:object"``, or ``"module:object"`` as in :func:`import_object`.

    Raises:
        ValueError: the name is of neither form, or there is no such file.
        AttributeError: the file does not have the object.
    """
    path, _, attribute = name.rpartition(":")
    if not path.endswith(".py"):
        return import_object(name)
    file = Path(path).resolve()
    if not file.is_file():
        raise ConfigError(f"{name!r}: there is no file {str(file)!r}")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{name!r}: Python cannot import {str(file)!r}")
    module = importlib.util.module_from_spec(spec)
    # Known by name, so that its classes can be pickled by worker processes.
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return import_object(f"{file.stem}:{attribute}")
