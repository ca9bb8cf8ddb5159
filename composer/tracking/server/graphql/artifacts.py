"""Artifacts as clients read them."""

from typing import Any, Final

from composer.tracking.protocol import filters, ids, jsontext, manifest
from composer.tracking.server.graphql.context import Context, Page, page
from composer.tracking.server.graphql.files import EntryNode
from composer.tracking.store import artifacts, runs, users
from composer.tracking.store.index import Row

_INHERITED: Final = -2


class TypeNode:
    """An artifact type."""

    typename = "ArtifactType"

    def __init__(self, context: Context, row: Row, project: Any = None) -> None:
        self._context = context
        self._row = row
        self._project = project
        self.id = ids.encode_id("ArtifactType", row["id"])
        self.name = row["name"]
        self.description = row["description"]
        self.created_at = row["created_at"]

    def artifact_collection(self, name: str) -> "CollectionNode | None":
        """A collection of the type."""
        row = artifacts.find_collection(self._context.reader, self._row["project_id"], name)
        if row is None or row["type_id"] != self._row["id"]:
            return None
        return CollectionNode(self._context, row, self._project)

    def artifact_collections(
        self, after: str | None = None, first: int | None = None, **_: Any
    ) -> Page:
        """Collections of the type."""
        rows = artifacts.collections(self._context.reader, self._row["project_id"], self._row["id"])
        return page(
            rows, lambda row: CollectionNode(self._context, row, self._project), first, after
        )


class CollectionNode:
    """A collection: the versions of one artifact, or links to versions."""

    state = "READY"
    digest_algorithm = "MANIFEST_MD5"

    def __init__(self, context: Context, row: Row, project: Any = None) -> None:
        self._context = context
        self._project = project
        self.row = row
        is_sequence = row["kind"] == artifacts.SEQUENCE
        self.typename = "ArtifactSequence" if is_sequence else "ArtifactPortfolio"
        self.id = ids.encode_id("ArtifactCollection", row["id"])
        self.name = row["name"]
        self.description = row["description"]
        self.created_at = row["created_at"]
        self.updated_at = row["updated_at"]

    @property
    def project(self) -> Any:
        """The project the collection is in."""
        if self._project is None:
            self._project = self._context.root.project_by_id(self.row["project_id"])
        return self._project

    @property
    def default_artifact_type(self) -> TypeNode:
        """The type of its artifacts."""
        row = self._context.reader.by_id("artifact_types", self.row["type_id"])
        assert row is not None
        return TypeNode(self._context, row, self._project)

    @property
    def tags(self) -> dict[str, Any]:
        """Tags of the collection."""
        return {"edges": [{"node": each} for each in tag_nodes(self.row["tags"])]}

    @property
    def latest_artifact(self) -> "ArtifactNode | None":
        """The last committed version."""
        row = artifacts.latest(self._context.reader, self.row["id"])
        return ArtifactNode(self._context, row) if row else None

    def aliases(self, after: str | None = None, first: int | None = None) -> Page:
        """Aliases in the collection."""
        rows = artifacts.collection_aliases(self._context.reader, self.row["id"])
        return page(rows, lambda row: alias_node(self._context, row), first, after)

    def artifacts(
        self,
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
        filters: str | None = None,
    ) -> Page:
        """Versions in the collection, newest first."""
        rows = self._versions(filters, order)
        found = page(rows, lambda row: ArtifactNode(self._context, row[1]), first, after)
        versions = {row["id"]: member["version"] for member, row in rows}
        for edge in found.edges:
            edge["version"] = f"v{versions[edge['node'].row['id']]}"
        return found

    def _versions(self, text: str | None, order: str | None) -> list[tuple[Row, Row]]:
        members = artifacts.members(self._context.reader, self.row["id"])
        rows = self._context.reader.by_ids("artifacts", [each["artifact_id"] for each in members])
        keep = filters.parse(text)
        found = [
            (each, rows[each["artifact_id"]]) for each in members if each["artifact_id"] in rows
        ]
        found = [pair for pair in found if keep(lambda key, pair=pair: self._value(pair, key))]
        for key, is_falling in reversed(filters.parse_order(order)):
            found.sort(
                key=lambda pair: filters.sort_key(self._value(pair, key)), reverse=is_falling
            )
        return found

    def _value(self, pair: tuple[Row, Row], key: str) -> Any:
        member, row = pair
        if key in ("version_index", "versionIndex", "version"):
            return member["version"]
        if key in ("created_at", "createdAt"):
            return row["created_at"]
        if key in ("tags", "tag"):
            return jsontext.loads(row["tags"] or "[]")
        if key in ("aliases", "alias"):
            return [each["alias"] for each in artifacts.aliases(self._context.reader, row["id"])]
        if key.startswith("metadata."):
            return filters.dig(
                jsontext.loads_object(row["metadata"]), key.removeprefix("metadata.")
            )
        return row.get(key, filters.MISSING)

    def artifact_membership(self, alias_name: str | None = None) -> "MembershipNode | None":
        """A version by alias, ``vN`` or digest."""
        row = artifacts.member(self._context.reader, self.row["id"], alias_name or "latest")
        return MembershipNode(self._context, row, self) if row else None


class MembershipNode:
    """A version's place in a collection."""

    typename = "ArtifactCollectionMembership"

    def __init__(
        self, context: Context, row: Row, collection: CollectionNode | None = None
    ) -> None:
        self._context = context
        self._row = row
        self._collection = collection
        self.id = ids.encode_id("Membership", row["id"])
        self.version_index = row["version"]
        self.created_at = row["created_at"]

    @property
    def artifact_collection(self) -> CollectionNode:
        """The collection."""
        if self._collection is None:
            row = self._context.reader.by_id("collections", self._row["collection_id"])
            assert row is not None
            self._collection = CollectionNode(self._context, row)
        return self._collection

    @property
    def artifact(self) -> "ArtifactNode":
        """The version."""
        return ArtifactNode(
            self._context, artifacts.get_row(self._context.reader, self._row["artifact_id"])
        )

    @property
    def aliases(self) -> list[dict[str, Any]]:
        """Aliases of the version in this collection."""
        rows = artifacts.aliases(
            self._context.reader, self._row["artifact_id"], self._row["collection_id"]
        )
        return [alias_node(self._context, row) for row in rows]

    def files(
        self, names: list[str] | None = None, after: str | None = None, first: int | None = None
    ) -> Page:
        """Files of the version."""
        return self.artifact.files(names, after, first)


class ArtifactNode:
    """A version of an artifact."""

    typename = "Artifact"

    def __init__(self, context: Context, row: Row) -> None:
        self._context = context
        self.row = row
        self.id = ids.encode_id("Artifact", row["id"])
        self.state = row["state"]
        self.version_index = row["version"]
        self.digest = row["digest"]
        self.digest_algorithm = row["algorithm"]
        self.description = row["description"]
        self.metadata = row["metadata"] or "{}"
        self.labels = "{}"
        self.size = self.storage_bytes = row["size"]
        self.file_count = row["file_count"]
        self.commit_hash = row["commit_hash"]
        self.history_step = row["history_step"]
        self.ttl_duration_seconds = _INHERITED if row["ttl"] is None else row["ttl"]
        self.ttl_is_inherited = row["ttl"] is None
        self.created_at = row["created_at"]
        self.updated_at = row["updated_at"]
        self.tags = tag_nodes(row["tags"])

    @property
    def artifact_sequence(self) -> CollectionNode:
        """The collection the version belongs to."""
        row = self._context.reader.by_id("collections", self.row["collection_id"])
        if row is None:
            row = {
                "id": 0,
                "kind": artifacts.SEQUENCE,
                "name": "deleted",
                "description": None,
                "tags": "[]",
                "created_at": self.created_at,
                "updated_at": None,
                "project_id": 0,
                "type_id": 0,
            }
        return CollectionNode(self._context, row)

    @property
    def artifact_type(self) -> TypeNode:
        """The version's type."""
        return self.artifact_sequence.default_artifact_type

    @property
    def aliases(self) -> list[dict[str, Any]]:
        """Aliases in all collections."""
        rows = artifacts.aliases(self._context.reader, self.row["id"])
        return [alias_node(self._context, row) for row in rows]

    @property
    def current_manifest(self) -> "ManifestNode | None":
        """The manifest, once it has come."""
        row = artifacts.manifest_of(self._context.reader, self.row["id"])
        return ManifestNode(self._context, row) if row else None

    @property
    def created_by(self) -> Any:
        """The run or user that made the version."""
        reader = self._context.reader
        run = reader.by_id("runs", self.row["run_id"]) if self.row["run_id"] else None
        if run is not None:
            return self._context.root.run_node(run)
        return self._context.root.user_node(users.by_id(reader, self.row["user_id"] or 0))

    def used_by(self, after: str | None = None, first: int | None = None) -> Page:
        """Runs that use the version and that the asker may see."""
        rows = artifacts.used_by(self._context.reader, self.row["id"])
        return page(rows, self._context.root.run_node, first, after)

    def artifact_memberships(self, after: str | None = None, first: int | None = None) -> Page:
        """The collections the version is in."""
        rows = artifacts.memberships_of(self._context.reader, self.row["id"])
        return page(rows, lambda row: MembershipNode(self._context, row), first, after)

    def _entries(self) -> manifest.Entries:
        row = artifacts.manifest_of(self._context.reader, self.row["id"])
        return self._context.store.manifests.entries(row["sha256"]) if row else {}

    def _nodes(self, pairs: list[tuple[str, dict[str, Any]]]) -> list[EntryNode]:
        entity_id = artifacts.entity_id_of(self._context.reader, self.row)
        nodes: list[EntryNode] = []
        for path, entry in pairs:
            found = artifacts.has_content(self._context.reader, entity_id, entry["digest"])
            nodes.append(
                EntryNode(self._context, path, entry, found["sha256"] if found else None, self.row)
            )
        return nodes

    def files(
        self, names: list[str] | None = None, after: str | None = None, first: int | None = None
    ) -> Page:
        """Files of the version that have contents here."""
        wanted = set(names) if names else None
        pairs = [
            (path, entry)
            for path, entry in sorted(self._entries().items())
            if (wanted is None or path in wanted)
        ]
        return page(pairs, lambda pair: self._nodes([pair])[0], first, after, most=10_000)

    def files_by_manifest_entries(
        self, entries: list[dict[str, Any]] | None = None, **_: Any
    ) -> Page:
        """Files of the version that a client names by its manifest."""
        known = self._entries()
        pairs: list[tuple[str, dict[str, Any]]] = []
        for each in (entries or [])[:10_000]:
            entry = known.get(each["name"])
            if entry is not None and entry["digest"] == each["digest"]:
                pairs.append((each["name"], entry))
        edges = [{"node": node, "cursor": None} for node in self._nodes(pairs)]
        return Page(edges, False, len(edges))


class ManifestNode:
    """The list of an artifact's files."""

    def __init__(self, context: Context, row: Row) -> None:
        self.id = ids.encode_id("Manifest", row["id"])
        self.digest = row["digest"]
        direct = context.urls.download(row["sha256"], row["name"]) if row["sha256"] else None
        self.file: dict[str, Any] = {
            "id": self.id,
            "name": row["name"],
            "directUrl": direct,
            "url": direct,
            "uploadUrl": context.urls.upload("manifest", row["id"], row["name"]),
            "uploadHeaders": [],
        }


def tag_nodes(text: str | None) -> list[dict[str, Any]]:
    """Tags as nodes."""
    return [
        {"id": ids.encode_id("Tag", number), "name": name}
        for number, name in enumerate(jsontext.loads(text or "[]"))
    ]


def alias_node(context: Context, row: Row) -> dict[str, Any]:
    """An alias as a node."""
    collection = context.reader.by_id("collections", row["collection_id"])
    return {
        "id": ids.encode_id("ArtifactAlias", row["id"]),
        "alias": row["alias"],
        "artifactCollection": CollectionNode(context, collection) if collection else None,
        "artifactCollectionName": collection["name"] if collection else None,
    }


def artifact_page(context: Context, rows: list[Row], first: int | None, after: str | None) -> Page:
    """Versions as a connection."""
    return page(rows, lambda row: ArtifactNode(context, row), first, after)


def find_run(context: Context, entity: str | None, project: str | None, name: str) -> Row | None:
    """A run by the names clients give."""
    found = runs.find_project(context.reader, context.user, entity, project)
    return runs.find(context.reader, found["id"], name) if found else None
