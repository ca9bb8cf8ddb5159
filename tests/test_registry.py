"""Registries find classes by name, in faces, entry points and what was registered by hand."""

import enum
from importlib.metadata import EntryPoint

import pytest

from composer import registry
from composer.errors import ArgumentTypeError, ConfigError, UnknownNameError
from composer.registry import Registry


class Shape:
    pass


class Square(Shape):
    pass


class Round(Shape):
    pass


@pytest.fixture
def shapes() -> Registry[Shape]:
    return Registry("shape", face=None, base=f"{__name__}:Shape", group="composer.tests.shapes")


@pytest.fixture
def announce(monkeypatch: pytest.MonkeyPatch):
    """Let installed packages announce entry points."""

    def announce(*points: tuple[str, str]) -> None:
        group = "composer.tests.shapes"
        found = [EntryPoint(name=name, value=value, group=group) for name, value in points]
        monkeypatch.setattr(registry, "_points", lambda _: found)

    return announce


def test_a_registered_class_is_found_by_its_name(shapes: Registry[Shape]) -> None:
    assert shapes.register(Square) is Square
    assert shapes.get("Square") is Square
    assert "Square" in shapes
    assert shapes.names() == ["Square"]


def test_a_class_can_be_registered_under_another_name(shapes: Registry[Shape]) -> None:
    shapes.register(Square, name="box")
    assert shapes.get("box") is Square


def test_a_wrong_name_is_answered_with_the_nearest(shapes: Registry[Shape]) -> None:
    shapes.register(Square)
    with pytest.raises(UnknownNameError, match=r"unknown shape 'Sqare'\. Did you mean 'Square'"):
        shapes.get("Sqare")


def test_registering_the_same_class_again_is_no_override(shapes: Registry[Shape]) -> None:
    shapes.register(Square)
    shapes.register(Square)
    assert shapes.get("Square") is Square


def test_a_second_class_of_a_name_is_refused(shapes: Registry[Shape]) -> None:
    shapes.register(Square)
    with pytest.raises(ConfigError, match="already is"):
        shapes.register(Round, name="Square")
    assert shapes.get("Square") is Square


@pytest.mark.parametrize("wrong", [int, enum.Enum])
def test_a_class_of_another_kind_is_refused(shapes: Registry[Shape], wrong: type) -> None:
    with pytest.raises(ArgumentTypeError, match="not a shape"):
        shapes.register(wrong)
    assert wrong.__name__ not in shapes


def test_an_announced_class_is_found(shapes: Registry[Shape], announce) -> None:
    announce(("Round", f"{__name__}:Round"))
    assert shapes.get("Round") is Round


def test_a_name_claimed_twice_is_refused(shapes: Registry[Shape], announce) -> None:
    announce(("Round", f"{__name__}:Round"), ("Round", f"{__name__}:Square"))
    with pytest.raises(ConfigError, match="claimed by"):
        shapes.get("Round")


def test_an_announced_thing_of_another_kind_is_refused(shapes: Registry[Shape], announce) -> None:
    announce(("Round", "builtins:int"))
    with pytest.raises(ArgumentTypeError, match="not a shape"):
        shapes.get("Round")
    assert shapes.names() == []


def test_names_of_a_face_are_found_and_other_things_there_left_out() -> None:
    devices = Registry(
        "CPU",
        face="composer.devices",
        base="composer.devices.device_cpu:DeviceCPU",
        group="composer.tests.none",
    )
    assert devices.names() == ["DeviceCPU"]
    with pytest.raises(ArgumentTypeError):
        devices.get("Device")


@pytest.mark.parametrize(
    "kind",
    [registry.ALGORITHMS, registry.CALLBACKS, registry.LOGGERS],
    ids=lambda each: each.kind,
)
def test_the_own_registries_load_all_they_list(kind: Registry[object]) -> None:
    for name in kind.names():
        assert kind.get(name).__name__ == name
