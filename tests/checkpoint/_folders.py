"""What tests look for in folders of checkpoints."""

from __future__ import annotations

import pathlib

from composer.checkpoint.manifest import OWN_FOLDER


def visible_files(folder: pathlib.Path) -> set[str]:
    """Return the names in a folder, links included, without what lies beside checkpoints."""
    return {path.name for path in folder.iterdir() if path.name != OWN_FOLDER}


def checkpoints_in(folder: pathlib.Path) -> set[str]:
    """Return the names of checkpoints in a folder."""
    return {name for name in visible_files(folder) if not (folder / name).is_symlink()}


def left_aside(folder: pathlib.Path) -> list[str]:
    """Return the paths of files that were written aside and neither committed nor removed."""
    return [str(path) for path in (folder / OWN_FOLDER / "aside").rglob("*") if path.is_file()]
