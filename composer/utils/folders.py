"""Local folders and links: checks before writing, and link files that stand in for links.

Object stores know no symbolic links; a *link file* ends in ``.symlink`` and holds the path it
points to.
"""

from __future__ import annotations

import os

from composer.errors import ConfigError
from composer.utils.atomic import write_text

__all__ = [
    "LINK_SUFFIX",
    "create_symlink_file",
    "ensure_folder_is_empty",
    "is_tar",
    "read_symlink_file",
]

StrPath = str | os.PathLike[str]
LINK_SUFFIX = ".symlink"
_TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.lzma", ".tar.xz", ".tar.zst")


def is_tar(name: StrPath) -> bool:
    """Return whether a file name is that of a tar archive, compressed or not."""
    return os.fspath(name).lower().endswith(_TAR_SUFFIXES)


def ensure_folder_is_empty(folder_name: StrPath) -> None:
    """Refuse a folder that holds a file, at any depth; empty folders inside it do not matter.

    Args:
        folder_name: the folder; it may be missing.

    Raises:
        FileExistsError: there is a file; the first few are named.
    """
    files = [
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder_name)
        for name in sorted(names)
    ]
    if files:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        raise FileExistsError(
            f"{os.fspath(folder_name)!r} is not empty; it holds {files[:3]}{more}. "
            "Use another folder, empty it, or allow overwriting."
        )


def create_symlink_file(existing_path: str, destination_filename: StrPath) -> None:
    """Write a link file.

    Args:
        existing_path: what it points to: a path or a name in an object store; need not exist yet.
        destination_filename: the link file; its name must end in ``.symlink``.

    Raises:
        ValueError: the name does not end so.
    """
    name = os.fspath(destination_filename)
    if not name.endswith(LINK_SUFFIX):
        raise ConfigError(f"the link file {name!r} must end in {LINK_SUFFIX!r}")
    write_text(name, existing_path)


def read_symlink_file(source_path: StrPath) -> str:
    """Return what a local link file points to."""
    with open(source_path, encoding="utf-8") as file:
        return file.read().strip()
