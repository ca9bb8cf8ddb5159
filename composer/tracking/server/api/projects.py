"""Projects, for pages."""

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.server.services import in_thread, json_response, services
from composer.tracking.store import runs, users


async def listing(request: Request) -> Response:
    """Projects of every entity the user may see, last used first."""
    shared = services(request)

    def read() -> Response:
        with shared.store.reading() as reader:
            user = shared.user(request, reader)
            entities = [row["id"] for row in users.visible_entities(reader, user)]
            rows = runs.list_projects(reader, entities) if entities else []
        return json_response(
            [
                {
                    "entity": row["entity_name"],
                    "name": row["name"],
                    "description": row["description"],
                    "num_runs": row["num_runs"],
                    "created_at": row["created_at"],
                    "last_run_at": row["last_run_at"],
                }
                for row in rows
            ]
        )

    return await in_thread(read)
