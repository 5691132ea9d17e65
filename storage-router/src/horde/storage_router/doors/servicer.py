"""The contract's three services: decode, call, encode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceServicer
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceServicer
from horde.services.addresses import caller_bucket
from horde.services.identity import current_caller
from horde.storage_router.commits import Commits
from horde.storage_router.comparisons import Comparisons
from horde.storage_router.doors import wire
from horde.storage_router.doors.permits import CURATION
from horde.storage_router.downloads import Downloads
from horde.storage_router.input_orders import InputOrders
from horde.storage_router.input_uploads import InputUploads
from horde.storage_router.uploads import Uploads

Context = Any  # ServicerContext[Request, Response], which is generic for the type checker only


class StorageServicer(StorageServiceServicer):
    """The public door for bytes."""

    def __init__(self, uploads: Uploads, inputs: InputUploads, downloads: Downloads) -> None:
        self._uploads = uploads
        self._inputs = inputs
        self._downloads = downloads

    async def PutInput(
        self, request_iterator: AsyncIterator[storage.PutInputRequest], context: Context
    ) -> storage.PutInputResponse:
        messages = wire.read_input_upload(request_iterator)
        stored = await self._inputs.put_in_parts(messages, caller_bucket(context))
        return storage.PutInputResponse(input=wire.write_input(*stored))

    async def PutSmallInput(
        self, request: storage.PutSmallInputRequest, context: Context
    ) -> storage.PutSmallInputResponse:
        address = caller_bucket(context)
        stored = await self._inputs.put(request.ticket, request.data, request.sha256, address)
        return storage.PutSmallInputResponse(input=wire.write_input(*stored))

    async def PutImage(self, request: storage.PutImageRequest, context: Context) -> storage.PutImageResponse:
        address = caller_bucket(context)
        receipt = await self._uploads.put_image(request.grant, request.data, request.sha256, address)
        return storage.PutImageResponse(receipt=receipt.token)

    async def UploadImage(
        self, request_iterator: AsyncIterator[storage.UploadImageRequest], context: Context
    ) -> AsyncIterator[storage.UploadImageResponse]:
        messages = wire.read_image_upload(request_iterator)
        async for answer in self._uploads.upload_image(messages, caller_bucket(context)):
            yield wire.write_upload_answer(answer)

    async def Download(
        self, request: storage.DownloadRequest, context: Context
    ) -> AsyncIterator[storage.DownloadResponse]:
        async for part in self._downloads.download(request.ticket, request.offset):
            yield wire.write_download(part)

    async def CreateLink(self, request: storage.CreateLinkRequest, context: Context) -> storage.CreateLinkResponse:
        return wire.write_link(await self._downloads.link(request.ticket))


class ObjectServicer(ObjectServiceServicer):
    """What the other services ask."""

    def __init__(self, commits: Commits, comparisons: Comparisons, inputs: InputOrders) -> None:
        self._commits = commits
        self._comparisons = comparisons
        self._inputs = inputs

    async def CommitObjects(
        self, request: objects.CommitObjectsRequest, context: Context
    ) -> objects.CommitObjectsResponse:
        return wire.write_commits(await self._commits.commit(wire.read_commits(request)))

    async def DiscardObjects(
        self, request: objects.DiscardObjectsRequest, context: Context
    ) -> objects.DiscardObjectsResponse:
        outcomes = await self._commits.discard(wire.read_discards(request))
        return objects.DiscardObjectsResponse(outcomes=wire.write_statuses(outcomes))

    async def WithdrawObjects(
        self, request: objects.WithdrawObjectsRequest, context: Context
    ) -> objects.WithdrawObjectsResponse:
        outcomes = await self._commits.withdraw(
            wire.read_withdrawals(request, shared_alone=current_caller() == CURATION)
        )
        return objects.WithdrawObjectsResponse(outcomes=wire.write_statuses(outcomes))

    async def CompareObjects(
        self, request: objects.CompareObjectsRequest, context: Context
    ) -> objects.CompareObjectsResponse:
        return wire.write_distances(await self._comparisons.compare(wire.read_comparisons(request)))

    async def DescribeInputs(
        self, request: objects.DescribeInputsRequest, context: Context
    ) -> objects.DescribeInputsResponse:
        outcomes = await self._inputs.describe(wire.read_requester(request.requester), wire.read_inputs(request.inputs))
        return wire.write_descriptions(request.inputs, outcomes)

    async def ClaimInputs(self, request: objects.ClaimInputsRequest, context: Context) -> objects.ClaimInputsResponse:
        outcomes = await self._inputs.claim(
            wire.read_generation(request.generation_id),
            wire.read_requester(request.requester),
            wire.read_inputs(request.inputs),
        )
        return objects.ClaimInputsResponse(outcomes=wire.write_statuses(outcomes))

    async def ReleaseInputs(
        self, request: objects.ReleaseInputsRequest, context: Context
    ) -> objects.ReleaseInputsResponse:
        outcomes = await self._inputs.release(wire.read_releases(request))
        return objects.ReleaseInputsResponse(outcomes=wire.write_statuses(outcomes))

    async def DeleteInputs(
        self, request: objects.DeleteInputsRequest, context: Context
    ) -> objects.DeleteInputsResponse:
        outcomes = await self._inputs.delete(
            wire.read_requester(request.requester), wire.read_input_ids(request.input_ids)
        )
        return objects.DeleteInputsResponse(outcomes=wire.write_statuses(outcomes))

    async def ForgetRequester(
        self, request: objects.ForgetRequesterRequest, context: Context
    ) -> objects.ForgetRequesterResponse:
        return objects.ForgetRequesterResponse(left=await self._inputs.forget(wire.read_requester(request.requester)))
