"""Files of runs and artifacts as clients read them."""

from typing import Any

from composer.tracking.protocol import ids
from composer.tracking.server.graphql.context import Context
from composer.tracking.store.index import Row


class RunFileNode:
    """A run's file."""

    typename = "File"
    digest = None
    storage_path = None
    artifact = None
    upload_multipart_urls = None

    def __init__(self, context: Context, row: Row) -> None:
        self._context = context
        self._row = row
        self.id = ids.encode_id("File", row["id"])
        self.name = self.display_name = row["path"]
        self.size_bytes = row["size"]
        self.mimetype = row["mimetype"]
        self.updated_at = row["updated_at"]
        self.md5 = row["md5"]
        self.upload_headers: list[str] = []

    def url(self, upload: bool | None = None) -> str:
        """Where to get the file, or put it anew."""
        return self.upload_url if upload else self.direct_url

    @property
    def direct_url(self) -> str:
        """Where to get the file."""
        return self._context.urls.download(self._row["sha256"], self.name)

    @property
    def upload_url(self) -> str:
        """Where to put the file anew."""
        return self._context.urls.upload("run", self._row["run_id"], self.name)


class EntryNode:
    """A file of an artifact, as its manifest lists it."""

    typename = "File"
    upload_multipart_urls = None

    def __init__(
        self, context: Context, path: str, entry: dict[str, Any], sha256: str | None, artifact: Row
    ) -> None:
        self.id = ids.encode_id("Entry", artifact["id"])
        self.name = self.display_name = self.storage_path = path
        self.size_bytes = entry.get("size") or 0
        self.digest = self.md5 = entry["digest"]
        self.mimetype = None
        self.updated_at = artifact["updated_at"]
        reference = entry.get("ref")
        # A file whose contents are missing still gets an address: one that answers 404.
        self.direct_url = (
            context.urls.download(sha256, path)
            if sha256
            else str(reference or f"{context.urls.base}/missing")
        )
        self.url = self.direct_url
        self.upload_headers: list[str] = []
