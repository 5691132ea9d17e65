"""Which path of AI Horde's REST API is answered by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from horde.web_door.core.refusals import Refusal
from horde.web_door.v2.context import COMMON_HEADERS, Context, Handler, answering
from horde.web_door.v2.following import Following
from horde.web_door.v2.generating import Generating
from horde.web_door.v2.reading import Reading
from horde.web_door.v2.sessions import Sessions
from horde.web_door.v2.users import Users
from horde.web_door.v2.workers import Workers
from horde.web_door.v2.working import Working

METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
REFUSED: Final[Mapping[str, str]] = {
    "generate/text": "Texts are not asked for through this door.",
    "interrogate": "Alchemy is not done through this door.",
    "generate/rate": "Pictures are not rated through this door.",
    "generate/pop_multi": "One job is lent at a time.",
    "kudos/award": "Kudos are awarded by operators, and not through this door.",
    "operations": "Addresses are not managed through this door.",
    "filters": "Prompt filters are not managed through this door.",
    "teams": "There are no teams here.",
    "styles": "There are no styles here.",
    "collections": "There are no collections here.",
    "collection_by_name": "There are no collections here.",
    "workers/messages": "Workers are not written to here.",
}
"""What AI Horde has and this door does not, by how its path begins."""


async def preflight(request: Request) -> Response:
    """What browsers ask before they call from another page."""
    return Response(status_code=204, headers=COMMON_HEADERS)


async def refuse(request: Request) -> Response:
    """Anything else: in JSON, which is all that clients read."""
    path = request.path_params["path"].strip("/")
    for beginning, message in REFUSED.items():
        if path == beginning or path.startswith(f"{beginning}/"):
            raise Refusal(501, "NotImplemented", message)
    raise Refusal(404, "NotFound", "There is nothing here.")


def v2_routes(context: Context, sessions: Sessions) -> list[BaseRoute]:
    """Everything under `/api/v2`."""
    generating, following, reading = Generating(context), Following(context), Reading(context)
    working, users = Working(context, sessions), Users(context)
    workers = Workers(context, working)
    answers: list[tuple[str, str, Handler]] = [
        ("POST", "/generate/async", generating.ask),
        ("GET", "/generate/check/{id}", following.check),
        ("GET", "/generate/status/{id}", following.status),
        ("DELETE", "/generate/status/{id}", following.cancel),
        ("GET", "/images/{ticket}/{name}", following.image),
        ("POST", "/generate/pop", working.pop),
        ("POST", "/generate/submit", working.submit),
        ("PUT", "/uploads/{grant}", working.upload),
        ("GET", "/inputs/{ticket}", working.input),
        ("GET", "/find_user", users.find),
        ("GET", "/users", users.users),
        ("GET", "/users/{id}", users.user),
        ("POST", "/kudos/transfer", users.transfer),
        ("PUT", "/sharedkeys", users.make_shared_key),
        ("GET", "/sharedkeys/{id}", users.shared_key),
        ("PATCH", "/sharedkeys/{id}", users.change_shared_key),
        ("DELETE", "/sharedkeys/{id}", users.revoke_shared_key),
        ("GET", "/workers", workers.workers),
        ("GET", "/workers/messages", reading.nothing),
        ("GET", "/workers/name/{name}", workers.by_name),
        ("GET", "/workers/{id}", workers.worker),
        ("PUT", "/workers/{id}", workers.change),
        ("DELETE", "/workers/{id}", workers.delete),
        ("GET", "/status/heartbeat", reading.heartbeat),
        ("GET", "/status/models", reading.models),
        ("GET", "/status/models/{name:path}", reading.model),
        ("GET", "/status/performance", reading.performance),
        ("GET", "/status/modes", reading.modes),
        ("GET", "/status/news", reading.news),
        ("GET", "/stats/img/totals", reading.totals),
        ("GET", "/stats/img/models", reading.model_totals),
        ("GET", "/stats/text/totals", reading.no_texts),
        ("GET", "/stats/text/models", reading.no_texts),
        ("GET", "/documents/terms", reading.terms),
        ("GET", "/documents/privacy", reading.no_document),
        ("GET", "/documents/sponsors", reading.no_document),
        ("GET", "/teams", reading.nothing),
        ("GET", "/styles/image", reading.nothing),
        ("GET", "/styles/text", reading.nothing),
        ("GET", "/collections", reading.nothing),
    ]
    return [
        *(Route(path, answering(handler), methods=[method]) for method, path, handler in answers),
        Route("/{path:path}", preflight, methods=["OPTIONS"]),
        Route("/{path:path}", answering(refuse), methods=METHODS),
    ]
