"""Try again what may fail for a moment: the network, a busy service."""

from __future__ import annotations

import functools
import inspect
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from composer.errors import ConfigError

__all__ = ["retry"]

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

# Its own generator: drawing from the global one would change a run that happened to retry.
_jitter = random.Random()


@overload
def retry(exc_class: F) -> F: ...
@overload
def retry(
    exc_class: type[Exception] | Sequence[type[Exception]] = ...,
    num_attempts: int = ...,
    initial_backoff: float = ...,
    max_jitter: float = ...,
) -> Callable[[F], F]: ...
def retry(
    exc_class: Any = Exception,
    num_attempts: int = 3,
    initial_backoff: float = 1.0,
    max_jitter: float = 0.5,
) -> Any:
    """Decorate a function so that it is called again when it fails.

    Before attempt ``k`` (from 1) it waits ``initial_backoff * 2**(k - 1)`` seconds and a random
    time up to ``max_jitter``. A function with a parameter ``retry_index`` is given the number of
    the attempt, from 0. ``@retry`` without brackets uses the defaults.

    Args:
        exc_class: the exception, or several, that are worth another try.
        num_attempts: calls in all, at least 1; the last failure is raised.
        initial_backoff: first wait, in seconds.
        max_jitter: greatest random addition to each wait, in seconds.

    Raises:
        ValueError: ``num_attempts`` below 1, or a negative wait.

    Example:
        >>> @retry(ConnectionError, num_attempts=5, initial_backoff=0.2)
        ... def download(retry_index: int = 0) -> str:
        ...     return f"attempt {retry_index}"
        >>> download()
        'attempt 0'
    """
    if not isinstance(exc_class, type) and callable(exc_class):
        return retry()(exc_class)
    if num_attempts < 1 or initial_backoff < 0 or max_jitter < 0:
        raise ConfigError(
            "retry needs num_attempts >= 1 and waits >= 0 seconds, got "
            f"num_attempts={num_attempts!r}, initial_backoff={initial_backoff!r}, "
            f"max_jitter={max_jitter!r}"
        )
    caught: Any = exc_class if isinstance(exc_class, type) else tuple(exc_class)

    def decorate(func: F) -> F:
        takes_index = "retry_index" in inspect.signature(func).parameters

        @functools.wraps(func)
        def call(*args: Any, **kwargs: Any) -> Any:
            for attempt in range(num_attempts):
                if takes_index:
                    kwargs["retry_index"] = attempt
                try:
                    return func(*args, **kwargs)
                except caught as error:
                    if attempt + 1 == num_attempts:
                        raise
                    wait_s = initial_backoff * 2**attempt + _jitter.random() * max_jitter
                    log.info(
                        "%s failed (attempt %d of %d), trying again in %.1f s: %r",
                        getattr(func, "__qualname__", func),
                        attempt + 1,
                        num_attempts,
                        wait_s,
                        error,
                    )
                    time.sleep(wait_s)
            raise AssertionError("unreachable: the last attempt returns or raises")

        return call  # pyright: ignore[reportReturnType]

    return decorate
