"""Files that are whole or absent."""

import os
import stat
import threading

import pytest

from composer.errors import ConfigError
from composer.utils.atomic import atomic_write, fsync_folder, write_bytes, write_text


def entries(folder):
    return sorted(os.listdir(folder))


def test_the_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "a.bin"
    with atomic_write(path) as file:
        file.write(b"data")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"data"
    assert entries(tmp_path) == ["a.bin"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail_half_way():
        with atomic_write(path) as file:
            file.write(b"new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["a.bin"]


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "deep" / "er" / "a.txt", "grün\n")
    assert (tmp_path / "deep" / "er" / "a.txt").read_bytes() == "grün\n".encode()


def test_an_existing_file_is_replaced(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_an_existing_file_is_kept_where_overwriting_is_not_allowed(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old", overwrite=False)
    with pytest.raises(FileExistsError, match=r"a\.bin"):
        write_bytes(path, b"new", overwrite=False)
    assert path.read_bytes() == b"old"


def test_of_two_writers_that_may_not_overwrite_the_second_fails(tmp_path):
    path = tmp_path / "a.bin"

    def overtaken():
        with atomic_write(path, overwrite=False) as slow:
            slow.write(b"slow")
            write_bytes(path, b"fast", overwrite=False)

    with pytest.raises(FileExistsError):
        overtaken()
    assert path.read_bytes() == b"fast"
    assert entries(tmp_path) == ["a.bin"]


def test_writers_at_the_same_time_do_not_mix(tmp_path):
    path = tmp_path / "a.bin"
    contents = [bytes([65 + number]) * 5000 for number in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(path, data)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert entries(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    ordinary, ours = tmp_path / "ordinary", tmp_path / "ours"
    ordinary.write_bytes(b"")
    write_bytes(ours, b"")
    assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_bytes(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_content_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("rename"), replace(*paths)))
    write_bytes(tmp_path / "a.bin", b"data")
    assert order[:2] == ["fsync", "rename"]


def test_disks_are_not_waited_for_where_that_is_not_wanted(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)
    with atomic_write(tmp_path / "a.bin", durable=False) as file:
        file.write(b"data")
    assert not calls


def test_a_very_long_name_still_fits(tmp_path):
    path = tmp_path / ("n" * 250)
    write_bytes(path, b"data")
    assert path.read_bytes() == b"data"


@pytest.mark.parametrize("mode", ["r", "a", "wb+", "x"])
def test_other_modes_are_refused(tmp_path, mode):
    with pytest.raises(ConfigError, match="mode="), atomic_write(tmp_path / "a", mode):
        pass


def test_a_folder_can_be_forced_to_disk(tmp_path):
    fsync_folder(tmp_path)
