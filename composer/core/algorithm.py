"""The base of all training methods: two-way plug-ins that may change what is trained and how."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

from composer.core.event import Event
from composer.core.serializable import Serializable

if TYPE_CHECKING:
    from composer.core.logger import Logger
    from composer.core.state import State

__all__ = ["Algorithm", "Order"]


_MISSING = object()


class Order(IntEnum):
    """Where a method stands among the methods that act on the same event."""

    FIRST = 0
    NORMAL = 1
    LAST = 2


class Algorithm(Serializable):
    """A training method: acts on events and may change the state.

    The short way to write one is an ``events`` table, which maps each event to the name of the
    method that handles it::

        class ClampLoss(Algorithm):
            events = {Event.AFTER_LOSS: "clamp"}
            writes = ("loss",)

            def clamp(self, state, logger):
                state.loss = state.loss.clamp(max=10.0)

    The long way, for methods that decide at run time, overrides :meth:`match` and :meth:`apply`.
    Where both are given, ``match`` is asked only on the events of the table, so that a method
    costs nothing elsewhere.

    Attributes:
        events: event -> name of the handling method; may be set on the instance.
        order: position among the methods that act on one event; methods of equal order keep the
            user's order, and ``AFTER_*`` events run in reverse.
        writes: names of the state's fields the method changes, for :meth:`Trainer.explain`.
        interpolates: whether the method mixes samples (MixUp, CutMix); two such rarely combine.
    """

    events: Mapping[Event, str] = {}
    order: ClassVar[Order] = Order.NORMAL
    writes: ClassVar[tuple[str, ...]] = ()
    interpolates: ClassVar[bool] = False

    @property
    def find_unused_parameters(self) -> bool:
        """Whether some parameters may get no gradient, which DistributedDataParallel must know."""
        return False

    @property
    def backwards_create_graph(self) -> bool:
        """Whether the backward pass must itself be differentiable."""
        return False

    @staticmethod
    def required_on_load() -> bool:
        """Whether a checkpoint trained with the method can only be loaded with it (surgery)."""
        return False

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values.

        A checkpoint stores them beside the class name, so that a method that is
        :meth:`required_on_load` can be made again without running text from the file. By default
        every constructor argument that is kept under its own name and is a JSON value.
        """
        kept = (
            (name, getattr(self, name)) for name in _arguments(type(self)) if hasattr(self, name)
        )
        return {name: value for name, value in kept if _is_json(value)}

    def __repr__(self) -> str:
        kept = {name: getattr(self, name, _MISSING) for name in _arguments(type(self))}
        # As JSON values where they are some, so that times and events read as they were given.
        shown = kept | self.arguments()
        values = (f"{name}={value!r}" for name, value in shown.items() if value is not _MISSING)
        return f"{type(self).__name__}({', '.join(values)})"

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps; subclasses add their own entries."""
        return {"repr": repr(self), "arguments": self.arguments()}

    def match(self, event: Event, state: State) -> bool:
        """Return whether the method acts on ``event`` now; by default what ``events`` says."""
        del state
        return event in self.events

    def apply(self, event: Event, state: State, logger: Logger) -> int | None:
        """Act on ``event``; by default through the ``events`` table.

        Returns:
            An exit code for the trace, or ``None``.
        """
        return getattr(self, self.events[event])(state, logger)


def _arguments(cls: type) -> tuple[str, ...]:
    # A class without a constructor of its own has that of `object`, which is not Python code.
    code = getattr(cls.__init__, "__code__", None)
    if code is None:
        return ()
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]


def _is_json(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_json(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    return value is None or isinstance(value, str | int | float | bool)
