"""DataReleaseService on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from horde.api.release.v1 import data_release_service_pb2 as pb
from horde.api.release.v1.data_release_service_pb2_grpc import DataReleaseServiceServicer
from horde.curation.core.errors import InvalidReleaseField
from horde.curation.core.fields import Fields
from horde.curation.core.releases import Asked, Estimate, Finished, State, release_of
from horde.curation.core.removals import RemovalPlace
from horde.curation.doors import release_wire as wire
from horde.curation.doors.visitors import visitor_of
from horde.curation.doors.wire import duration
from horde.curation.neighbours.release_bucket import LINK_LIFETIME
from horde.curation.releases import DataReleases
from horde.curation.tickets import Tickets
from horde.services.pages import read_place, write_place

MAX_RELEASES: Final = 100
USUAL_RELEASES: Final = 20
MAX_ITEMS: Final = 1_000
USUAL_ITEMS: Final = 100

Context = Any


class DataReleaseServicer(DataReleaseServiceServicer):
    """Decode, call, encode."""

    def __init__(self, releases: DataReleases, tickets: Tickets) -> None:
        self._releases = releases
        self._tickets = tickets

    async def CreateDataRelease(
        self, request: pb.CreateDataReleaseRequest, context: Context
    ) -> pb.CreateDataReleaseResponse:
        name, terms = wire.read_create(request)
        if request.dry_run:
            estimate = await self._releases.estimate(visitor_of(context), name, terms)
            return pb.CreateDataReleaseResponse(release=await self._write(estimate))
        release = await self._releases.create(visitor_of(context), name, terms)
        return pb.CreateDataReleaseResponse(release=await self._write(release))

    async def CancelDataRelease(
        self, request: pb.CancelDataReleaseRequest, context: Context
    ) -> pb.CancelDataReleaseResponse:
        return pb.CancelDataReleaseResponse(release=await self._write(await self._releases.cancel(request.name)))

    async def GetDataRelease(self, request: pb.GetDataReleaseRequest, context: Context) -> pb.GetDataReleaseResponse:
        release = await self._releases.get(visitor_of(context), request.name)
        return pb.GetDataReleaseResponse(release=await self._write(release))

    async def ListDataReleases(
        self, request: pb.ListDataReleasesRequest, context: Context
    ) -> pb.ListDataReleasesResponse:
        limit, (after,) = read_page(request, MAX_RELEASES, USUAL_RELEASES, str)
        everything = await self._releases.all(visitor_of(context))
        names = [release.name for release in everything]
        begin = names.index(after) + 1 if after in names else 0
        shown = everything[begin : begin + limit]
        more = len(everything) > begin + limit
        return pb.ListDataReleasesResponse(
            releases=[await self._write(release) for release in shown],
            next_page_token=write_place(shown[-1].name) if more else "",
        )

    async def ListReleaseFiles(
        self, request: pb.ListReleaseFilesRequest, context: Context
    ) -> pb.ListReleaseFilesResponse:
        limit, (after,) = read_page(request, MAX_ITEMS, USUAL_ITEMS, str)
        files = await self._releases.files(request.name, limit, after or "")
        shown = [
            await self._with_way(request.name, wire.write_file(request.name, file))
            for file in files
            if request.kind in (pb.RELEASE_FILE_KIND_UNSPECIFIED, wire.kind_of(file.path))
        ]
        # A page through which nothing fits may be empty, and there are more behind it.
        token = write_place(files[-1].path) if len(files) == limit else ""
        return pb.ListReleaseFilesResponse(files=shown, next_page_token=token)

    async def ListReleaseRemovals(
        self, request: pb.ListReleaseRemovalsRequest, context: Context
    ) -> pb.ListReleaseRemovalsResponse:
        limit, (at, image_id) = read_page(request, MAX_ITEMS, USUAL_ITEMS, str, str)
        since = request.after.ToDatetime(tzinfo=UTC) if request.HasField("after") else None
        place = None if at is None else RemovalPlace(datetime.fromisoformat(at), image_id or "")
        chain = await self._releases.chain(request.name)
        found = await self._releases.removals(chain, place, since, limit + 1)
        shown = found[:limit]
        removals = [wire.write_removal(removal, release_of(removal.journal_hour, chain)) for removal in shown]
        more = len(found) > limit
        token = write_place(shown[-1].removed_at.isoformat(), shown[-1].image_id) if more else ""
        return pb.ListReleaseRemovalsResponse(removals=removals, next_page_token=token)

    async def _write(self, release: Asked | Estimate | Finished) -> pb.DataRelease:
        if isinstance(release, Estimate):
            return wire.write_estimate(release)
        if isinstance(release, Finished):
            return wire.write_finished(release)
        building = release.state is State.BUILDING
        return wire.write_asked(release, await self._releases.progress(release) if building else 0)

    async def _with_way(self, name: str, file: pb.ReleaseFile) -> pb.ReleaseFile:
        url = await self._releases.link(name, file.path)
        if url is not None:
            file.url = url
            file.expires_in.CopyFrom(duration(LINK_LIFETIME))
            return file
        ticket = self._tickets.release_file(f"releases/{name}/{file.path}", file.size_bytes, file.sha256.hex())
        file.address, file.ticket = ticket.address, ticket.token
        file.expires_in.CopyFrom(duration(ticket.expires_in))
        return file


def read_page(request: Any, most: int, usual: int, *kinds: type) -> tuple[int, list[Any]]:
    """How many a page holds, and behind which place it begins. Raises InvalidReleaseField."""
    fields = Fields(InvalidReleaseField)
    limit = fields.page(request.page_size, request.page_token, most, usual)
    place: list[Any] | None = [None] * len(kinds)
    if request.page_token and not fields.found:
        place = read_place(request.page_token, *kinds)
        if place is None or not _is_moment_first(place):
            fields.add("page_token", "is not one that was given out")
    fields.check()
    return limit, place or []


def _is_moment_first(place: list[Any]) -> bool:
    """Of places of two parts the first is a moment."""
    if len(place) < 2:
        return True
    try:
        return datetime.fromisoformat(place[0]).tzinfo is not None
    except ValueError:
        return False
