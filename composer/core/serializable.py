"""What can be written into a checkpoint and read back."""

from __future__ import annotations

from typing import Any

__all__ = ["Serializable"]


class Serializable:
    """Base of everything whose state a checkpoint keeps; both methods do nothing by default."""

    __slots__ = ()

    def state_dict(self) -> dict[str, Any]:
        """Return the state as a dict of tensors, numbers, strings, lists and dicts.

        Nothing else may stand in it: checkpoints are read without running code from the file.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state written by :meth:`state_dict`."""
        del state
