"""Checks of local folders, and link files."""

import pytest

from composer.errors import ConfigError
from composer.utils.folders import (
    create_symlink_file,
    ensure_folder_is_empty,
    is_tar,
    read_symlink_file,
)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "A.TGZ", "b/c.tar.bz2", "x.tar.zst"])
def test_archives_are_known_by_their_names(name):
    assert is_tar(name)


@pytest.mark.parametrize("name", ["a.pt", "tar", "a.tar.pt", "a.gz"])
def test_other_names_are_no_archives(name):
    assert not is_tar(name)


def test_a_missing_or_empty_folder_is_empty(tmp_path):
    ensure_folder_is_empty(tmp_path / "missing")
    (tmp_path / "inner").mkdir()
    ensure_folder_is_empty(tmp_path)


def test_a_file_deep_inside_is_found_and_named(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "ep1.pt").write_text("")
    with pytest.raises(FileExistsError, match=r"ep1\.pt"):
        ensure_folder_is_empty(tmp_path)


def test_of_many_files_only_some_are_listed(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.pt").write_text("")
    with pytest.raises(FileExistsError, match="and 2 more"):
        ensure_folder_is_empty(tmp_path)


def test_a_link_file_leads_back(tmp_path):
    link = tmp_path / "latest.symlink"
    create_symlink_file("run/ep1.pt", link)
    assert read_symlink_file(link) == "run/ep1.pt"
    create_symlink_file("run/ep2.pt", link)
    assert read_symlink_file(link) == "run/ep2.pt"


def test_a_link_file_must_be_named_so(tmp_path):
    with pytest.raises(ConfigError, match=r"\.symlink"):
        create_symlink_file("run/ep1.pt", tmp_path / "latest")
