"""What no Python package brings is looked for, and in CI its absence fails."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "system_packages.py"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with a list of its own that wants one thing nobody has; nothing is installed."""
    spec = importlib.util.spec_from_file_location("system_packages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wanted = tmp_path / "system.txt"
    wanted.write_text("# a comment\n\ncommand:no-such-program  lost # why\n", "utf-8")
    monkeypatch.setattr(module, "LIST", wanted)
    monkeypatch.setattr(module, "install", lambda packages: None)
    return module


def test_the_list_is_read_without_comments(tool: ModuleType) -> None:
    assert tool.wanted() == [("command:no-such-program", "lost")]


def test_what_is_missing_fails_in_ci(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert tool.main() == 1
    assert "lost" in capsys.readouterr().out


def test_what_is_missing_is_named_elsewhere(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert tool.main() == 0
    assert "lost" in capsys.readouterr().out


def test_programs_and_headers_are_found(tool: ModuleType) -> None:
    assert tool.is_present("command:sh")
    assert not tool.is_present("command:no-such-program")
    assert not tool.is_present("header:no-such-header.h")


def test_a_line_of_another_kind_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="must begin with"):
        tool.is_present("font:Times")
