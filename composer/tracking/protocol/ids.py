"""Keys, opaque ids and the names people give to things.

Keys have 40 hexadecimal characters, the one shape every client version accepts; keys given by hand
may be longer. Opaque ids are base64 of ``Kind:number``, since clients decode the ids of artifacts.
"""

import base64
import binascii
import hashlib
import re
import secrets
from typing import Final

from composer.tracking.protocol.refusal import BadRequestError

_KEY: Final = re.compile(r"[\w-]{40,256}", re.ASCII)
_ENTITY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_NAME: Final = 512
_FORBIDDEN_IN_PROJECT: Final = set("/\\#?%:\r\n\0")


def make_key() -> str:
    """A new key: 40 hexadecimal characters."""
    return secrets.token_hex(20)


def check_key(key: str) -> str:
    """Check a key given by hand.

    Raises:
        BadRequestError: fewer than 40 characters, or characters clients refuse.
    """
    if not _KEY.fullmatch(key):
        raise BadRequestError(
            f"a key of {len(key)} characters cannot be used: give 40 to 256 letters, "
            "digits, '_' or '-'. "
            f"Clients before 0.22 need exactly 40."
        )
    return key


def hash_key(key: str) -> str:
    """What is stored of a key. Keys are random, so a plain hash is as good as a slow one."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def encode_id(kind: str, number: int) -> str:
    """Make an opaque id that is valid base64."""
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def decode_id(kind: str, text: str) -> int:
    """Read an opaque id.

    Raises:
        BadRequestError: not an id of that kind.
    """
    try:
        name, _, number = base64.b64decode(text, validate=True).decode("ascii").partition(":")
        if name == kind and number.isascii() and number.isdigit() and len(number) < 19:
            return int(number)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        pass
    raise BadRequestError(f"{text[:80]!r} is not the id of a {kind}.")


def check_entity_name(name: str) -> str:
    """Check the name of a user or entity.

    Raises:
        BadRequestError: empty, too long, or with characters that do not fit a URL.
    """
    if not _ENTITY.fullmatch(name):
        raise BadRequestError(
            f"entity name {name[:80]!r} is not allowed: use 1 to 64 letters, digits, '_', "
            "'.' or '-', "
            f"starting with a letter or digit."
        )
    return name


def check_project_name(name: str) -> str:
    """Check a project's name as wandb does: up to 128 characters, none of ``/#?%:`` or a backslash.

    Raises:
        BadRequestError: the name is not allowed.
    """
    if not name.strip() or len(name) > 128 or _FORBIDDEN_IN_PROJECT & set(name):
        raise BadRequestError(
            f"project name {name[:80]!r} is not allowed: use 1 to 128 characters, none of / "
            "\\ # ? % :"
        )
    return name


def check_run_name(name: str) -> str:
    """Check a run's id.

    Raises:
        BadRequestError: empty, longer than 128, or with characters that break paths.
    """
    if not name.strip() or len(name) > 128 or _FORBIDDEN_IN_PROJECT & set(name):
        raise BadRequestError(
            f"run id {name[:80]!r} is not allowed: use 1 to 128 characters, none of / \\ # ? % :"
        )
    return name


def check_path(path: str) -> str:
    """Check the name of a file inside a run or artifact: relative, with ``/``, never upwards.

    Raises:
        BadRequestError: the path is absolute, climbs, or is too long.
    """
    parts = path.split("/")
    if (
        not path
        or len(path) > _MAX_NAME * 4
        or "\0" in path
        or "\\" in path
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise BadRequestError(
            f"file name {path[:120]!r} is not allowed: give a relative path with '/' and no '..'."
        )
    return path


_ADJECTIVES: Final = [
    "amber",
    "brisk",
    "calm",
    "clear",
    "crisp",
    "deep",
    "eager",
    "early",
    "fair",
    "fresh",
    "gentle",
    "golden",
    "grand",
    "happy",
    "keen",
    "kind",
    "late",
    "light",
    "lively",
    "lucky",
    "mellow",
    "mild",
    "noble",
    "pale",
    "patient",
    "plain",
    "prime",
    "proud",
    "quick",
    "quiet",
    "rapid",
    "ripe",
    "robust",
    "royal",
    "serene",
    "sharp",
    "silver",
    "smooth",
    "soft",
    "solar",
    "stable",
    "steady",
    "still",
    "stout",
    "sunny",
    "swift",
    "tidy",
    "true",
    "vivid",
    "warm",
]
_NOUNS: Final = [
    "anchor",
    "arc",
    "bay",
    "beacon",
    "birch",
    "bridge",
    "brook",
    "canyon",
    "cedar",
    "cliff",
    "comet",
    "coral",
    "creek",
    "delta",
    "dune",
    "ember",
    "fern",
    "field",
    "fjord",
    "forest",
    "garden",
    "glacier",
    "grove",
    "harbor",
    "heron",
    "hill",
    "island",
    "lake",
    "lark",
    "leaf",
    "maple",
    "meadow",
    "mesa",
    "moon",
    "oak",
    "orbit",
    "otter",
    "peak",
    "pine",
    "pond",
    "quartz",
    "rain",
    "reef",
    "ridge",
    "river",
    "shore",
    "sky",
    "star",
    "stone",
    "tide",
    "valley",
]


def invent_display_name(number: int) -> str:
    """A name for a run that was given none, such as ``calm-river-12``.

    Args:
        number: how many runs the project has, this one included.
    """
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{number}"
