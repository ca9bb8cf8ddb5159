"""Old module paths lead to the very modules of today."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

from composer._moved import DOUBLED, MOVED, target_of
from tests.house.source import Package

PACKAGE = Package()
ALIASES = sorted(alias for alias, target in MOVED.items() if target in PACKAGE.files)
METHODS = sorted(
    name
    for name, path in PACKAGE.files.items()
    if name.startswith(DOUBLED) and path.name != "__init__.py" and name.count(".") == 2
)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_real_module(alias: str) -> None:
    parent, _, last = alias.rpartition(".")
    real = importlib.import_module(MOVED[alias])
    assert importlib.import_module(alias) is real
    assert getattr(importlib.import_module(parent), last) is real
    assert real.__name__ == real.__spec__.name == MOVED[alias]


@pytest.mark.parametrize("name", [name for name in METHODS if "._" not in name])
def test_a_method_has_its_doubled_path(name: str) -> None:
    real = importlib.import_module(name)
    last = name.rpartition(".")[2]
    own = vars(real).get(last)
    assert own is None or own is real, f"{name}.{last} would be replaced by the alias"
    assert importlib.import_module(f"{name}.{last}") is real


@pytest.mark.parametrize("alias", sorted(MOVED))
def test_no_file_lies_at_an_old_path(alias: str) -> None:
    assert alias not in PACKAGE.files


# A stub cannot lie in the folder of a method that is one file.
IN_FOLDERS = [name for name in ALIASES if name.rpartition(".")[0] in PACKAGE.faces]


@pytest.mark.parametrize("alias", IN_FOLDERS)
def test_type_checkers_find_an_alias_too(alias: str) -> None:
    stub = PACKAGE.root.joinpath(*alias.split(".")).with_suffix(".pyi")
    assert stub.read_text("utf-8") == f"from {MOVED[alias]} import *\n"


@pytest.mark.parametrize(
    "name", ["composer.utils.dits", "composer.core.mixup.mixup", "composer.algorithms.no.no"]
)
def test_other_paths_are_no_modules(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


def test_an_alias_without_target_is_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MOVED, "composer.utils.once", "composer.utils.never_written")
    assert target_of("composer.utils.once") is None
    with pytest.raises(ModuleNotFoundError, match=r"composer\.utils\.once"):
        importlib.import_module("composer.utils.once")


def test_an_alias_loads_its_target_only_when_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, composer.utils\n"
        "from composer import _moved\n"
        "_moved.MOVED['composer.utils.elder'] = 'composer.core.event'\n"
        "assert 'composer.core.event' not in sys.modules\n"
        "import composer.utils.elder as elder\n"
        "assert elder is sys.modules['composer.core.event']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_installing_twice_leaves_one_finder() -> None:
    from composer import _moved

    before = list(sys.meta_path)
    _moved.install()
    assert sys.meta_path == before


@pytest.mark.skipif(
    importlib.util.find_spec("composer.distributed.comm") is None, reason="comm is not there"
)
def test_dist_is_one_module_under_both_names_and_in_both_spellings() -> None:
    import composer.distributed.comm
    import composer.utils.dist
    from composer.utils import dist

    assert dist is composer.utils.dist is composer.distributed.comm
