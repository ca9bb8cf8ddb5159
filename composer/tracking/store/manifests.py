"""Artifact manifests that were read lately: listing an artifact's files needs them often."""

from collections import OrderedDict
from typing import Final

from composer.tracking.protocol import manifest
from composer.tracking.store.blobs import BlobStore

_MAX_ENTRIES: Final = 200_000


class Manifests:
    """Remembers the entries of manifests by their contents."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._known: OrderedDict[str, manifest.Entries] = OrderedDict()

    def entries(self, sha256: str) -> manifest.Entries:
        """The entries of a manifest."""
        found = self._known.get(sha256)
        if found is None:
            found = self._known[sha256] = manifest.read(self._blobs.read(sha256))
            while sum(map(len, self._known.values())) > _MAX_ENTRIES and len(self._known) > 1:
                self._known.popitem(last=False)
        return found
