"""The command that says whether a remote folder can be used."""

from pathlib import Path

import pytest

from composer.cli.validate_remote_path import main
from composer.storage.uri import store_of


def test_objects_below_the_path_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").touch()
    store_of("memory://validated").upload_object("run/a", tmp_path / "a")
    assert main(["memory://validated/run"]) == 0
    assert "1 object(s)" in capsys.readouterr().out


def test_an_empty_path_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory://validated/nothing"]) == 1
    assert "there is nothing" in capsys.readouterr().err


def test_writing_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    assert main([f"file://{tmp_path}/new", "--write"]) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("path", ["/local/folder", "nowhere://bucket"])
def test_what_is_no_store_is_said(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([path]) == 1
    assert path in capsys.readouterr().err
