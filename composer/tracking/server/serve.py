"""Starts a server and keeps it running until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator

import anyio.to_thread
import uvicorn

from composer.errors import TrackingError
from composer.tracking.server.app import build_app
from composer.tracking.server.options import ServerOptions
from composer.tracking.server.services import Services
from composer.tracking.store import trash
from composer.tracking.store.store import Store
from composer.tracking.store.watch import Watcher

log = logging.getLogger(__name__)

_CRASH_CHECKS = 10
_WATCH_EVERY_S = 2.0
_EMPTY_TRASH_EVERY_S = 3600.0
# Each worker thread has a connection of its own; few are enough, and few cost little memory.
_THREADS = 8
_SWITCH_S = 0.0005


def serve(options: ServerOptions, announce: Callable[[str, str | None, bool], None]) -> None:
    """Run a server until interrupted.

    Args:
        options: the settings.
        announce: told the address, the first user's key if it is known, and whether keys are
            needed.

    Raises:
        TrackingError: the folder is in use or the address is taken.
    """
    listener = _listen(options)
    try:
        store = Store(options.folder)
    except BaseException:
        listener.close()
        raise
    try:
        key = store.ensure_first_user()
        address = options.public_url or _address(options, listener)
        announce(address, key, options.require_key or not options.is_loopback)
        asyncio.run(_run(store, options, listener))
    finally:
        store.close()
        listener.close()


def _listen(options: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it on, every answer
    # in two parts waits 40 ms for the client's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except OSError as error:
        listener.close()
        raise TrackingError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}. Give "
            "another --port, or stop what uses it."
        ) from None
    listener.listen(512)
    return listener


def _address(options: ServerOptions, listener: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    if options.host in ("0.0.0.0", "::"):  # noqa: S104 - shown to people, not bound to.
        host = socket.gethostname()
    return f"http://{host}:{listener.getsockname()[1]}"


async def _run(store: Store, options: ServerOptions, listener: socket.socket) -> None:
    # The writer is busy for milliseconds at a time; at Python's usual 5 ms the loop, which needs
    # many short turns to take a body in, would wait for most of its life.
    sys.setswitchinterval(_SWITCH_S)
    # Rows come and go by the thousand and hold no cycles; looking through them is wasted.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    app = build_app(store, options)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=True,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        proxy_headers=True,
        limit_concurrency=None,
        ws="none",
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    async with _background(app.state.services, options):
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that stops quietly, so that the store can be closed after it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone; the loop handles them."""
        yield

    def stop(self) -> None:
        """Stop; at once when asked twice."""
        self.force_exit = self.should_exit
        self.should_exit = True


@contextlib.asynccontextmanager
async def _background(shared: Services, options: ServerOptions) -> AsyncGenerator[None]:
    tasks = [
        asyncio.create_task(_notice_crashes(shared, options.crash_after_s)),
        asyncio.create_task(_empty_trash(shared)),
    ]
    if options.watch:
        watcher = Watcher(shared.store, options.watch)
        tasks.append(asyncio.create_task(_watch(watcher, shared)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _notice_crashes(shared: Services, crash_after_s: float) -> None:
    while True:
        await asyncio.sleep(crash_after_s / _CRASH_CHECKS)
        try:
            await anyio.to_thread.run_sync(shared.heartbeats.check)
        except Exception:
            log.exception("looking for crashed runs failed")


async def _empty_trash(shared: Services) -> None:
    while True:
        try:
            await anyio.to_thread.run_sync(trash.empty, shared.store)
        except Exception:
            log.exception("emptying the trash failed")
        await asyncio.sleep(_EMPTY_TRASH_EVERY_S)


async def _watch(watcher: Watcher, shared: Services) -> None:
    while True:
        try:
            for number in await anyio.to_thread.run_sync(watcher.poll):
                shared.heartbeats.hear(number)
        except Exception:
            log.exception("reading watched folders failed")
        await asyncio.sleep(_WATCH_EVERY_S)
