"""Checkpoints that MosaicML Composer wrote, in the layout of today.

Both have the same keys, so there is little to do: schedules and gradient scalers are of classes
with other names, old files keep some keys with an underscore in front, and weights of a model that
was wrapped for several processes have ``module.`` in front. What methods and callbacks kept is
taken over where they exist here and understand it; see :mod:`composer.core.state_io`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from composer.core.run_metadata import is_foreign

__all__ = ["to_todays_layout"]

_UNDERSCORED = re.compile(r"_(?=model$|optimizers$|schedulers$|algorithms$|callbacks$|scaler$)")
_WRAPPER = "module."
# Class names there, and here.
_RENAMED = {
    "schedulers": {"LambdaLR": "CompiledScheduler"},
    "scaler": {"ClosureGradScaler": "GradScaler"},
}


def to_todays_layout(contents: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's contents with today's names; they are not changed themselves."""
    state = {
        _UNDERSCORED.sub("", name, count=1): value
        for name, value in cast("dict[str, Any]", contents["state"]).items()
    }
    if is_foreign(state):
        for part, renamed in _RENAMED.items():
            entries = cast("Mapping[str, Any]", state.get(part) or {})
            if part in state:
                state[part] = {renamed.get(name, name): item for name, item in entries.items()}
    model = state.get("model")
    if state.pop("is_model_ddp", False) and isinstance(model, Mapping):
        state["model"] = {
            name.removeprefix(_WRAPPER): value
            for name, value in cast("Mapping[str, Any]", model).items()
        }
    return {**contents, "state": state}
