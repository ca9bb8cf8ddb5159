"""Files as artifacts of W&B, and back."""

from __future__ import annotations

import datetime
import logging
import pathlib
import re
import shutil
import tempfile
from typing import Any

from composer.core.time import Timestamp
from composer.errors import ObjectNotFoundError, StorageError

__all__ = ["fetch_artifact", "make_artifact"]

log = logging.getLogger(__name__)

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9\-_.]")


def make_artifact(
    wandb: Any, now: Timestamp, name: str, file_path: pathlib.Path
) -> tuple[Any, list[str]]:
    """Return an artifact that holds one file, and its aliases.

    Its type is the file's ending, ``model`` for checkpoints; the run's counters are its metadata.
    """
    ending = file_path.name.rpartition(".")[2]
    artifact = wandb.Artifact(
        name=_allowed(name),
        type="model" if ending == "pt" else ending,
        metadata={f"timestamp/{key}": _number(v) for key, v in now.state_dict().items()},
    )
    # A copy, because a checkpoint may be deleted or replaced before it is sent.
    artifact.add_file(str(file_path.resolve()), name=file_path.name)
    return artifact, ["latest", f"ep{int(now.epoch)}-ba{int(now.batch)}"]


def fetch_artifact(
    wandb: Any, name: str, entity: str | None, project: str | None, destination: str
) -> None:
    """Write the only file of an artifact to ``destination``.

    Raises:
        FileNotFoundError: there is no such artifact.
        RuntimeError: it holds not one file but several, or none.
    """
    path = _whole_name(name, entity, project)
    try:
        artifact = wandb.Api().artifact(path)
    except (wandb.errors.CommError, ValueError) as error:
        raise ObjectNotFoundError(f"W&B has no artifact {path!r}: {error}") from error
    folder = pathlib.Path(destination).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".artifact-") as temporary:
        found = pathlib.Path(artifact.download(root=temporary))
        files = [each for each in found.rglob("*") if each.is_file()]
        if len(files) != 1:
            raise StorageError(
                f"the artifact {path!r} holds {len(files)} files; only an artifact of one file can "
                "be fetched by its name"
            )
        shutil.move(files[0], destination)


def _whole_name(name: str, entity: str | None, project: str | None) -> str:
    """Return an artifact's name with entity, project and alias."""
    name, colon, alias = name.partition(":")
    # Only with an alias is it clear that slashes are not part of a file's name.
    *place, last = name.split("/") if colon and name.count("/") == 2 else [name]
    place = place or [each for each in (entity, project) if each]
    return "/".join([*place, f"{_allowed(last)}:{alias or 'latest'}"])


def _allowed(name: str) -> str:
    """Return a name that W&B allows."""
    allowed = _NOT_ALLOWED.sub(".", name)
    if allowed != name:
        log.warning("W&B does not allow the artifact name %r; it is %r there", name, allowed)
    return allowed


def _number(value: Any) -> float:
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value
