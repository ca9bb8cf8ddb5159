"""Module paths of old that lead to today's modules.

``import composer.utils.dist`` gives the very module ``composer.distributed.comm``: same
functions, same state, one object under two names. Nothing is loaded before an old path is
imported, and an alias whose target does not exist is no module, as if this file did not name it.

`install` puts one finder in front of Python's own; it looks at names that begin with
``composer.`` and leaves everything else alone. ``composer/__init__.py`` calls it.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader as _LoaderBase
else:
    # importlib.abc costs 25 ms to import on Python 3.11, and only type checkers need it here.
    _LoaderBase = object

# Old path -> the module that is now there.
MOVED = {
    "composer.algorithms.alibi.attention_surgery_functions": (
        "composer.algorithms._alibi_attention"
    ),
    "composer.algorithms.alibi.attention_surgery_functions.utils": (
        "composer.algorithms._alibi_attention"
    ),
    "composer.algorithms.gated_linear_units.gated_linear_unit_layers": (
        "composer.algorithms._gated_layers"
    ),
    "composer.algorithms.stochastic_depth.stochastic_layers": (
        "composer.algorithms._stochastic_depth_layers"
    ),
    "composer.algorithms.warnings": "composer.utils.warnings",
    "composer.loggers.logger": "composer.core.logger",
    "composer.loggers.logger_destination": "composer.core.logger_destination",
    "composer.utils.device": "composer.devices.select",
    "composer.utils.dist": "composer.distributed.comm",
    "composer.utils.inference": "composer.checkpoint.export",
    "composer.utils.object_store.gcs_object_store": "composer.storage.gcs",
    "composer.utils.object_store.libcloud_object_store": "composer.storage.libcloud",
    "composer.utils.object_store.object_store": "composer.storage.object_store",
    "composer.utils.object_store.oci_object_store": "composer.storage.oci",
    "composer.utils.object_store.s3_object_store": "composer.storage.s3",
    "composer.utils.object_store.sftp_object_store": "composer.storage.sftp",
    "composer.utils.object_store.utils": "composer.storage.uri",
    "composer.utils.parallelism": "composer.distributed.config",
    "composer.utils.remote_uploader": "composer.storage.remote_uploader",
    "composer.utils.reproducibility": "composer.distributed.reproducibility",
}

# Folders in which each method once was a package holding a module of the same name
# (`composer.algorithms.mixup.mixup`) and is one file today.
DOUBLED = ("composer.algorithms.",)


def install() -> None:
    """Let old module paths be imported. Calling it again changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def target_of(name: str) -> str | None:
    """The module an old path leads to, or ``None`` if it is no alias or leads nowhere."""
    target = MOVED.get(name) or _single(name)
    if target is None or not _exists(target):
        return None
    return target


def _single(name: str) -> str | None:
    head, _, last = name.rpartition(".")
    doubled = head.startswith(DOUBLED) and head.endswith(f".{last}")
    return head if doubled else None


def _exists(module_name: str) -> bool:
    if module_name in sys.modules:
        return True
    try:
        return find_spec(module_name) is not None
    except ModuleNotFoundError:
        return False


class _Finder:
    """Finds aliases, and lets single-file methods be asked for the module of old inside them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("composer."):
            return None
        is_single = fullname.startswith(DOUBLED) and fullname.count(".") == 2
        if is_single and fullname not in MOVED:
            return self._spec_with_room(fullname, path, target)
        real = target_of(fullname)
        return None if real is None else ModuleSpec(fullname, _AliasLoader(real))

    def _spec_with_room(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        # Python refuses to import `mixup.mixup` before it asks any finder unless `mixup` has a
        # search path. An empty one is enough: then this finder is asked.
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.submodule_search_locations is None:
                    spec.submodule_search_locations = []
                return spec
        return None


class _AliasLoader(_LoaderBase):
    """Puts the real module under the old name."""

    def __init__(self, real: str) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python to make the placeholder."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the real module in the placeholder's stead."""
        # Python takes what stands in sys.modules afterwards for the imported module, so the real
        # one is used as it is and its own __spec__ stays untouched.
        sys.modules[module.__name__] = import_module(self._real)
