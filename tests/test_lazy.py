"""Lazy faces: names load when asked for, and say what is wrong when they cannot."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

FACE = (
    "from composer._lazy import attach\n__getattr__, __dir__, __all__ = attach(__name__, __file__)"
)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Make and import a package `house` whose stub and modules are given."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(stub: str, **modules: str) -> ModuleType:
        folder = tmp_path / "house"
        folder.mkdir()
        folder.joinpath("__init__.py").write_text(FACE, "utf-8")
        folder.joinpath("__init__.pyi").write_text(stub, "utf-8")
        for name, text in modules.items():
            folder.joinpath(f"{name}.py").write_text(text, "utf-8")
        return importlib.import_module("house")

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == "house"]:
        del sys.modules[name]


def test_a_name_loads_its_module_when_first_asked_for(make: Callable[..., ModuleType]) -> None:
    house = make("from house.door import Door as Door", door="class Door: pass")
    assert "house.door" not in sys.modules
    assert house.Door.__module__ == "house.door"


def test_a_loaded_name_stays_in_the_package(make: Callable[..., ModuleType]) -> None:
    house = make("from house.door import Door as Door", door="class Door: pass")
    first = house.Door
    assert vars(house)["Door"] is first


def test_a_name_can_be_a_module_and_its_place_relative(make: Callable[..., ModuleType]) -> None:
    stub = (
        "from .door import Door as Door\nfrom house import door as door\nfrom . import key as key"
    )
    house = make(stub, door="class Door: pass", key="")
    assert house.door is sys.modules["house.door"]
    assert house.Door is house.door.Door
    assert house.key is sys.modules["house.key"]


def test_another_name_is_no_re_export_as_type_checkers_have_it(
    make: Callable[..., ModuleType],
) -> None:
    house = make("from house.door import Door as Gate", door="class Door: pass")
    assert list(house.__all__) == []


def test_star_import_takes_the_names_of_the_stub(make: Callable[..., ModuleType]) -> None:
    make("from house.door import Door as Door\nfrom house.door import key", door="Door = key = 1")
    scope: dict[str, object] = {}
    exec("from house import *", scope)
    assert set(scope) - {"__builtins__"} == {"Door"}


def test_dir_lists_names_that_are_not_loaded(make: Callable[..., ModuleType]) -> None:
    house = make("from house.door import Door as Door")
    assert "Door" in dir(house)


def test_all_is_a_sequence_of_names_in_the_order_of_the_stub(
    make: Callable[..., ModuleType],
) -> None:
    house = make("from house.door import b as b\nfrom house.door import a as a")
    assert list(house.__all__) == ["b", "a"]
    assert (house.__all__[0], house.__all__[:1], len(house.__all__)) == ("b", ["b"], 2)
    assert "a" in house.__all__
    assert repr(house.__all__) == "['b', 'a']"


def test_a_wrong_name_is_answered_with_the_nearest(make: Callable[..., ModuleType]) -> None:
    house = make("from house.door import Door as Door\nfrom house.door import Window as Window")
    with pytest.raises(AttributeError, match=r"'house' has no attribute 'Dor'.*'Door'") as caught:
        _ = house.Dor
    assert caught.value.name == "Dor"
    assert caught.value.obj is house


def test_hasattr_answers_no_for_a_wrong_name(make: Callable[..., ModuleType]) -> None:
    assert not hasattr(make(""), "anything")


def test_a_submodule_can_be_reached_as_attribute(make: Callable[..., ModuleType]) -> None:
    house = make("", door="height = 2")
    assert house.door.height == 2


def test_a_private_submodule_is_not_imported_by_asking(make: Callable[..., ModuleType]) -> None:
    house = make("", _door="")
    with pytest.raises(AttributeError):
        _ = house._door


def test_an_error_inside_a_submodule_is_not_hidden(make: Callable[..., ModuleType]) -> None:
    house = make("from house.door import Door as Door", door="import nowhere_to_be_found")
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        _ = house.Door
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        _ = house.door


def test_an_attribute_error_inside_a_submodule_becomes_an_import_error(
    make: Callable[..., ModuleType],
) -> None:
    house = make("from house.door import Door as Door", door="import sys\nsys.no_such_thing")
    with pytest.raises(ImportError, match="no_such_thing"):
        hasattr(house, "Door")


def test_a_stub_that_promises_too_much_is_named(make: Callable[..., ModuleType]) -> None:
    house = make("from house.door import Door as Door", door="")
    with pytest.raises(ImportError, match=r"house\.Door is listed in .*__init__\.pyi"):
        _ = house.Door


def test_a_lost_stub_is_named(make: Callable[..., ModuleType], tmp_path: Path) -> None:
    house = make("")
    tmp_path.joinpath("house", "__init__.pyi").unlink()
    with pytest.raises(ImportError, match=r"has lost .*Reinstall composer"):
        dir(house)
