"""Compressed files, through the programs that compress them.

A name such as ``ep1.pt.zst`` asks for compression by the program that its ending stands for. The
program runs beside this one and reads from it through a pipe, so that nothing is held twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from composer.errors import ConfigError, MissingDependencyError, StorageError

__all__ = ["KNOWN_COMPRESSORS", "CliCompressor", "get_compressor", "is_compressed_pt"]


class CliCompressor:
    """Compresses and decompresses with a program of the system.

    Args:
        extension: the ending of names, without the dot, e.g. ``"zst"``.
        cmd: the program; by default it is called as the ending. It must read standard input and
            write standard output, with ``-c`` to compress and ``-dc`` to decompress, as they do.

    Attributes:
        extension: the ending.
        cmd: the program.
    """

    def __init__(self, extension: str, cmd: str | None = None) -> None:
        self.extension = extension
        self.cmd = extension if cmd is None else cmd

    def __repr__(self) -> str:
        return f"CliCompressor({self.extension!r}, {self.cmd!r})"

    @property
    def exists(self) -> bool:
        """Whether the program is installed."""
        return shutil.which(self.cmd) is not None

    def check_exists(self) -> None:
        """Refuse to go on without the program.

        Raises:
            ImportError: it is not installed.
        """
        if not self.exists:
            raise MissingDependencyError(
                f"files that end in '.{self.extension}' need the program {self.cmd!r}, which is "
                "not installed (or not on the PATH). Install it, or use another ending."
            )

    @contextmanager
    def compress(self, out_filename: str) -> Iterator[IO[bytes]]:
        """Open a file to write; what is written arrives in it compressed.

        Args:
            out_filename: the file.

        Yields:
            A binary file.

        Raises:
            ImportError: the program is not installed.
            RuntimeError: the program failed.
        """
        self.check_exists()
        with open(out_filename, "wb") as target:
            process = subprocess.Popen(
                [self.cmd, "-c"], stdin=subprocess.PIPE, stdout=target, stderr=subprocess.PIPE
            )
            stdin = process.stdin
            assert stdin is not None
            failure: BaseException | None = None
            try:
                yield stdin
                stdin.close()
            except BaseException as error:  # noqa: BLE001 - raised below, with the program's reason
                failure = error
            self._end(process, failure)

    @contextmanager
    def decompress(self, in_filename: str) -> Iterator[IO[bytes]]:
        """Open a compressed file to read.

        Args:
            in_filename: the file.

        Yields:
            A binary file of its decompressed content, to be read from front to back.

        Raises:
            ImportError: the program is not installed.
            RuntimeError: the program failed: the file is damaged.
        """
        self.check_exists()
        process = subprocess.Popen(
            [self.cmd, "-dc", os.path.abspath(in_filename)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        failure: BaseException | None = None
        try:
            yield process.stdout
            process.stdout.read()
        except BaseException as error:  # noqa: BLE001 - raised below, with the program's reason
            failure = error
        self._end(process, failure)

    def _end(self, process: subprocess.Popen[bytes], failure: BaseException | None) -> None:
        """Wait for the program; its own reason to fail comes before that of the pipe."""
        if failure is not None and not isinstance(failure, BrokenPipeError):
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and not pipe.closed:
                with suppress(BrokenPipeError):
                    pipe.close()
        assert process.stderr is not None
        reason = process.stderr.read().decode(errors="replace").strip()
        process.stderr.close()
        code = process.wait()
        if failure is not None and not isinstance(failure, BrokenPipeError):
            raise failure
        if code != 0 or failure is not None:
            raise StorageError(f"{self.cmd!r} failed with code {code}: {reason or failure!r}")


KNOWN_COMPRESSORS: list[CliCompressor] = [
    CliCompressor("bz2", "bzip2"),
    CliCompressor("gz", "gzip"),
    CliCompressor("lz4"),
    CliCompressor("lzma"),
    CliCompressor("lzo", "lzop"),
    CliCompressor("xz"),
    CliCompressor("zst", "zstd"),
]
"""What names of compressed files may end in."""


def is_compressed_pt(filename: str) -> bool:
    """Return whether a name is that of a compressed checkpoint, such as ``ep1.pt.zst``."""
    stem, _, extension = filename.lower().rpartition(".")
    return stem.endswith(".pt") and any(each.extension == extension for each in KNOWN_COMPRESSORS)


def get_compressor(filename: str) -> CliCompressor:
    """Return what compresses files of a name.

    Args:
        filename: a name such as ``ep1.pt.zst``.

    Raises:
        ValueError: no known compressor has its ending.
    """
    extension = filename.lower().rpartition(".")[2]
    for each in KNOWN_COMPRESSORS:
        if each.extension == extension:
            return each
    known = ", ".join(f".{each.extension}" for each in KNOWN_COMPRESSORS)
    raise ConfigError(f"no compressor is known for {filename!r}; names may end in {known}")
