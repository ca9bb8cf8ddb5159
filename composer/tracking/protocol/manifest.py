"""Artifact manifests: what files an artifact has, and the digest that names its contents."""

import hashlib
from typing import Any, Final

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import BadRequestError

MAX_BYTES: Final = 512 << 20
_HEADER: Final = "wandb-artifact-manifest-v1\n"

Entries = dict[str, dict[str, Any]]


def read(data: bytes) -> Entries:
    """The entries of a manifest by path.

    Raises:
        BadRequestError: not a manifest.
    """
    try:
        value = jsontext.loads(data)
    except ValueError as error:
        raise BadRequestError(f"the manifest is not JSON: {error}") from None
    contents: Any = value.get("contents") if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(contents, dict):
        raise BadRequestError("the manifest has no 'contents'.")
    return {
        str(path): entry  # pyright: ignore[reportUnknownArgumentType]
        for path, entry in contents.items()  # pyright: ignore[reportUnknownVariableType]
        if isinstance(entry, dict) and isinstance(entry.get("digest"), str)  # pyright: ignore[reportUnknownMemberType]
    }


def write(entries: Entries) -> bytes:
    """A full manifest of the current layout, free of paths on the uploader's machine."""
    contents = {
        path: {
            key: value for key, value in entry.items() if key not in ("local_path", "skip_cache")
        }
        for path, entry in sorted(entries.items())
    }
    return jsontext.dumps(
        {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": contents,
        }
    ).encode()


def digest(entries: Entries) -> str:
    """The digest of entries, by the rule clients use."""
    hasher = hashlib.md5(_HEADER.encode(), usedforsecurity=False)
    for path in sorted(entries):
        hasher.update(f"{path}:{entries[path]['digest']}\n".encode("utf-8", "replace"))
    return hasher.hexdigest()


def size_of(entries: Entries) -> int:
    """Bytes of all entries."""
    sizes = (entry.get("size") for entry in entries.values())
    return sum(size for size in sizes if isinstance(size, int) and 0 <= size < 2**60)
