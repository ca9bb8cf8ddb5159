"""Entities, and the users with keys that own them.

Every user has a personal entity of the same name. Only a hash of each key is stored.
"""

from typing import Any

from composer.tracking.protocol import ids
from composer.tracking.protocol.refusal import ConflictError, MissingError
from composer.tracking.store.clock import now
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx


def add(tx: Tx, name: str, key: str, email: str = "", is_admin: bool = False) -> Row:
    """Add a user with a personal entity.

    Raises:
        BadRequestError: the name or key is not allowed.
        ConflictError: the name or key is taken.
    """
    ids.check_entity_name(name)
    key_hash = ids.hash_key(ids.check_key(key))
    if tx.one("SELECT id FROM users WHERE lower(name) = lower(?)", name):
        raise ConflictError(f"there is a user {name!r} already.")
    if tx.one("SELECT id FROM users WHERE key_hash = ?", key_hash):
        raise ConflictError("this key belongs to another user; give a different one.")
    entity = tx.one("SELECT * FROM entities WHERE name = ?", name)
    entity_id = (
        entity["id"] if entity else tx.put("entities", name=name, kind="USER", created_at=now())
    )
    number = tx.put(
        "users",
        name=name,
        email=email,
        key_hash=key_hash,
        is_admin=int(is_admin),
        entity_id=entity_id,
        created_at=now(),
    )
    return by_id(tx, number)


def remove(tx: Tx, name: str) -> None:
    """Take a user's key away. The entity and its runs stay.

    Raises:
        MissingError: no such user.
        ConflictError: it is the last administrator.
    """
    user = by_name(tx, name)
    if user is None:
        raise MissingError(f"there is no user {name!r}.")
    if user["is_admin"] and tx.value("SELECT count(*) FROM users WHERE is_admin = 1") == 1:
        raise ConflictError(f"{name!r} is the last administrator; make another one first.")
    tx.delete("users", user["id"])


def set_key(tx: Tx, name: str, key: str) -> None:
    """Replace a user's key.

    Raises:
        MissingError: no such user.
    """
    user = by_name(tx, name)
    if user is None:
        raise MissingError(f"there is no user {name!r}.")
    tx.set("users", user["id"], key_hash=ids.hash_key(ids.check_key(key)))


def by_key(reader: Reader, key: str) -> Row | None:
    """The user whose key this is."""
    return reader.one("SELECT * FROM users WHERE key_hash = ?", ids.hash_key(key))


def by_name(reader: Reader, name: str) -> Row | None:
    """The user of that name."""
    return reader.one("SELECT * FROM users WHERE name = ?", name)


def by_id(reader: Reader, number: int) -> Row:
    """The user with that id; a nameless one if it has been removed."""
    return reader.by_id("users", number) or {
        "id": number,
        "name": "",
        "email": "",
        "is_admin": 0,
        "entity_id": 0,
    }


def everyone(reader: Reader) -> list[Row]:
    """All users, oldest first."""
    return reader.all("SELECT * FROM users ORDER BY id")


def entity(reader: Reader, name: str) -> Row | None:
    """The entity of that name."""
    return reader.one("SELECT * FROM entities WHERE name = ?", name)


def can_use(user: Row, entity_row: Row) -> bool:
    """Whether a user may see and change what an entity owns."""
    return bool(user["is_admin"]) or user["entity_id"] == entity_row["id"]


def visible_entities(reader: Reader, user: Row) -> list[Row]:
    """Entities a user may use: the personal one first; administrators see all."""
    if user["is_admin"]:
        return reader.all("SELECT * FROM entities ORDER BY id != ?, name", user["entity_id"])
    return reader.all("SELECT * FROM entities WHERE id = ?", user["entity_id"])


def setting(reader: Reader, name: str) -> Any:
    """A stored setting, or None."""
    return reader.value("SELECT value FROM settings WHERE name = ?", name)
