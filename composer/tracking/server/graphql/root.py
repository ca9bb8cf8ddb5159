"""The top-level queries. Mutations are inherited from the modules that make them."""

from typing import Any

from composer.tracking.protocol import ids
from composer.tracking.protocol.refusal import MissingError
from composer.tracking.server.graphql.artifact_mutations import ArtifactMutations
from composer.tracking.server.graphql.artifacts import ArtifactNode, CollectionNode
from composer.tracking.server.graphql.context import Context, Page, page
from composer.tracking.server.graphql.run_mutations import RunMutations
from composer.tracking.server.graphql.runs import ProjectNode, RunNode
from composer.tracking.server.graphql.viewer import SERVER_INFO, EntityNode, UserNode
from composer.tracking.store import artifacts, runs, users
from composer.tracking.store.index import Row


class Root(RunMutations, ArtifactMutations):
    """Resolves what a document asks for first."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.server_info = SERVER_INFO

    @property
    def viewer(self) -> UserNode | None:
        """Who asks; None without a valid key."""
        user = self._context.user_or_none
        return UserNode(self._context, user) if user else None

    def entity(self, name: str | None = None) -> EntityNode | None:
        """An entity the asker may use."""
        try:
            row = runs.find_entity(self._context.reader, self._context.user, name)
        except MissingError:
            return None
        return EntityNode(self._context, row)

    def organization(self, name: str | None = None) -> None:
        """None: there are no organizations here."""
        return

    def project(
        self, name: str | None = None, entity_name: str | None = None
    ) -> ProjectNode | None:
        """A project the asker may use."""
        row = runs.find_project(self._context.reader, self._context.user, entity_name, name)
        return ProjectNode(self._context, row) if row else None

    model = project

    def models(
        self, entity_name: str | None = None, after: str | None = None, first: int | None = None
    ) -> Page:
        """Projects of an entity."""
        entity = runs.find_entity(self._context.reader, self._context.user, entity_name)
        rows = runs.list_projects(self._context.reader, [entity["id"]])
        return page(rows, lambda row: ProjectNode(self._context, row), first, after)

    projects = models

    def artifact(self, id: str) -> ArtifactNode | None:
        """A version by its id."""
        number = ids.decode_id("Artifact", id)
        return ArtifactNode(
            self._context, artifacts.get(self._context.reader, self._context.user, number)
        )

    def artifact_collection(self, id: str) -> CollectionNode | None:
        """A collection by its id."""
        number = ids.decode_id("ArtifactCollection", id)
        row = artifacts.get_collection(self._context.reader, self._context.user, number)
        return CollectionNode(self._context, row)

    def client_id_mapping(self, client_id: str) -> dict[str, Any] | None:
        """The artifact that a client knows by an id of its own."""
        row = artifacts.by_client_id(self._context.reader, self._context.user, client_id)
        return {"serverID": ids.encode_id("Artifact", row["id"])} if row else None

    def user(self, user_name: str | None = None) -> UserNode | None:
        """A user: oneself, or anyone for administrators."""
        row = users.by_name(self._context.reader, user_name or "")
        asker = self._context.user
        return (
            UserNode(self._context, row)
            if row and (asker["is_admin"] or row["id"] == asker["id"])
            else None
        )

    def users(self, query: str | None = None) -> dict[str, Any]:
        """Users whose name contains a text; only oneself unless one is an administrator."""
        asker = self._context.user
        found = [
            row
            for row in users.everyone(self._context.reader)
            if (asker["is_admin"] or row["id"] == asker["id"])
            and (query or "") in (row["name"], row["email"], "")
        ]
        return {"edges": [{"node": UserNode(self._context, row)} for row in found]}

    # Nodes for the modules below this one, which cannot import it.

    def run_node(self, row: Row) -> RunNode:
        """A run as a node."""
        return RunNode(self._context, row)

    def user_node(self, row: Row) -> UserNode:
        """A user as a node."""
        return UserNode(self._context, row)

    def project_by_id(self, number: int) -> ProjectNode | None:
        """A project as a node."""
        try:
            return ProjectNode(self._context, runs.project_by_id(self._context.reader, number))
        except MissingError:
            return None
