"""The floors of the house: who may import whom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import Import, Package, write_package

GROUND = {"_lazy", "_moved", "_version", "errors", "registry", "env"}
FLOORS = {
    "utils": 1,
    "storage": 2,
    "devices": 3,
    "distributed": 3,
    "core": 4,
    "checkpoint": 5,
    "data": 6,
    "models": 6,
    "metrics": 6,
    "loss": 6,
    "optim": 6,
    "algorithms": 7,
    "callbacks": 7,
    "loggers": 7,
    "profiler": 7,
    "trainer": 8,
    "testing": 8,
    "ablation": 8,
    "cli": 9,
}
# Neighbours on one floor that may be imported, from left to right.
SIDEWAYS = {
    ("distributed", "devices"),
    ("models", "metrics"),
    ("models", "loss"),
    ("metrics", "loss"),
    ("testing", "trainer"),
    ("ablation", "trainer"),
}
# Rooms that hold nothing but a face.
FACES_ONLY = {"functional"}


def room_of(module: str) -> str:
    """The folder (or file on the ground floor) a module belongs to."""
    return module.split(".")[1] if "." in module else ""


def floor_of(room: str) -> int:
    return 0 if room in GROUND or room == "" else FLOORS[room]


def complaint(each: Import) -> str | None:
    """What is wrong with an import between rooms, if anything is."""
    here, there = room_of(each.importer), room_of(each.module)
    if here == there:
        return None
    if there in FACES_ONLY or there == "":
        return "imports a face; import the module that defines the name"
    if "tracking" in (here, there):
        allowed = there in GROUND if here == "tracking" else here == "cli"
        return None if allowed else "tracking stands on the ground floor alone; only cli enters it"
    if floor_of(there) > floor_of(here):
        return f"points up, from floor {floor_of(here)} to floor {floor_of(there)}"
    if floor_of(there) == floor_of(here) > 0 and (here, there) not in SIDEWAYS:
        return f"points sideways on floor {floor_of(here)}"
    return None


def wrong_floors(package: Package) -> list[str]:
    return [f"{each}: {text}" for each in package.imports if (text := complaint(each)) is not None]


def used_faces(package: Package) -> list[str]:
    return [f"{each}: a face" for each in package.imports if each.module in package.faces]


def lost_modules(package: Package) -> list[str]:
    return [f"{each}: no such file" for each in package.imports if each.module not in package.files]


def private_names(package: Package) -> list[str]:
    imported = [f"{each}: private" for each in package.imports if _is_private_elsewhere(each)]
    inner = [name for name in package.files if name not in package.faces]
    return imported + [line for name in inner for line in _private_attributes(package, name)]


def _private_attributes(package: Package, importer: str) -> Iterator[str]:
    """Uses such as ``module._name`` of what was imported from another file."""
    taken = {(each.name or each.module.rpartition(".")[2]) for each in package.imports_of(importer)}
    for node in ast.walk(package.trees[importer]):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id in taken and node.attr.startswith("_") and not node.attr.startswith("__"):
            yield f"{importer}:{node.lineno} uses {node.value.id}.{node.attr}: private"


def _is_private_elsewhere(each: Import) -> bool:
    if each.name is not None and each.name.startswith("_") and not each.name.startswith("__"):
        return True
    # A module such as `_layers` belongs to its folder; the ground floor's are for everybody.
    folder, _, last = each.module.rpartition(".")
    return last.startswith("_") and folder not in ("composer", each.importer.rpartition(".")[0])


def cycles(package: Package) -> list[str]:
    """Rings of modules that import each other when they run."""
    graph: dict[str, set[str]] = {name: set() for name in package.files}
    for each in package.imports:
        if not each.for_types_only and each.module in graph and each.module != each.importer:
            graph[each.importer].add(each.module)
    return [" -> ".join([*ring, ring[0]]) for ring in _rings(graph)]


def _rings(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> Iterator[list[str]]:
        if name in path:
            yield path[path.index(name) :]
        elif name not in done:
            for target in sorted(graph[name]):
                yield from visit(target, [*path, name])
            done.add(name)

    for name in sorted(graph):
        yield from visit(name, [])


@pytest.fixture(scope="module")
def package() -> Package:
    return Package()


def test_every_folder_stands_on_a_floor(package: Package) -> None:
    rooms = {room_of(name) for name in package.files} - GROUND - FACES_ONLY - {"", "tracking"}
    assert rooms <= set(FLOORS), f"give these a floor in FLOORS: {sorted(rooms - set(FLOORS))}"


def test_imports_point_down(package: Package) -> None:
    assert not wrong_floors(package)


def test_nobody_inside_imports_a_face(package: Package) -> None:
    assert not used_faces(package)


def test_every_imported_module_has_a_file(package: Package) -> None:
    assert not lost_modules(package)


def test_private_names_stay_in_their_file(package: Package) -> None:
    assert not private_names(package)


def test_no_modules_import_each_other_in_a_ring(package: Package) -> None:
    assert not cycles(package)


# The rules catch what they should.


def test_an_import_that_points_up_is_caught_inside_a_function_too(tmp_path: Path) -> None:
    files = {
        "trainer/loop.py": "",
        "core/a.py": "def f():\n    from composer.trainer import loop\n",
    }
    assert "from floor 4 to floor 8" in wrong_floors(write_package(tmp_path, files))[0]


def test_an_import_for_types_may_not_point_up_either(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import composer.core.state\n"
    files = {"core/state.py": "", "utils/a.py": text}
    assert len(wrong_floors(write_package(tmp_path, files))) == 1


def test_neighbours_are_caught_unless_an_arrow_joins_them(tmp_path: Path) -> None:
    files = {
        "loss/loss.py": "import composer.models.base",
        "models/base.py": "import composer.loss.loss",
        "callbacks/a.py": "import composer.algorithms.b",
        "algorithms/b.py": "",
    }
    found = wrong_floors(write_package(tmp_path, files))
    assert [line.split(":")[0] for line in found] == ["composer.callbacks.a", "composer.loss.loss"]


def test_tracking_keeps_to_itself(tmp_path: Path) -> None:
    files = {
        "errors.py": "",
        "tracking/a.py": "import composer.errors\nimport composer.utils.b",
        "utils/b.py": "",
        "loggers/c.py": "import composer.tracking.a",
        "cli/d.py": "import composer.tracking.a",
    }
    found = wrong_floors(write_package(tmp_path, files))
    assert [line.split(" ")[0] for line in found] == [
        "composer.loggers.c:1",
        "composer.tracking.a:2",
    ]


def test_the_use_of_a_face_is_caught(tmp_path: Path) -> None:
    files = {
        "core/__init__.py": "",
        "core/event.py": "",
        "core/state.py": "from composer.core import Event\nfrom composer.core import event\n",
        "utils/old.py": "__getattr__, __dir__, __all__ = attach(__name__, __file__)",
        "trainer/a.py": "from composer.utils.old import name",
    }
    found = used_faces(write_package(tmp_path, files))
    assert [line.split(" ")[0] for line in found] == [
        "composer.core.state:1",
        "composer.trainer.a:1",
    ]


def test_a_private_name_from_another_file_is_caught(tmp_path: Path) -> None:
    files = {
        "_lazy.py": "",
        "core/a.py": "from composer.core.b import _hidden\nfrom composer.core._c import shown",
        "core/b.py": "import composer._lazy",
        "core/_c.py": "",
        "trainer/d.py": "from composer.core._c import shown",
        "trainer/e.py": "from composer.core import b\nb._hidden()",
    }
    found = private_names(write_package(tmp_path, files))
    assert [line.split(" ")[0] for line in found] == [
        "composer.core.a:1",
        "composer.trainer.d:1",
        "composer.trainer.e:2",
    ]


def test_a_ring_is_caught_unless_it_is_for_types_only(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import composer.core.a\n"
    files = {"core/a.py": "import composer.core.b\nimport composer.core.c", "core/c.py": text}
    assert not cycles(write_package(tmp_path, {**files, "core/b.py": ""}))
    ring = {**files, "core/b.py": "def f():\n    import composer.core.a"}
    assert cycles(write_package(tmp_path / "ring", ring)) == [
        "composer.core.a -> composer.core.b -> composer.core.a"
    ]


def test_an_import_of_a_missing_or_relative_module_is_caught(tmp_path: Path) -> None:
    files = {"core/a.py": "from . import b\nimport composer.utils.dist", "core/b.py": ""}
    assert len(lost_modules(write_package(tmp_path, files))) == 2
