"""The first word on the command line decides what happens."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import composer
from composer.cli.main import SUBCOMMANDS, Subcommand, available, main
from composer.errors import ConfigError


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the launcher was called with; it returns the status 7."""
    calls: list[list[str]] = []
    launcher = ModuleType("composer.cli.launcher")
    launcher.main = lambda words: calls.append(words) or 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "composer.cli.launcher", launcher)
    return calls


@pytest.fixture
def subcommand(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A subcommand `greet` for the time of the test."""
    module = ModuleType("composer.cli.greet")
    module.__spec__ = type(sys.__spec__)("composer.cli.greet", None)
    monkeypatch.setitem(sys.modules, "composer.cli.greet", module)
    monkeypatch.setitem(SUBCOMMANDS, "greet", Subcommand("composer.cli.greet", "say hello"))
    return module


@pytest.mark.parametrize(
    "words", [["train.py", "--lr", "1"], ["-n", "2", "env"], ["./env"], ["-m", "package.train"]]
)
def test_anything_that_is_no_subcommand_is_launched(
    words: list[str], launched: list[list[str]]
) -> None:
    assert main(words) == 7
    assert launched == [words]


def test_a_reserved_word_runs_its_subcommand_with_the_other_words(
    subcommand: ModuleType, launched: list[list[str]]
) -> None:
    subcommand.main = len  # type: ignore[attr-defined]
    assert main(["greet", "a", "b"]) == 2
    assert launched == []


def test_an_error_of_ours_is_one_line(
    subcommand: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> int:
        raise ConfigError(f"{words!r} is wrong")

    subcommand.main = fail  # type: ignore[attr-defined]
    assert main(["greet", "x"]) == 1
    assert capsys.readouterr().err == "composer: ['x'] is wrong\n"


def test_a_slip_in_a_reserved_word_is_noticed(
    launched: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evn"]) == 2
    assert "Did you mean 'env'?" in capsys.readouterr().err
    assert launched == []


def test_a_script_whose_name_looks_like_a_slip_is_launched(
    launched: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("evn").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["evn"]) == 7


def test_a_subcommand_that_is_not_installed_is_no_reserved_word(
    monkeypatch: pytest.MonkeyPatch, launched: list[list[str]]
) -> None:
    monkeypatch.setitem(SUBCOMMANDS, "zebra", Subcommand("composer.cli.zebra", "none"))
    assert "zebra" not in available()
    assert main(["zebra"]) == 7


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_the_subcommands_and_then_the_options_of_the_launcher(
    words: list[str], launched: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    main(words)
    assert "composer env " in capsys.readouterr().out
    assert launched == [["--help"]]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"composer {composer.__version__}\n"


def test_the_words_of_the_process_are_used_by_default(
    launched: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["composer", "train.py"])
    main()
    assert launched == [["train.py"]]


def test_python_dash_m_does_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "composer.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"composer {composer.__version__}\n"
