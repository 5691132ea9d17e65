"""AI Horde's clients ask for pictures through a whole mesh, as they do: over HTTP, polling, without a key after the
first call."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.mesh.probing import png, rich_account, scripted
from tests.mesh.v2.calling import ANONYMOUS, Door, door_of, web_mesh
from tests.mesh.v2.shapes import Accepted, ModelStatus, Performance, Priced, Status, Totals, User, WorkerDetails

from horde.api.generation.v1.generation_pb2 import Generation
from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey

SOURCE = base64.b64encode(png()).decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    async with web_mesh(tmp_path_factory.mktemp("mesh")) as running:
        await running.start_worker(scripted("anna"))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(mesh: LocalMesh) -> AsyncIterator[HordeClient]:
    async with rich_account(mesh, "Rita") as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nobody(mesh: LocalMesh) -> AsyncIterator[Door]:
    async with door_of(mesh) as door:
        while not (await door.call("GET", "status/models")).json():
            await asyncio.sleep(0.1)
        yield door


@pytest.fixture(scope="module")
def rita(nobody: Door, account: HordeClient) -> Door:
    """The door, for somebody with an account."""
    assert isinstance(account.credential, ApiKey)
    return nobody.by(account.credential.secret)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def newest(account: HordeClient) -> Generation:
    """What was last asked for, as the mesh's own clients see it."""
    async for generation in account.generations.list(page_size=1):
        return generation
    raise AssertionError("nothing was asked for")


async def fetched(door: Door, status: Status) -> bytes:
    answer = await door.http.get(status.generations[0].img)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("image/")
    return answer.content


async def test_pictures_are_asked_for_watched_and_fetched(rita: Door) -> None:
    status = await rita.painted(params={"n": 2, "seed": "7"}, prompt="a fox ### a hound")
    assert (status.finished, status.waiting, status.faulted, status.wait_time) == (2, 0, False, 0)
    assert [each.seed for each in status.generations] == ["7", "8"]
    assert {each.state for each in status.generations} == {"ok"}
    assert status.generations[0].worker_name == "anna"
    assert await fetched(rita, status)
    head = await rita.http.head(status.generations[0].img)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(await fetched(rita, status))
    assert status.kudos > 0


async def test_what_was_asked_arrives_in_the_words_of_the_mesh(rita: Door, account: HordeClient) -> None:
    accepted = await rita.ask(
        prompt="a fox ### a hound",
        models=["scripted", "paintbox"],
        shared=True,
        params={"width": 128, "steps": 5, "cfg_scale": 5.5, "clip_skip": 2, "seed": "word", "hires_fix": True},
    )
    await rita.finished(accepted.id)
    spec = (await newest(account)).spec
    image = spec.job.image
    assert (image.prompt, image.negative_prompt) == ("a fox", "a hound")
    assert (image.width, image.height, image.steps, image.clip_skip) == (128, 64, 5, 1)
    assert image.guidance_scale == 5.5
    assert image.HasField("hires_fix")
    assert 0 <= image.seed < 2**32
    assert spec.share


async def test_pictures_come_as_text_where_no_links_are_wanted(rita: Door) -> None:
    status = await rita.painted(r2=False)
    picture = base64.b64decode(status.generations[0].img, validate=True)
    assert picture[:4] in (b"RIFF", b"\x89PNG") or picture[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    ("who", "body", "shared"),
    [
        ("rita", {}, False),
        ("rita", {"shared": True}, True),
        ("rita", {"shared": True, "source_image": SOURCE}, False),
        ("nobody", {}, True),
        ("nobody", {"shared": False}, True),
        ("nobody", {"source_image": SOURCE}, False),
    ],
)
async def test_sharing_follows_the_rules(
    who: str, body: dict[str, Any], shared: bool, request: pytest.FixtureRequest
) -> None:
    door: Door = request.getfixturevalue(who)
    accepted = await door.ask(**body)
    status = await door.finished(accepted.id)
    assert status.shared is shared
    if who == "nobody" and shared:
        assert "shared with research" in accepted.message
    if body.get("shared") and not shared:
        assert "stays private" in accepted.message


async def test_a_mask_comes_with_its_picture(rita: Door) -> None:
    body = {"source_image": SOURCE, "source_mask": SOURCE, "source_processing": "inpainting"}
    assert len((await rita.painted(**body)).generations) == 1


async def test_a_price_is_told_and_nothing_is_asked_for(rita: Door) -> None:
    before = (await rita.get("find_user", User)).kudos
    for body in ({}, {"source_image": SOURCE}):
        asked = {"prompt": "x", "dry_run": True, "params": {"width": 64, "height": 64, "steps": 4}, **body}
        answer = await rita.call("POST", "generate/async", asked)
        assert answer.status_code == 200, answer.text
        assert Priced.model_validate_json(answer.text).kudos > 1
    assert (await rita.get("find_user", User)).kudos == before


async def test_giving_up_keeps_what_is_finished_and_ends_the_rest(rita: Door) -> None:
    accepted = await rita.ask(prompt="a fox [slow:5]", params={"n": 3, "steps": 50})
    answer = await rita.by("").call("DELETE", f"generate/status/{accepted.id}")
    Status.model_validate_json(answer.text)
    status = await rita.finished(accepted.id)
    assert status.done
    again = await rita.by("").call("DELETE", f"generate/status/{accepted.id}")
    assert Status.model_validate_json(again.text).done


async def test_an_id_is_the_only_right_and_nothing_else_opens_it(rita: Door, account: HordeClient) -> None:
    status = await rita.painted()
    generation = await newest(account)
    for guess in (
        generation.generation_id,
        generation.request_id,
        generation.images[0].job_id,
        str(uuid.uuid4()),
        "nonsense",
        "0" * 36,
    ):
        for method, path in (("GET", "check"), ("GET", "status"), ("DELETE", "status")):
            assert await rita.refused(method, f"generate/{path}/{guess}") == (404, "RequestNotFound")
    assert status.generations[0].id == generation.images[0].job_id


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"prompt": ""}, (400, "MissingPrompt")),
        ({"prompt": None}, (400, "MissingPrompt")),
        ({"prompt": "### only what is not wanted"}, (400, "MissingPrompt")),
        ({"prompt": "x" * 5_000}, (400, "InvalidPromptSize")),
        ({"prompt": "nul \0"}, (400, "NulByteInPayload")),
        ({"params": {"width": 65}}, (400, "BadRequest")),
        ({"params": {"width": "wide"}}, (400, "BadRequest")),
        ({"params": {"n": 21}}, (400, "BadRequest")),
        ({"params": {"sampler_name": "k_magic"}}, (400, "BadRequest")),
        ({"params": {"post_processing": ["magic"]}}, (400, "BadRequest")),
        ({"params": {"post_processing": ["RealESRGAN_x4plus", "NMKD_Siax"]}}, (400, "TooManyUpscalers")),
        ({"params": {"loras": [{"name": "x"}] * 6}}, (400, "TooManyLoras")),
        ({"params": {"tis": [{"name": "x"}] * 21}}, (400, "TooManyTIs")),
        ({"params": {"control_type": "canny"}}, (400, "ControlNetInvalidPayload")),
        ({"params": {"workflow": "qr_code"}}, (400, "BadRequest")),
        ({"params": {"transparent": True}}, (400, "BadRequest")),
        ({"source_mask": SOURCE}, (400, "SourceMaskUnnecessary")),
        ({"source_image": SOURCE, "source_processing": "inpainting"}, (400, "InpaintingMissingMask")),
        ({"source_image": SOURCE, "source_processing": "remix"}, (400, "BadRequest")),
        ({"source_image": "http://127.0.0.1/secret.png"}, (400, "ImageValidationFailed")),
        ({"source_image": base64.b64encode(b"no picture").decode()}, (400, "ImageValidationFailed")),
        ({"models": ["nobody has it"]}, (400, "NoValidWorkers")),
        ({"workers": [str(uuid.uuid4())]}, (404, "WorkerNotFound")),
        ({"workers": ["me"]}, (404, "WorkerNotFound")),
        ({"webhook": "https://example.org/"}, (400, "BadRequest")),
        ({"style": "a style"}, (404, "StyleNotFound")),
        ({"proxied_account": "x"}, (403, "OnlyServiceAccountProxy")),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_code_and_leaves_nothing(
    body: dict[str, Any], told: tuple[int, str], rita: Door
) -> None:
    before = (await rita.get("find_user", User)).kudos
    params = {"width": 64, "height": 64, "steps": 4, **body.get("params", {})}
    assert await rita.refused("POST", "generate/async", {"prompt": "a fox", **body, "params": params}) == told
    assert (await rita.get("find_user", User)).kudos == before


async def test_what_is_no_json_is_refused(nobody: Door) -> None:
    for content in (b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000):
        answer = await nobody.http.post("generate/async", content=content, headers={"apikey": ANONYMOUS})
        assert (answer.status_code, answer.json()["rc"]) == (400, "BadRequest")


@pytest.mark.parametrize("key", ["x", "a" * 22, "00000000-0000-0000-0000-000000000000", "x" * 1_000])
async def test_a_key_that_is_none_is_told(key: str, nobody: Door) -> None:
    stranger = nobody.by(key)
    assert await stranger.refused("POST", "generate/async", {"prompt": "a fox"}) == (401, "InvalidAPIKey")
    assert await stranger.refused("GET", "find_user") == (401, "InvalidAPIKey")


async def test_wishes_that_are_not_fulfilled_are_warned_of(rita: Door) -> None:
    accepted = await rita.ask(
        trusted_workers=True,
        censor_nsfw=True,
        allow_downgrade=True,
        shiny=True,
        params={"sampler_name": "k_lms", "cfg_scale": 40, "seed_variation": 5, "n": 2, "lustre": 1},
    )
    assert {warning.code for warning in accepted.warnings} == {"SamplerMismatch", "CfgScaleTooLarge"}
    for words in ("by trust", "not rated", "not made smaller", "the one before", "shiny", "params.lustre", "k_lms"):
        assert words in accepted.message
    await rita.finished(accepted.id)


async def test_a_key_tells_who_it_is_and_gives_kudos_once(rita: Door, nobody: Door, mesh: LocalMesh) -> None:
    me = await rita.get("find_user", User)
    assert me.username == f"Rita#{me.id}"
    async with rich_account(mesh, "Otto") as otto:
        assert isinstance(otto.credential, ApiKey)
        other = rita.by(otto.credential.secret)
        you = await other.get("find_user", User)
        gift = {"username": you.username, "amount": 5}
        for _ in range(2):
            answer = await rita.call("POST", "kudos/transfer", gift, **{"idempotency-key": "a gift"})
            assert answer.json() == {"transferred": 5}
        assert (await other.get("find_user", User)).kudos == you.kudos + 5
        assert (await rita.get(f"users/{me.id}", User)).id == me.id
        assert await rita.refused("GET", f"users/{you.id}") == (404, "UserNotFound")
    assert (await nobody.get("find_user", User)).username == "Anonymous#0"


@pytest.mark.parametrize(
    ("who", "body", "told"),
    [
        ("nobody", {"username": "x#1", "amount": 1}, (400, "KudosTransferFromAnon")),
        ("rita", {"username": "Anonymous#0", "amount": 1}, (400, "KudosTransferToAnon")),
        ("rita", {"username": "somebody", "amount": 1}, (400, "InvalidTargetUsername")),
        ("rita", {"username": "x#99999999", "amount": 1}, (404, "UserNotFound")),
        ("rita", {"username": "x#1", "amount": -1}, (400, "NegativeKudosTransfer")),
        ("rita", {"username": "x#1"}, (400, "BadRequest")),
    ],
)
async def test_a_gift_that_cannot_be_is_refused(
    who: str, body: dict[str, Any], told: tuple[int, str], request: pytest.FixtureRequest
) -> None:
    door: Door = request.getfixturevalue(who)
    assert await door.refused("POST", "kudos/transfer", body) == told


async def test_a_shared_key_is_made_used_changed_and_revoked(rita: Door) -> None:
    made = (await rita.call("PUT", "sharedkeys", {"kudos": 100, "name": "friends", "expiry": 1})).json()
    friend = rita.by(made["id"])
    assert len((await friend.painted()).generations) == 1
    seen = (await rita.by("").call("GET", f"sharedkeys/{made['id']}")).json()
    assert seen["kudos"] < 100
    assert seen["name"] == "friends"
    changed = await rita.call("PATCH", f"sharedkeys/{made['id']}", {"kudos": 0})
    assert changed.status_code == 200
    assert await friend.refused("POST", "generate/async", {"prompt": "x"}) == (403, "SharedKeyInsufficientKudos")
    assert (await rita.call("DELETE", f"sharedkeys/{made['id']}")).json() == {"message": "OK"}
    for _ in range(100):
        if await friend.refused("POST", "generate/async", {"prompt": "x"}) == (401, "InvalidAPIKey"):
            break


async def test_what_anybody_may_look_at_has_its_shape(nobody: Door, rita: Door) -> None:
    await rita.painted()
    models = [ModelStatus.model_validate(each) for each in (await nobody.call("GET", "status/models")).json()]
    assert models
    name = models[0].name
    (one,) = (await nobody.call("GET", f"status/models/{name}")).json()
    assert one["name"] == name
    assert (await nobody.call("GET", "status/models?min_count=1000")).json() == []
    assert (await nobody.call("GET", "status/models?type=text")).json() == []
    await nobody.get("status/performance", Performance)
    await nobody.get("stats/img/totals", Totals)
    assert set((await nobody.call("GET", "stats/img/models")).json()) == {"day", "month", "total"}
    assert (await nobody.call("GET", "status/modes")).json()["maintenance_mode"] is False
    assert (await nobody.call("GET", "status/news")).json() == []
    assert "markdown" in (await nobody.call("GET", "documents/terms?format=markdown")).json()
    (worker,) = [WorkerDetails.model_validate(each) for each in (await nobody.call("GET", "workers")).json()]
    assert (await nobody.get(f"workers/{worker.id}", WorkerDetails)).name == "anna"
    assert (await nobody.get("workers/name/anna", WorkerDetails)).id == worker.id


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("GET", "status/models/nobody", (404, "ModelNotFound")),
        ("GET", "status/models?model_state=bogus", (400, "BadRequest")),
        ("GET", "workers/5d9b3c1e-0000-4000-8000-00000000aaaa", (404, "WorkerNotFound")),
        ("GET", "workers/name/nobody", (404, "WorkerNotFound")),
        ("PUT", "workers/5d9b3c1e-0000-4000-8000-00000000aaaa", (404, "WorkerNotFound")),
        ("POST", "generate/text/async", (501, "NotImplemented")),
        ("POST", "interrogate/async", (501, "NotImplemented")),
        ("GET", "documents/privacy", (404, "DocumentNotFound")),
        ("GET", "nothing/of/the/kind", (404, "NotFound")),
        ("PATCH", "generate/async", (404, "NotFound")),
    ],
)
async def test_what_is_not_there_is_told_in_their_form(
    method: str, path: str, told: tuple[int, str], rita: Door
) -> None:
    assert await rita.refused(method, path, {"maintenance": True} if method == "PUT" else None) == told


async def test_pages_of_other_origins_may_call(nobody: Door) -> None:
    asked = await nobody.call("OPTIONS", "generate/async", origin="https://example.org")
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    for answer in (await nobody.call("GET", "find_user"), await nobody.call("GET", "generate/check/x")):
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_shapes_refuse_what_clients_refuse() -> None:
    good = {"id": str(uuid.uuid4()), "kudos": 1.5}
    Accepted.model_validate(good)
    for name, value in (("id", str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))), ("kudos", "1"), ("kudos", None)):
        with pytest.raises(ValueError, match=name):
            Accepted.model_validate({**good, name: value})


async def test_a_body_that_is_too_large_is_refused(rita: Door) -> None:
    gift = {"username": "x#1", "amount": 1, "padding": "x" * 1_000_000}
    assert await rita.refused("POST", "kudos/transfer", gift) == (413, "BadRequest")
