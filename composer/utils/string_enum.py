"""Enumerations whose members are named by strings.

Users write `precision='amp_bf16'`, code compares members by identity. Every enumeration of the
library derives from :class:`StringEnum`.
"""

from __future__ import annotations

import warnings
from enum import Enum
from typing import Self

from composer.errors import unknown_name

__all__ = ["StringEnum"]


class StringEnum(Enum):
    """An enumeration that is looked up by value or by name, in any case.

    Member names are upper case and values lower case; anything else is refused when the class is
    made. Comparing a member with a string works, but warns: it hides a missing conversion.

    Example:
        >>> class Colour(StringEnum):
        ...     DARK_RED = "dark_red"
        >>> Colour("Dark_Red")
        <Colour.DARK_RED: 'dark_red'>

    Raises:
        ValueError: (at look-up) no member has this value or name.
        TypeError: (at look-up) the key is neither a string nor a member.
    """

    # Members are singletons, so identity is the right hash, and the one that costs no Python call
    # where members are dictionary keys in the training loop.
    __hash__ = object.__hash__

    def __init__(self, *args: object) -> None:
        name, value = self.name, self.value
        if name.upper() != name:
            raise ValueError(f"{type(self).__name__}.{name}: member names must be upper case")
        if not isinstance(value, str) or value.lower() != value:
            raise ValueError(
                f"{type(self).__name__}.{name}: the value must be a lower case string, "
                f"got {value!r}"
            )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, str):
            return NotImplemented
        warnings.warn(
            f"comparing {self} with the string {other!r}; convert it first: "
            f"{type(self).__name__}({other!r})",
            category=UserWarning,
            stacklevel=2,
        )
        return type(self)._lookup(other) is self

    @classmethod
    def _lookup(cls, key: str) -> Self | None:
        wanted = key.lower()
        for member in cls:
            if member.value == wanted or member.name.lower() == wanted:
                return member
        return None

    @classmethod
    def _missing_(cls, value: object) -> Self:
        if not isinstance(value, str):
            raise TypeError(
                f"{cls.__name__} takes a string or a member, got {value!r} ({type(value).__name__})"
            )
        member = cls._lookup(value)
        if member is not None:
            return member
        allowed = [m.value for m in cls]
        raise unknown_name(cls.__name__, value, allowed)
