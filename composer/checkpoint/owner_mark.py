"""One run per folder in a bucket, wherever the runs are.

Two runs that write checkpoints to one address would replace each other's. The first leaves a small
object there, its *mark*, and renews it every few seconds; a second one that finds the mark being
renewed refuses. What a killed run has left is not renewed any more: after a minute it counts for
nothing. Clocks of machines are not compared, only whether the mark changes while it is watched.

Where the service can create an object only if there is none, two runs that begin at the same moment
cannot both succeed. Elsewhere the last to write keeps the mark, and the other notices when it next
renews its own.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from typing import Any

from composer.errors import CheckpointError, ObjectExistsError, StorageError, StorageTransientError
from composer.storage.object_store import ObjectStore
from composer.utils.atomic import write_text
from composer.utils.retrying import retry

__all__ = ["OwnerMark"]

log = logging.getLogger(__name__)

_ATTEMPTS = 8


class OwnerMark:
    """The mark of one run at one address.

    Args:
        store: the store.
        name: the mark's name in it.
        run_name: the run, for the message another one gets.
        note: local file that outlives the process and tells the next one on this machine that the
            mark is its own. Whoever uses it holds the machine's lock on the folder.
        renew_s: seconds between two renewals.
        lease_s: for how many seconds a mark counts that is not renewed.
    """

    def __init__(
        self,
        store: ObjectStore,
        name: str,
        run_name: str,
        note: str,
        *,
        renew_s: float = 15.0,
        lease_s: float = 60.0,
    ) -> None:
        self._store = store
        self._name = name
        self._uri = store.get_uri(name)
        self._run_name = run_name
        self._note = note
        self._renew_s = renew_s
        self._lease_s = lease_s
        self._poll_s = lease_s / 60
        self._token = ""
        self._num_renewals = 0
        self._lost: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Take the mark, and renew it until :meth:`release`.

        Raises:
            RuntimeError: another run has it; it is named. Or the store cannot be used.
        """
        self._token = self._own_token()
        self._claim()
        self._lost = None
        self._stop.clear()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="owner-mark")
        self._thread.start()

    def check(self) -> None:
        """Refuse to go on once another run has taken the mark.

        Raises:
            RuntimeError: it has; it is named.
        """
        if self._lost is not None:
            raise CheckpointError(self._lost)

    def release(self) -> None:
        """Remove the mark, if it is still this run's; another run may begin at once."""
        self._stop.set()
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        try:
            found = self._read()
            if found is not None and found.get("token") == self._token:
                self._store.delete_object(self._name)
        except (StorageError, NotImplementedError) as error:
            log.warning("the mark %s stays, and keeps others waiting once: %s", self._uri, error)

    def _own_token(self) -> str:
        """Return what tells this machine's mark from others', also after the process was killed."""
        try:
            with open(self._note, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            token = secrets.token_hex(16)
            write_text(self._note, token)
            return token

    @retry(StorageTransientError, num_attempts=_ATTEMPTS, initial_backoff=0.2)
    def _claim(self) -> None:
        while True:
            try:
                self._store.create_object(self._name, self._content())
            except ObjectExistsError:
                found = self._read()
            else:
                return
            if found is None:
                continue
            if found.get("token") == self._token:
                self._put()
                return
            if self._is_abandoned(found):
                self._take_over(found)
                return

    def _take_over(self, found: dict[str, Any]) -> None:
        log.warning("taking over %s from %s", self._uri, _owner_of(found))
        self._put()
        # Of several that take over at once, the last to write has it.
        time.sleep(2 * self._poll_s)
        now = self._read()
        if now is None or now.get("token") != self._token:
            raise CheckpointError(self._refusal(now or {}))

    def _is_abandoned(self, found: dict[str, Any]) -> bool:
        """Watch a mark until its lease is over; false if it has gone meanwhile.

        Raises:
            RuntimeError: it is being renewed.
        """
        log.warning(
            "%s is marked by %s; looking for up to %.0f s whether that is alive",
            self._uri,
            _owner_of(found),
            self._lease_s,
        )
        deadline = time.monotonic() + self._lease_s
        while time.monotonic() < deadline:
            time.sleep(self._poll_s)
            now = self._read()
            if now is None:
                return False
            if now != found:
                raise CheckpointError(self._refusal(now))
        return True

    def _keep(self) -> None:
        while not self._stop.wait(self._renew_s) and self._lost is None:
            try:
                self._renew()
            except StorageError as error:
                log.warning("could not renew the mark %s: %s", self._uri, error)

    def _renew(self) -> None:
        found = self._read()
        if found is not None and found.get("token") != self._token:
            self._lost = self._refusal(found)
            return
        self._num_renewals += 1
        self._put()

    def _put(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mark")
            with open(path, "wb") as file:
                file.write(self._content())
            self._store.upload_object(self._name, path)

    def _read(self) -> dict[str, Any] | None:
        """Return what the mark says; ``None`` if there is none, nothing if it cannot be read."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mark")
            try:
                self._store.download_object(self._name, path)
            except FileNotFoundError:
                return None
            with open(path, "rb") as file:
                content = file.read()
        try:
            return dict(json.loads(content))
        except (ValueError, TypeError):
            return {}

    def _content(self) -> bytes:
        fields = {
            "token": self._token,
            "run_name": self._run_name,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "renewals": self._num_renewals,
        }
        return json.dumps(fields).encode()

    def _refusal(self, found: dict[str, Any]) -> str:
        return (
            f"{os.path.dirname(os.path.dirname(self._uri))!r} is in use by {_owner_of(found)}. Two "
            "runs at one address would replace each other's checkpoints: give this one a "
            "save_folder or a run_name of its own, or end the other."
        )


def _owner_of(found: dict[str, Any]) -> str:
    if not found:
        return "another run"
    return (
        f"the run {found.get('run_name')!r} (process {found.get('process')} on {found.get('host')})"
    )
