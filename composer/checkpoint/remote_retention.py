"""Which checkpoints stay in a bucket.

What no rule keeps is deleted once a newer checkpoint is there with its manifest and the link to it;
what is still on its way counts for nothing. The decision is made from the manifests in the bucket,
so a run that was interrupted and resumed, on this machine or another, decides the same.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable

from composer.checkpoint.manifest import Record
from composer.checkpoint.retention import Retention
from composer.errors import ObjectNotFoundError, StorageError
from composer.storage.object_store import ObjectStore

__all__ = ["RemoteRetention"]

log = logging.getLogger(__name__)


class RemoteRetention:
    """Deletes outdated checkpoints from a store; may be used by several threads.

    Args:
        store: the store.
        retention: which are kept; ``None`` for all.
        names_of: the names of a checkpoint's objects, its manifest last.
        is_own: whether a checkpoint is this run's.
    """

    def __init__(
        self,
        store: ObjectStore,
        retention: Retention | None,
        names_of: Callable[[Record], Iterable[str]],
        is_own: Callable[[Record], bool],
    ) -> None:
        self._store = store
        self._retention = retention
        self._names_of = names_of
        self._is_own = is_own
        self._stored: dict[str, Record] = {}
        self._coming: Counter[str] = Counter()
        self._lock = threading.Lock()

    def found(self, records: Iterable[Record]) -> None:
        """Say what is in the store."""
        with self._lock:
            self._stored = {record.name: record for record in records}

    def expect(self, record: Record) -> None:
        """Say that a checkpoint is on its way; until then its name is safe."""
        with self._lock:
            self._coming[record.name] += 1

    def changed(self, record: Record) -> None:
        """Say that a manifest says something else now."""
        with self._lock:
            if record.name in self._stored:
                self._stored[record.name] = record

    def arrived(self, record: Record) -> None:
        """Say that a checkpoint is in the store, and delete what it has made outdated."""
        with self._lock:
            self._coming[record.name] -= 1
            self._stored[record.name] = record
            if self._retention is None:
                return
            series = [r for r in self._stored.values() if r.series == record.series]
            own = sorted(filter(self._is_own, series), key=lambda each: each.sequence)
            for outdated in self._retention.outdated(own):
                if self._coming[outdated.name] == 0:
                    self._delete(outdated)

    @property
    def names(self) -> list[str]:
        """Names of the checkpoints that are in the store or on their way there."""
        with self._lock:
            return list({**self._stored, **dict.fromkeys(+self._coming)})

    def _delete(self, record: Record) -> None:
        # The manifest goes last: until then it says what is left to delete.
        for name in self._names_of(record):
            try:
                self._store.delete_object(name)
            except ObjectNotFoundError:
                pass
            except (StorageError, NotImplementedError) as error:
                log.warning("the old checkpoint %s stays for now: %s", record.name, error)
                return
        del self._stored[record.name]
        log.debug("deleted the old checkpoint %s", self._store.get_uri(record.name))
