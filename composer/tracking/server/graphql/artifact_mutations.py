"""Changes to artifacts."""

from typing import Any

from composer.tracking.protocol import ids
from composer.tracking.protocol.refusal import BadRequestError, MissingError
from composer.tracking.protocol.shapes import objects
from composer.tracking.server.graphql.artifacts import (
    ArtifactNode,
    CollectionNode,
    ManifestNode,
    MembershipNode,
    TypeNode,
    tag_nodes,
)
from composer.tracking.server.graphql.context import Context
from composer.tracking.store import artifacts, runs
from composer.tracking.store.index import Row
from composer.tracking.store.writer import Tx

_MAX_FILES = 20_000


class ArtifactMutations:
    """Resolves mutations of artifacts and their collections."""

    _context: Context

    def _artifact_id(self, opaque: str) -> int:
        return ids.decode_id("Artifact", opaque)

    def create_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Begin a version, or find the one with the same contents."""
        user = self._context.user
        row = self._context.do(lambda tx: artifacts.create(tx, user, input))
        return {"artifact": ArtifactNode(self._context, row)}

    def create_artifact_manifest(self, input: dict[str, Any]) -> dict[str, Any]:
        """Announce a manifest and say where to put it."""
        user = self._context.user
        base = input.get("baseArtifactID")

        def command(tx: Tx) -> Row:
            artifact = artifacts.get(tx, user, self._artifact_id(input["artifactID"]))
            base_id = artifacts.get(tx, user, self._artifact_id(base))["id"] if base else None
            return artifacts.put_manifest(tx, artifact, {**input, "_base": base_id})

        return {"artifactManifest": ManifestNode(self._context, self._context.do(command))}

    def update_artifact_manifest(self, input: dict[str, Any]) -> dict[str, Any]:
        """Set a manifest's digest and say where to put it."""
        user = self._context.user
        base = input.get("baseArtifactID")

        def command(tx: Tx) -> Row:
            row = tx.by_id("manifests", ids.decode_id("Manifest", input["artifactManifestID"]))
            if row is None:
                raise MissingError("the manifest does not exist.")
            artifact = artifacts.get(tx, user, row["artifact_id"])
            base_id = (
                artifacts.get(tx, user, self._artifact_id(base))["id"] if base else row["base_id"]
            )
            return artifacts.put_manifest(
                tx,
                artifact,
                {
                    "type": row["kind"],
                    "name": row["name"],
                    "digest": input.get("digest"),
                    "_base": base_id,
                    "_id": row["id"],
                },
            )

        return {"artifactManifest": ManifestNode(self._context, self._context.do(command))}

    def create_artifact_files(self, input: dict[str, Any]) -> dict[str, Any]:
        """Say where contents are to be put; nowhere for those that are here already."""
        context = self._context
        specs: list[dict[str, Any]] = input["artifactFiles"]
        if len(specs) > _MAX_FILES:
            raise BadRequestError(f"{len(specs)} files at once; ask for up to {_MAX_FILES}.")
        return {"files": {"edges": [{"node": node} for node in self._file_nodes(context, specs)]}}

    def _file_nodes(self, context: Context, specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        known: dict[str, Row] = {}
        nodes: list[dict[str, Any]] = []
        for spec in specs:
            opaque = spec["artifactID"]
            if opaque not in known:
                known[opaque] = artifacts.get(
                    context.reader, context.user, self._artifact_id(opaque)
                )
            artifact = known[opaque]
            path = ids.check_path(spec["name"])
            entity_id = artifacts.entity_id_of(context.reader, artifact)
            digest = spec.get("digest") or spec.get("md5") or ""
            found = artifacts.has_content(context.reader, entity_id, digest)
            birth = found["artifact_id"] if found else artifact["id"]
            nodes.append(
                {
                    "id": "",
                    "name": path,
                    "displayName": path,
                    "storagePath": f"artifacts/{birth}/{path}",
                    "uploadUrl": None
                    if found
                    else context.urls.upload("artifact", artifact["id"], path),
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": ids.encode_id("Artifact", birth)},
                }
            )
        return nodes

    def complete_multipart_upload_artifact(self, input: dict[str, Any]) -> None:
        """Refused: this server asks for files in one piece."""
        raise BadRequestError("this server takes files of any size in one piece.")

    def commit_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Finish a version."""
        user = self._context.user
        number = self._artifact_id(input["artifactID"])
        blobs = self._context.store.blobs
        row = self._context.do(
            lambda tx: artifacts.commit(tx, blobs, artifacts.get(tx, user, number))
        )
        return {"artifact": ArtifactNode(self._context, row)}

    def use_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Note that a run uses a version."""
        user = self._context.user
        number = self._artifact_id(input["artifactID"])

        def command(tx: Tx) -> Row:
            artifact = artifacts.get(tx, user, number)
            project = runs.find_project(tx, user, input.get("entityName"), input.get("projectName"))
            run = runs.find(tx, project["id"], input["runName"]) if project else None
            if run is None:
                raise MissingError(f"run {input['runName']!r} not found.")
            artifacts.use(tx, run, artifact, input.get("usedAs"))
            return artifact

        return {"artifact": ArtifactNode(self._context, self._context.do(command))}

    def link_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Put a version into a collection of links as well."""
        user = self._context.user
        wanted = [each["alias"] for each in objects(input.get("aliases"))]

        def command(tx: Tx) -> Row:
            artifact = self._linked(tx, user, input)
            if input.get("artifactPortfolioID"):
                number = ids.decode_id("ArtifactCollection", input["artifactPortfolioID"])
                target = artifacts.get_collection(tx, user, number)
                project = runs.project_by_id(tx, target["project_id"])
                return artifacts.link(tx, artifact, project, target["name"], wanted)
            project = runs.ensure_project(
                tx, user, input.get("entityName"), input.get("projectName")
            )
            return artifacts.link(
                tx, artifact, project, input.get("artifactPortfolioName") or "", wanted
            )

        row = self._context.do(command)
        return {
            "versionIndex": row["version"],
            "artifactMembership": MembershipNode(self._context, row),
        }

    def _linked(self, tx: Tx, user: Row, input: dict[str, Any]) -> Row:
        if input.get("artifactID"):
            return artifacts.get(tx, user, self._artifact_id(input["artifactID"]))
        found = artifacts.by_client_id(tx, user, input.get("clientID") or "")
        if found is None:
            raise MissingError("the artifact to link does not exist.")
        return found

    def unlink_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Take a version out of a collection of links."""
        user = self._context.user

        def command(tx: Tx) -> None:
            number = ids.decode_id("ArtifactCollection", input["artifactPortfolioID"])
            collection = artifacts.get_collection(tx, user, number)
            artifact = artifacts.get(tx, user, self._artifact_id(input["artifactID"]))
            artifacts.unlink(tx, artifact, collection)

        self._context.do(command)
        return {"success": True}

    def update_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Change a version's description, metadata, aliases, tags or time to live."""
        user = self._context.user
        number = self._artifact_id(input["artifactID"])
        row = self._context.do(
            lambda tx: artifacts.update(tx, artifacts.get(tx, user, number), input)
        )
        return {"artifact": ArtifactNode(self._context, row)}

    def delete_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete a version."""
        user = self._context.user
        number = self._artifact_id(input["artifactID"])
        with_aliases = bool(input.get("deleteAliases"))
        self._context.do(
            lambda tx: artifacts.delete(tx, artifacts.get(tx, user, number), with_aliases)
        )
        return {"artifact": {"id": input["artifactID"]}}

    def add_aliases(self, input: dict[str, Any]) -> dict[str, Any]:
        """Give a version aliases."""
        self._change_aliases(input, artifacts.set_alias)
        return {"success": True}

    def delete_aliases(self, input: dict[str, Any]) -> dict[str, Any]:
        """Take aliases from a version."""
        self._change_aliases(input, artifacts.remove_alias)
        return {"success": True}

    def _change_aliases(self, input: dict[str, Any], change: Any) -> None:
        user = self._context.user

        def command(tx: Tx) -> None:
            artifact = artifacts.get(tx, user, self._artifact_id(input["artifactID"]))
            for each in input["aliases"]:
                project = runs.find_project(
                    tx, user, each.get("entityName"), each.get("projectName")
                )
                name = each["artifactCollectionName"]
                collection = artifacts.find_collection(tx, project["id"], name) if project else None
                if collection is None:
                    raise MissingError(f"artifact collection {name!r} not found.")
                change(tx, collection["id"], artifact["id"], each["alias"])

        self._context.do(command)

    def create_artifact_type(self, input: dict[str, Any]) -> dict[str, Any]:
        """Make an artifact type."""
        user = self._context.user

        def command(tx: Tx) -> Row:
            project = runs.ensure_project(
                tx, user, input.get("entityName"), input.get("projectName")
            )
            return artifacts.ensure_type(tx, project["id"], input["name"])

        return {"artifactType": TypeNode(self._context, self._context.do(command))}

    # Collections

    def _collection(self, tx: Tx, opaque: str) -> Row:
        return artifacts.get_collection(
            tx, self._context.user, ids.decode_id("ArtifactCollection", opaque)
        )

    def update_artifact_sequence(self, input: dict[str, Any]) -> dict[str, Any]:
        """Rename or describe a collection."""
        opaque = input.get("artifactSequenceID") or input.get("artifactPortfolioID") or ""
        row = self._context.do(
            lambda tx: artifacts.update_collection(tx, self._collection(tx, opaque), input)
        )
        return {"artifactCollection": CollectionNode(self._context, row)}

    update_artifact_portfolio = update_artifact_sequence

    def move_artifact_sequence(self, input: dict[str, Any]) -> dict[str, Any]:
        """Give a collection another type."""
        row = self._context.do(
            lambda tx: artifacts.retype_collection(
                tx,
                self._collection(tx, input["artifactSequenceID"]),
                input["destinationArtifactTypeName"],
            )
        )
        return {"artifactCollection": CollectionNode(self._context, row)}

    def delete_artifact_sequence(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete a collection."""
        opaque = input.get("artifactSequenceID") or input.get("artifactPortfolioID") or ""

        def command(tx: Tx) -> Row:
            row = self._collection(tx, opaque)
            artifacts.delete_collection(tx, row)
            return row

        node = CollectionNode(self._context, self._context.do(command))
        node.state = "DELETED"
        return {"artifactCollection": node}

    delete_artifact_portfolio = delete_artifact_sequence

    def create_artifact_collection_tag_assignments(self, input: dict[str, Any]) -> dict[str, Any]:
        """Tag a collection."""
        return {"tags": tag_nodes(self._tag(input, is_adding=True))}

    def delete_artifact_collection_tag_assignments(self, input: dict[str, Any]) -> dict[str, Any]:
        """Take tags from a collection."""
        self._tag(input, is_adding=False)
        return {"success": True}

    def _tag(self, input: dict[str, Any], is_adding: bool) -> str:
        user = self._context.user
        names = [each["tagName"] for each in input["tags"]]

        def command(tx: Tx) -> str:
            project = runs.find_project(tx, user, input.get("entityName"), input.get("projectName"))
            name = input["artifactCollectionName"]
            row = artifacts.find_collection(tx, project["id"], name) if project else None
            if row is None:
                raise MissingError(f"artifact collection {name!r} not found.")
            artifacts.tag_collection(
                tx, row, names if is_adding else [], [] if is_adding else names
            )
            return (tx.by_id("collections", row["id"]) or row)["tags"]

        return self._context.do(command)
