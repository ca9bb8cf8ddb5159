"""Users, entities and what the server can do."""

from typing import Any, Final

from composer.tracking.protocol import ids
from composer.tracking.server.graphql.context import Context
from composer.tracking.store import users
from composer.tracking.store.index import Row

# What clients may rely on. Anything not listed here is off.
FEATURES: Final = (
    "LARGE_FILENAMES",
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "STRUCTURED_CONSOLE_LOGS",
    "FILESTREAM_GZIP",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "MARK_RUN_FILES_UPLOADED",
)

SERVER_INFO: Final[dict[str, Any]] = {
    "features": [{"name": name, "isEnabled": True} for name in FEATURES],
    "cliVersionInfo": {"max_cli_version": "99.0.0"},
    "latestLocalVersionInfo": {
        "outOfDate": False,
        "latestVersionString": "0.80.0",
        "versionOnThisInstanceString": "0.80.0",
    },
}


class UserNode:
    """A user."""

    typename = "User"

    def __init__(self, context: Context, row: Row) -> None:
        self._context = context
        self._row = row
        self.id = ids.encode_id("User", row["id"])
        self.name = self.username = self.entity = row["name"]
        self.email = row["email"] or ""
        self.admin = bool(row["is_admin"])
        self.flags = "{}"
        self.organizations: list[Any] = []
        self.api_keys: dict[str, Any] = {"edges": []}

    @property
    def teams(self) -> dict[str, Any]:
        """Entities the user can log to."""
        rows = users.visible_entities(self._context.reader, self._row) if self._row["id"] else []
        return {"edges": [{"node": EntityNode(self._context, row)} for row in rows]}


class EntityNode:
    """An entity: what owns projects."""

    available = False
    photo_url = None
    read_only = False
    read_only_admin = False
    private_only = False
    storage_bytes = 0
    code_saving_enabled = True
    default_access = "PRIVATE"
    is_paid = True
    limits = "{}"
    organization = None
    xxhash_digests_enabled = False

    def __init__(self, context: Context, row: Row) -> None:
        self._context = context
        self._row = row
        self.id = ids.encode_id("Entity", row["id"])
        self.name = row["name"]
        self.is_team = row["kind"] == "TEAM"
        self.entity_type = row["kind"].lower()
        self.members: list[Any] = []

    @property
    def user(self) -> UserNode | None:
        """The user whose personal entity this is."""
        row = users.by_name(self._context.reader, self.name)
        return UserNode(self._context, row) if row else None

    def project(self, name: str | None = None) -> Any:
        """A project of the entity."""
        return self._context.root.project(name=name, entity_name=self.name)
