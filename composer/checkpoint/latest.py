"""The link that names a run's newest checkpoint, and following links.

The link is moved last, in one step: a reader finds the checkpoint before or the one after, never
nothing. Where the file system has no symbolic links, a text file ``<name>.symlink`` that holds the
path stands in for one, as it does in object stores.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

from composer.errors import CheckpointNotFoundError
from composer.utils.atomic import fsync_folder
from composer.utils.folders import create_symlink_file, read_symlink_file

__all__ = ["find_file", "move_link"]

_LINK_SUFFIX = ".symlink"


def move_link(link: str, target: str) -> None:
    """Make ``link`` point to ``target``, whatever it pointed to before.

    Args:
        link: the link's path; its folder is made if it is missing.
        target: the file. The link is relative, so that the folder can be moved.
    """
    folder = os.path.dirname(os.path.abspath(link))
    os.makedirs(folder, exist_ok=True)
    relative = os.path.relpath(target, folder)
    aside = os.path.join(folder, f".{os.path.basename(link)}.{secrets.token_hex(6)}.tmp")
    try:
        os.symlink(relative, aside)
    except (OSError, NotImplementedError):
        create_symlink_file(relative, link + _LINK_SUFFIX)
        return
    os.replace(aside, link)
    with suppress(FileNotFoundError):
        os.unlink(link + _LINK_SUFFIX)
    fsync_folder(folder)


def find_file(path: str) -> str:
    """Return the file that a path leads to, through links of both kinds.

    Args:
        path: a file, a symbolic link, a link file, or the name that a link file stands in for.

    Raises:
        FileNotFoundError: nothing is there, or a link leads nowhere.
    """
    seen: list[str] = []
    current = path
    while True:
        if current in seen:
            raise CheckpointNotFoundError(f"the links {seen} lead to each other")
        seen.append(current)
        if os.path.islink(current) and os.path.exists(current):
            current = os.path.join(os.path.dirname(current), os.readlink(current))
        elif os.path.isfile(current):
            if not current.endswith(_LINK_SUFFIX):
                return current
            current = os.path.join(os.path.dirname(current), read_symlink_file(current))
        elif os.path.isfile(current + _LINK_SUFFIX):
            current += _LINK_SUFFIX
        else:
            raise CheckpointNotFoundError(_not_found(path, current))


def _not_found(path: str, current: str) -> str:
    if os.path.islink(current):
        target = os.path.join(os.path.dirname(current), os.readlink(current))
        return (
            f"{path!r} is a link to {target!r}, which is gone. Put that file back, or remove the "
            "link to start without it."
        )
    through = "" if current == path else f" (through links: {current!r})"
    folder = os.path.dirname(os.path.abspath(current))
    names = sorted(os.listdir(folder))[:10] if os.path.isdir(folder) else None
    there = f"{folder!r} does not exist" if names is None else f"{folder!r} holds {names}"
    return f"there is no checkpoint {path!r}{through}; {there}"
