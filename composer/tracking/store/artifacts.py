"""Artifacts: types, collections, versions, aliases, and who made or used them."""

import secrets
from typing import Any, Final

from composer.tracking.protocol import jsontext, manifest
from composer.tracking.protocol.refusal import BadRequestError, ConflictError, MissingError
from composer.tracking.protocol.shapes import objects
from composer.tracking.store import runs, users
from composer.tracking.store.blobs import BlobStore
from composer.tracking.store.clock import now
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx

SEQUENCE: Final = "SEQUENCE"
PORTFOLIO: Final = "PORTFOLIO"
_MAX_NAME: Final = 128


def create(tx: Tx, user: Row, args: dict[str, Any]) -> Row:
    """Begin a version, or find the committed one with the same contents.

    Raises:
        RefusedError: a name is not allowed, or the collection holds another type.
    """
    project = runs.ensure_project(tx, user, args.get("entityName"), args.get("projectName"))
    names = args.get("artifactCollectionNames") or [args.get("artifactCollectionName")]
    kind = ensure_type(tx, project["id"], _name(args.get("artifactTypeName")))
    collection = ensure_collection(tx, project["id"], kind, _name(names[0]), SEQUENCE)
    shared = _by_distributed_id(tx, collection, args.get("distributedID"))
    if shared is not None:
        return shared
    wanted = [each["alias"] for each in objects(args.get("aliases"))]
    same = _same_digest(tx, collection, args)
    if same is not None:
        for alias in wanted:
            set_alias(tx, collection["id"], same["id"], alias)
        if args.get("clientID"):
            tx.put("settings", name=f"client:{args['clientID']}", value=str(same["id"]))
        return same
    return _begin(tx, user, project, collection, args, wanted)


def _name(name: Any) -> str:
    if (
        not isinstance(name, str)
        or not name.strip()
        or len(name) > _MAX_NAME
        or set("/:\\\0") & set(name)
    ):
        raise BadRequestError(
            f"artifact name or type {str(name)[:80]!r} is not allowed: 1 to {_MAX_NAME} "
            "characters, none of / : \\"
        )
    return name


def _begin(
    tx: Tx, user: Row, project: Row, collection: Row, args: dict[str, Any], wanted: list[str]
) -> Row:
    run = runs.find(tx, project["id"], args["runName"]) if args.get("runName") else None
    tags = [each["tagName"] for each in objects(args.get("tags"))]
    number = tx.put(
        "artifacts",
        collection_id=collection["id"],
        state="PENDING",
        version=None,
        digest=args.get("digest") or "",
        algorithm=args.get("digestAlgorithm") or "MANIFEST_MD5",
        description=args.get("description"),
        metadata=args.get("metadata"),
        size=0,
        file_count=0,
        run_id=run["id"] if run else None,
        user_id=user["id"],
        history_step=args.get("historyStep"),
        client_id=args.get("clientID"),
        sequence_client_id=args.get("sequenceClientID"),
        distributed_id=args.get("distributedID"),
        base_id=None,
        tags=jsontext.dumps(tags),
        wanted_aliases=jsontext.dumps(wanted),
        ttl=args.get("ttlDurationSeconds"),
        commit_hash=secrets.token_hex(10),
        created_at=now(),
        updated_at=now(),
    )
    return get_row(tx, number)


def _by_distributed_id(tx: Tx, collection: Row, distributed_id: str | None) -> Row | None:
    if not distributed_id:
        return None
    return tx.one(
        "SELECT * FROM artifacts WHERE distributed_id = ? AND collection_id = ? AND state = "
        "'PENDING'",
        distributed_id,
        collection["id"],
    )


def _same_digest(tx: Tx, collection: Row, args: dict[str, Any]) -> Row | None:
    if not args.get("digest") or args.get("enableDigestDeduplication") is False:
        return None
    return tx.one(
        "SELECT * FROM artifacts WHERE collection_id = ? AND digest = ? AND state = 'COMMITTED' "
        "ORDER BY version DESC LIMIT 1",
        collection["id"],
        args["digest"],
    )


def ensure_type(tx: Tx, project_id: int, name: str) -> Row:
    """The artifact type of a project, made if there is none."""
    found = find_type(tx, project_id, name)
    if found is None:
        tx.put(
            "artifact_types", project_id=project_id, name=name, description=None, created_at=now()
        )
        found = find_type(tx, project_id, name)
    assert found is not None
    return found


def find_type(reader: Reader, project_id: int, name: str) -> Row | None:
    """An artifact type by name."""
    return reader.one(
        "SELECT * FROM artifact_types WHERE project_id = ? AND name = ?", project_id, name
    )


def ensure_collection(tx: Tx, project_id: int, kind: Row, name: str, form: str) -> Row:
    """A collection of a project, made if there is none.

    Raises:
        ConflictError: the name belongs to a collection of another type or form.
    """
    found = find_collection(tx, project_id, name)
    if found is None:
        tx.put(
            "collections",
            project_id=project_id,
            type_id=kind["id"],
            name=name,
            kind=form,
            description=None,
            tags="[]",
            created_at=now(),
            updated_at=now(),
            next_version=0,
        )
        found = find_collection(tx, project_id, name)
    assert found is not None
    if found["type_id"] != kind["id"]:
        old = tx.by_id("artifact_types", found["type_id"])
        raise ConflictError(
            f"artifact collection {name!r} holds artifacts of type "
            f"{old['name'] if old else '?'!r}, "
            f"not {kind['name']!r}. Use another name."
        )
    if found["kind"] != form:
        raise ConflictError(
            f"{name!r} is a collection of {'links' if form == SEQUENCE else 'versions'}."
        )
    return found


def find_collection(reader: Reader, project_id: int, name: str) -> Row | None:
    """A collection by name."""
    return reader.one(
        "SELECT * FROM collections WHERE project_id = ? AND name = ?", project_id, name
    )


def get_row(reader: Reader, number: int) -> Row:
    """An artifact by number.

    Raises:
        MissingError: there is none.
    """
    row = reader.by_id("artifacts", number)
    if row is None:
        raise MissingError("the artifact does not exist.")
    return row


def get(reader: Reader, user: Row, number: int) -> Row:
    """An artifact by number, if the user may see it.

    Raises:
        MissingError: there is none.
    """
    row = get_row(reader, number)
    get_collection(reader, user, row["collection_id"])
    return row


def get_collection(reader: Reader, user: Row, number: int) -> Row:
    """A collection by number, if the user may see it.

    Raises:
        MissingError: there is none.
    """
    row = reader.by_id("collections", number)
    if row is not None:
        project = runs.project_by_id(reader, row["project_id"])
        entity = reader.by_id("entities", project["entity_id"])
        if entity is not None and users.can_use(user, entity):
            return row
    raise MissingError("the artifact does not exist.")


def entity_id_of(reader: Reader, artifact: Row) -> int:
    """The entity that owns an artifact."""
    return reader.value(
        "SELECT p.entity_id FROM collections c JOIN projects p ON p.id = c.project_id WHERE "
        "c.id = ?",
        artifact["collection_id"],
    )


def latest(reader: Reader, collection_id: int) -> Row | None:
    """The last committed version of a collection."""
    return reader.one(
        "SELECT a.* FROM memberships m JOIN artifacts a ON a.id = m.artifact_id WHERE "
        "m.collection_id = ? "
        "AND a.state = 'COMMITTED' ORDER BY m.version DESC LIMIT 1",
        collection_id,
    )


def by_client_id(reader: Reader, user: Row, client_id: str) -> Row | None:
    """The artifact a client knows by an id of its own: a version, or a collection's latest."""
    value = reader.value("SELECT value FROM settings WHERE name = ?", f"client:{client_id}")
    row = (
        reader.by_id("artifacts", int(value))
        if value
        else reader.one(
            "SELECT * FROM artifacts WHERE client_id = ? OR sequence_client_id = ? ORDER BY "
            "version DESC LIMIT 1",
            client_id,
            client_id,
        )
    )
    if row is None:
        return None
    try:
        return get(reader, user, row["id"])
    except MissingError:
        return None


# Manifests and files


def put_manifest(tx: Tx, artifact: Row, args: dict[str, Any]) -> Row:
    """Note that a manifest will come; a second one of the same kind and name replaces the first.

    Args:
        tx: the transaction.
        artifact: the artifact it describes.
        args: the mutation's input.
    """
    kind = args.get("type") or "FULL"
    name = args.get("name") or "wandb_manifest.json"
    base = args.get("_base")
    old = (
        tx.by_id("manifests", args["_id"])
        if args.get("_id")
        else tx.one(
            "SELECT * FROM manifests WHERE artifact_id = ? AND name = ? AND kind = ? AND "
            "kind != 'PATCH'",
            artifact["id"],
            name,
            kind,
        )
    )
    if old is not None:
        tx.set("manifests", old["id"], digest=args.get("digest") or old["digest"], base_id=base)
        return tx.by_id("manifests", old["id"]) or old
    number = tx.put(
        "manifests",
        artifact_id=artifact["id"],
        kind=kind,
        name=name,
        digest=args.get("digest") or "",
        base_id=base,
        sha256=None,
    )
    row = tx.by_id("manifests", number)
    assert row is not None
    return row


def manifest_of(reader: Reader, artifact_id: int) -> Row | None:
    """The manifest of an artifact whose contents have come; the full one first."""
    return reader.one(
        "SELECT * FROM manifests WHERE artifact_id = ? AND sha256 IS NOT NULL "
        "ORDER BY kind != 'FULL', id DESC LIMIT 1",
        artifact_id,
    )


def has_content(reader: Reader, entity_id: int, md5: str) -> Row | None:
    """Contents with that MD5 that the entity has uploaded before."""
    return reader.one(
        "SELECT * FROM artifact_files WHERE md5 = ? AND entity_id = ? ORDER BY id LIMIT 1",
        md5,
        entity_id,
    )


def put_file(tx: Tx, artifact_id: int, entity_id: int, path: str, blob: Any) -> None:
    """Note contents uploaded for an artifact."""
    old = tx.one(
        "SELECT id FROM artifact_files WHERE artifact_id = ? AND path = ?", artifact_id, path
    )
    fields = {"md5": blob.md5, "sha256": blob.sha256, "size": blob.size, "entity_id": entity_id}
    if old:
        tx.set("artifact_files", old["id"], **fields)
    else:
        tx.put("artifact_files", artifact_id=artifact_id, path=path, **fields)


def commit(tx: Tx, blobs: BlobStore, artifact: Row) -> Row:
    """Finish a version: give it its number, move ``latest`` and the aliases asked for.

    Raises:
        ConflictError: its manifest has not come.
    """
    if artifact["state"] == "COMMITTED":
        return artifact
    row, entries = _full_manifest(tx, blobs, artifact)
    digest = artifact["digest"] if row["kind"] == "FULL" else manifest.digest(entries)
    collection = tx.by_id("collections", artifact["collection_id"])
    assert collection is not None
    version = collection["next_version"] or 0
    tx.set("collections", collection["id"], next_version=version + 1, updated_at=now())
    tx.set(
        "artifacts",
        artifact["id"],
        state="COMMITTED",
        version=version,
        digest=digest,
        size=manifest.size_of(entries),
        file_count=len(entries),
        updated_at=now(),
    )
    tx.put(
        "memberships",
        collection_id=collection["id"],
        artifact_id=artifact["id"],
        version=version,
        created_at=now(),
    )
    for alias in ["latest", *jsontext.loads(artifact["wanted_aliases"] or "[]")]:
        set_alias(tx, collection["id"], artifact["id"], alias)
    tx.announce(kind="artifact", artifact=artifact["id"])
    return get_row(tx, artifact["id"])


def _full_manifest(tx: Tx, blobs: BlobStore, artifact: Row) -> tuple[Row, manifest.Entries]:
    """The manifest with all its patches applied; patched ones are stored anew as a full one."""
    rows = tx.all(
        "SELECT * FROM manifests WHERE artifact_id = ? AND sha256 IS NOT NULL ORDER BY id",
        artifact["id"],
    )
    if not rows:
        raise ConflictError(
            "the artifact's manifest has not been uploaded; log the artifact again."
        )
    full = [row for row in rows if row["kind"] == "FULL"]
    if full:
        return full[-1], manifest.read(blobs.read(full[-1]["sha256"]))
    entries: manifest.Entries = {}
    base = next((row["base_id"] for row in rows if row["base_id"]), None)
    base_row = manifest_of(tx, base) if base else None
    if base_row is not None:
        entries |= manifest.read(blobs.read(base_row["sha256"]))
    for row in rows:
        entries |= manifest.read(blobs.read(row["sha256"]))
    blob = blobs.put(manifest.write(entries))
    tx.put(
        "manifests",
        artifact_id=artifact["id"],
        kind="FULL",
        name="wandb_manifest.json",
        digest="",
        base_id=None,
        sha256=blob.sha256,
    )
    return rows[0], entries


# Aliases, versions, links


def set_alias(tx: Tx, collection_id: int, artifact_id: int, alias: str) -> None:
    """Point an alias of a collection at a version.

    Raises:
        BadRequestError: the alias looks like a version or has characters that names cannot have.
    """
    if not alias or len(alias) > _MAX_NAME or set("/:") & set(alias):
        raise BadRequestError(
            f"alias {alias[:80]!r} is not allowed: 1 to 128 characters, none of / :"
        )
    if alias[0] == "v" and alias[1:].isdigit():
        return  # Version names are not for giving out; clients resolve them by number.
    old = tx.one(
        "SELECT * FROM aliases WHERE collection_id = ? AND alias = ?", collection_id, alias
    )
    if old is None:
        tx.put("aliases", collection_id=collection_id, artifact_id=artifact_id, alias=alias)
    elif old["artifact_id"] != artifact_id:
        tx.set("aliases", old["id"], artifact_id=artifact_id)


def remove_alias(tx: Tx, collection_id: int, artifact_id: int, alias: str) -> None:
    """Take an alias away from a version, if it has it."""
    for row in tx.all(
        "SELECT id FROM aliases WHERE collection_id = ? AND artifact_id = ? AND alias = ?",
        collection_id,
        artifact_id,
        alias,
    ):
        tx.delete("aliases", row["id"])


def aliases(reader: Reader, artifact_id: int, collection_id: int | None = None) -> list[Row]:
    """Aliases of a version, in one collection or all."""
    rows = reader.all("SELECT * FROM aliases WHERE artifact_id = ? ORDER BY id", artifact_id)
    return [row for row in rows if collection_id in (None, row["collection_id"])]


def collection_aliases(reader: Reader, collection_id: int) -> list[Row]:
    """Every alias of a collection."""
    return reader.all("SELECT * FROM aliases WHERE collection_id = ? ORDER BY id", collection_id)


def member(reader: Reader, collection_id: int, alias: str) -> Row | None:
    """The membership that a version, alias or digest names."""
    if alias[:1] == "v" and alias[1:].isdigit() and len(alias) < 12:
        return reader.one(
            "SELECT * FROM memberships WHERE collection_id = ? AND version = ?",
            collection_id,
            int(alias[1:]),
        )
    return reader.one(
        "SELECT m.* FROM memberships m JOIN aliases a ON a.collection_id = m.collection_id AND "
        "a.artifact_id = m.artifact_id WHERE m.collection_id = ? AND a.alias = ?",
        collection_id,
        alias,
    ) or reader.one(
        "SELECT m.* FROM memberships m JOIN artifacts a ON a.id = m.artifact_id WHERE "
        "m.collection_id = ? "
        "AND (a.digest = ? OR a.commit_hash = ?) ORDER BY m.version DESC",
        collection_id,
        alias,
        alias,
    )


def members(reader: Reader, collection_id: int) -> list[Row]:
    """Every version in a collection, newest first."""
    return reader.all(
        "SELECT * FROM memberships WHERE collection_id = ? ORDER BY version DESC", collection_id
    )


def memberships_of(reader: Reader, artifact_id: int) -> list[Row]:
    """Every collection a version is in."""
    return reader.all("SELECT * FROM memberships WHERE artifact_id = ? ORDER BY id", artifact_id)


def link(tx: Tx, artifact: Row, project: Row, name: str, wanted: list[str]) -> Row:
    """Put a version into a collection of links as well; returns the membership.

    Raises:
        ConflictError: the collection is of another type, or the version is not committed.
    """
    if artifact["state"] != "COMMITTED":
        raise ConflictError("only a committed artifact can be linked.")
    source = tx.by_id("collections", artifact["collection_id"])
    old_type = tx.by_id("artifact_types", source["type_id"]) if source else None
    assert old_type is not None
    kind = ensure_type(tx, project["id"], old_type["name"])
    target = ensure_collection(tx, project["id"], kind, _name(name), PORTFOLIO)
    found = tx.one(
        "SELECT * FROM memberships WHERE collection_id = ? AND artifact_id = ?",
        target["id"],
        artifact["id"],
    )
    if found is None:
        version = target["next_version"] or 0
        tx.set("collections", target["id"], next_version=version + 1, updated_at=now())
        number = tx.put(
            "memberships",
            collection_id=target["id"],
            artifact_id=artifact["id"],
            version=version,
            created_at=now(),
        )
        found = tx.by_id("memberships", number)
    for alias in ["latest", *wanted]:
        set_alias(tx, target["id"], artifact["id"], alias)
    assert found is not None
    return found


def unlink(tx: Tx, artifact: Row, collection: Row) -> None:
    """Take a version out of a collection of links."""
    for row in tx.all(
        "SELECT id FROM memberships WHERE collection_id = ? AND artifact_id = ?",
        collection["id"],
        artifact["id"],
    ):
        tx.delete("memberships", row["id"])
    for row in aliases(tx, artifact["id"], collection["id"]):
        tx.delete("aliases", row["id"])


def update(tx: Tx, artifact: Row, args: dict[str, Any]) -> Row:
    """Change a version's description, metadata, aliases, tags or time to live."""
    changes: dict[str, Any] = {"updated_at": now()}
    for name, column in (
        ("description", "description"),
        ("metadata", "metadata"),
        ("ttlDurationSeconds", "ttl"),
    ):
        if args.get(name) is not None:
            changes[column] = args[name]
    tags = set(jsontext.loads(artifact["tags"] or "[]"))
    tags |= {each["tagName"] for each in objects(args.get("tagsToAdd"))}
    tags -= {each["tagName"] for each in objects(args.get("tagsToDelete"))}
    changes["tags"] = jsontext.dumps(sorted(tags))
    tx.set("artifacts", artifact["id"], **changes)
    if args.get("aliases") is not None:
        wanted = {each["alias"] for each in args["aliases"]}
        for row in aliases(tx, artifact["id"], artifact["collection_id"]):
            if row["alias"] not in wanted:
                tx.delete("aliases", row["id"])
        for alias in sorted(wanted):
            set_alias(tx, artifact["collection_id"], artifact["id"], alias)
    return get_row(tx, artifact["id"])


def delete(tx: Tx, artifact: Row, with_aliases: bool = True) -> None:
    """Delete a version; its number is not given again.

    Raises:
        ConflictError: it has aliases and they were not to go with it.
    """
    named = [row for row in aliases(tx, artifact["id"]) if row["alias"] != "latest"]
    if named and not with_aliases:
        raise ConflictError(
            "cannot delete an artifact that has aliases "
            f"({', '.join(row['alias'] for row in named)}); "
            f"use artifact.delete(delete_aliases=True)."
        )
    for row in aliases(tx, artifact["id"]):
        tx.delete("aliases", row["id"])
    for row in memberships_of(tx, artifact["id"]):
        tx.delete("memberships", row["id"])
        _move_latest(tx, row["collection_id"])
    for table in ("manifests", "uses"):
        for row in tx.all(f"SELECT id FROM {table} WHERE artifact_id = ?", artifact["id"]):
            tx.delete(table, row["id"])
    tx.set("artifacts", artifact["id"], state="DELETED", updated_at=now())


def _move_latest(tx: Tx, collection_id: int) -> None:
    newest = latest(tx, collection_id)
    if newest is not None:
        set_alias(tx, collection_id, newest["id"], "latest")


def delete_collection(tx: Tx, collection: Row) -> None:
    """Delete a collection; a sequence takes its versions with it."""
    for row in members(tx, collection["id"]):
        artifact = get_row(tx, row["artifact_id"])
        if collection["kind"] == SEQUENCE:
            delete(tx, artifact)
        else:
            unlink(tx, artifact, collection)
    tx.delete("collections", collection["id"])


def update_collection(tx: Tx, collection: Row, args: dict[str, Any]) -> Row:
    """Rename or describe a collection.

    Raises:
        ConflictError: the name is taken.
    """
    changes: dict[str, Any] = {"updated_at": now()}
    name = args.get("name")
    if name and name != collection["name"]:
        if find_collection(tx, collection["project_id"], _name(name)):
            raise ConflictError(f"there is a collection {name!r} already.")
        changes["name"] = name
    if args.get("description") is not None:
        changes["description"] = args["description"]
    tx.set("collections", collection["id"], **changes)
    return tx.by_id("collections", collection["id"]) or collection


def retype_collection(tx: Tx, collection: Row, type_name: str) -> Row:
    """Give a collection another type."""
    kind = ensure_type(tx, collection["project_id"], _name(type_name))
    tx.set("collections", collection["id"], type_id=kind["id"], updated_at=now())
    return tx.by_id("collections", collection["id"]) or collection


def tag_collection(tx: Tx, collection: Row, add: list[str], remove: list[str]) -> list[str]:
    """Add and remove tags of a collection; returns those it has now."""
    tags = sorted((set(jsontext.loads(collection["tags"] or "[]")) | set(add)) - set(remove))
    tx.set("collections", collection["id"], tags=jsontext.dumps(tags), updated_at=now())
    return tags


# Lineage and lists


def use(tx: Tx, run: Row, artifact: Row, used_as: str | None) -> None:
    """Note that a run uses a version."""
    if not tx.one(
        "SELECT id FROM uses WHERE run_id = ? AND artifact_id = ?", run["id"], artifact["id"]
    ):
        tx.put(
            "uses", run_id=run["id"], artifact_id=artifact["id"], used_as=used_as, created_at=now()
        )


def used_by(reader: Reader, artifact_id: int) -> list[Row]:
    """Runs that use a version."""
    return reader.all(
        "SELECT r.* FROM uses u JOIN runs r ON r.id = u.run_id WHERE u.artifact_id = ? "
        "ORDER BY u.id",
        artifact_id,
    )


def inputs_of(reader: Reader, run_id: int) -> list[Row]:
    """Versions a run uses."""
    return reader.all(
        "SELECT a.* FROM uses u JOIN artifacts a ON a.id = u.artifact_id WHERE u.run_id = ? "
        "ORDER BY u.id",
        run_id,
    )


def outputs_of(reader: Reader, run_id: int) -> list[Row]:
    """Versions a run made."""
    return reader.all(
        "SELECT * FROM artifacts WHERE run_id = ? AND state = 'COMMITTED' ORDER BY id", run_id
    )


def types(reader: Reader, project_id: int) -> list[Row]:
    """Artifact types of a project."""
    return reader.all("SELECT * FROM artifact_types WHERE project_id = ? ORDER BY name", project_id)


def collections(reader: Reader, project_id: int, type_id: int | None = None) -> list[Row]:
    """Collections of a project, of one type or all."""
    rows = reader.all("SELECT * FROM collections WHERE project_id = ? ORDER BY name", project_id)
    return [row for row in rows if type_id in (None, row["type_id"])]
