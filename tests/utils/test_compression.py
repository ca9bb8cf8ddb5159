"""Compressing through programs."""

from __future__ import annotations

import gzip
import pathlib

import pytest

from composer.errors import ConfigError, MissingDependencyError, StorageError
from composer.utils.compression import (
    KNOWN_COMPRESSORS,
    CliCompressor,
    get_compressor,
    is_compressed_pt,
)

CONTENT = b"tokens " * 10_000


@pytest.mark.parametrize("compressor", KNOWN_COMPRESSORS, ids=lambda each: each.extension)
def test_content_comes_back(tmp_path: pathlib.Path, compressor: CliCompressor) -> None:
    if not compressor.exists:
        pytest.skip(f"{compressor.cmd} is not installed")
    path = str(tmp_path / f"file.{compressor.extension}")
    with compressor.compress(path) as file:
        file.write(CONTENT)
    assert len(pathlib.Path(path).read_bytes()) < len(CONTENT) / 10
    with compressor.decompress(path) as file:
        assert file.read() == CONTENT


def test_the_files_are_those_of_the_program(tmp_path: pathlib.Path) -> None:
    with get_compressor("a.pt.gz").compress(str(tmp_path / "a.gz")) as file:
        file.write(CONTENT)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == CONTENT


def test_reading_a_part_is_enough(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "a.gz")
    with get_compressor(path).compress(path) as file:
        file.write(CONTENT)
    with get_compressor(path).decompress(path) as file:
        assert file.read(6) == b"tokens"


def test_damaged_files_are_reported_with_the_programs_reason(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(CONTENT)[:-20])
    compressor = get_compressor(str(path))
    with (
        pytest.raises(StorageError, match=r"gzip.*unexpected end"),
        compressor.decompress(str(path)) as file,
    ):
        file.read()


def test_an_error_inside_the_block_is_passed_on(tmp_path: pathlib.Path) -> None:
    compressor = get_compressor("a.gz")
    with pytest.raises(ZeroDivisionError), compressor.compress(str(tmp_path / "a.gz")):
        raise ZeroDivisionError


def test_a_program_that_is_missing_is_named(tmp_path: pathlib.Path) -> None:
    missing = CliCompressor("zzz", "no-such-program")
    assert not missing.exists
    with pytest.raises(MissingDependencyError, match="no-such-program"):
        missing.check_exists()
    with pytest.raises(MissingDependencyError), missing.compress(str(tmp_path / "a.zzz")):
        pass


@pytest.mark.parametrize(
    ("name", "is_compressed"),
    [("a.pt.zst", True), ("a.PT.GZ", True), ("a.pt", False), ("a.zst", False), ("a.pt.tar", False)],
)
def test_names_say_whether_they_are_compressed(name: str, is_compressed: bool) -> None:
    assert is_compressed_pt(name) is is_compressed


def test_an_unknown_ending_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"\.zst"):
        get_compressor("a.pt.rar")
