"""The link to the newest checkpoint."""

from __future__ import annotations

import os
import pathlib

import pytest

from composer.checkpoint.latest import find_file, move_link
from composer.errors import CheckpointNotFoundError


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    paths = [tmp_path / "run" / name for name in ("a.pt", "b.pt")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    return [str(path) for path in paths]


def test_the_link_is_relative_and_moves(files: list[str]) -> None:
    folder = os.path.dirname(files[0])
    link = os.path.join(folder, "latest.pt")
    for path in files:
        move_link(link, path)
        assert os.readlink(link) == os.path.basename(path)
        assert os.path.realpath(find_file(link)) == os.path.realpath(path)
    assert sorted(os.listdir(folder)) == ["a.pt", "b.pt", "latest.pt"]


def test_the_link_may_lie_in_another_folder(files: list[str], tmp_path: pathlib.Path) -> None:
    link = str(tmp_path / "links" / "latest.pt")
    move_link(link, files[1])
    os.rename(tmp_path / "run", tmp_path / "moved")
    os.rename(tmp_path / "moved", tmp_path / "run")
    assert pathlib.Path(link).read_text() == "b.pt"


def test_a_text_file_stands_in_where_there_are_no_links(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(target: str, link: str) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "symlink", refuse)
    link = os.path.join(os.path.dirname(files[0]), "latest.pt")
    move_link(link, files[0])
    move_link(link, files[1])
    assert not os.path.lexists(link)
    assert find_file(link) == files[1]
    assert find_file(f"{link}.symlink") == files[1]


def test_a_link_whose_file_is_gone_says_so(files: list[str]) -> None:
    link = os.path.join(os.path.dirname(files[0]), "latest.pt")
    move_link(link, files[0])
    os.remove(files[0])
    with pytest.raises(CheckpointNotFoundError, match=r"a link to .*a\.pt.*gone"):
        find_file(link)


def test_a_missing_file_lists_what_is_there(files: list[str]) -> None:
    folder = os.path.dirname(files[0])
    with pytest.raises(CheckpointNotFoundError, match=r"holds \['a.pt', 'b.pt'\]"):
        find_file(os.path.join(folder, "c.pt"))


def test_link_files_in_a_circle_are_noticed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.symlink").write_text("b.symlink")
    (tmp_path / "b.symlink").write_text("a.symlink")
    with pytest.raises(CheckpointNotFoundError, match="lead to each other"):
        find_file(str(tmp_path / "a.symlink"))
