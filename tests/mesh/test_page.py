"""The page in a real Chromium, before a whole mesh: `make test-page` brings what it needs and keeps screenshots."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.mesh.probing import png, rich_account, scripted
from tests.mesh.v2.calling import web_mesh

from horde.api.account.v1.account_service_pb2 import ACCOUNT_ROLE_MODERATOR
from horde.api.moderation.v1.moderation_service_pb2 import REPORT_REASON_VIOLENT
from horde.cli.local.mesh import LocalMesh
from horde.clients import generation_spec
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.errors import NotFound
from horde.testkit.waiting import HANG_SECONDS, ticks

playwright = pytest.importorskip("playwright.async_api")
axe = pytest.importorskip("axe_playwright_python.async_playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]
WAIT_MS = HANG_SECONDS * 1000
DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}
Page = Any


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    async with web_mesh(tmp_path_factory.mktemp("mesh")) as running:
        await running.start_worker(scripted("anna"))
        async with running.client() as nobody:
            for _ in ticks():
                if [model async for model in nobody.models.list()]:
                    break
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def key(mesh: LocalMesh) -> AsyncIterator[str]:
    async with rich_account(mesh, "Rita") as rita:
        assert isinstance(rita.credential, ApiKey)
        yield rita.credential.secret


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as started:
        # In a container Chromium has no sandbox of its own for root.
        opened = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        await opened.close()


@asynccontextmanager
async def visit(
    browser: Any, mesh: LocalMesh, size: dict[str, int], key: str = "", **options: Any
) -> AsyncIterator[Page]:
    """A browser that nobody used before, at the page; the visit fails if its console says anything bad."""
    context = await browser.new_context(viewport=size, **options)
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # What the mesh refuses, or never answers, Chromium lists as failed to load: that is told to people elsewhere.
    page.on(
        "console",
        lambda said: (
            wrong.append(said.text)
            if said.type in ("error", "warning") and not said.text.startswith("Failed to load resource")
            else None
        ),
    )
    if key:
        await page.add_init_script(f"localStorage.setItem('horde.key', {key!r})")
    await page.goto(mesh.web)
    await page.locator("#quote dl").wait_for()
    yield page
    await context.close()
    assert wrong == []


async def shoot(page: Page, name: str) -> None:
    """Keep what it looks like, for somebody to look at."""
    if folder := os.environ.get("HORDE_SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def ask(page: Page, prompt: str, steps: int = 4, count: int = 1) -> None:
    await page.fill("#prompt", prompt)
    await page.fill("#steps", str(steps))
    await page.fill("#count", str(count))
    await page.click("#go")


async def axe_finds(page: Page) -> list[str]:
    """What axe-core says of the page as it stands."""
    found = await axe.Axe().run(page)
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in found.response["violations"]]


async def test_a_stranger_sees_price_progress_glimpses_and_the_picture(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        assert await page.locator("#share").is_checked()
        assert await page.locator("#share").is_disabled()
        assert "always shared" in await page.inner_text("#share-why")
        quoted = await page.inner_text("#quote dl")
        assert re.search(r"painting\s+[\d.]+\s+tax\s+1\s+in all\s+[\d.]+ kudos", quoted), quoted
        await ask(page, "a red star [slow:0.3]", steps=12)
        await page.locator("img.glimpse").wait_for()
        await page.locator("progress").wait_for()
        await shoot(page, "glimpse")
        await page.locator("button.picture").wait_for()
        await page.locator(".generation [role=status]", has_text="1 of 1 painted").wait_for()
        assert await page.locator("button.picture img").evaluate("image => image.naturalWidth") == 128
        await page.click("button.picture")
        assert "shared with research" in await page.inner_text("#look")
        await shoot(page, "picture")


async def test_cancelling_is_heard_by_the_worker_and_shown(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        await ask(page, "a slow star [slow:1]", steps=400)
        await page.locator("progress").wait_for()
        await page.click("text=Cancel")
        await page.locator("figcaption", has_text="cancelled").wait_for()
        await page.locator(".generation [role=status]", has_text="0 of 1 painted").wait_for()


async def test_with_an_account_sharing_is_a_choice_with_its_price(browser: Any, mesh: LocalMesh, key: str) -> None:
    async with visit(browser, mesh, DESK, key) as page:
        await page.locator("#who", has_text="Rita").wait_for()
        assert not await page.locator("#share").is_checked()
        await page.locator("#quote dl", has_text=re.compile(r"tax\s*3")).wait_for()
        await page.check("#share")
        await page.locator("#quote dl", has_text=re.compile(r"tax\s*1")).wait_for()
        await ask(page, "shared by choice")
        await page.locator("figcaption", has_text="shared").wait_for()


async def test_from_a_picture_with_a_mask_that_is_drawn(
    browser: Any, mesh: LocalMesh, key: str, tmp_path: Path
) -> None:
    source = tmp_path / "source.png"
    source.write_bytes(png(128, 128))
    async with visit(browser, mesh, DESK, key) as page:
        await page.check("#share")
        await page.click("#source-box summary")
        await page.set_input_files("#source", source)
        await page.locator("#quote dl", has_text="from a picture ×1.3").wait_for()
        assert await page.locator("#share").is_disabled()
        assert "stays private" in await page.inner_text("#share-why")
        box = await page.locator("#mask").bounding_box()
        await page.mouse.move(box["x"] + 20, box["y"] + 20)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 90, box["y"] + 60, steps=5)
        await page.mouse.up()
        assert "a part is to be painted anew" in await page.get_attribute("#mask", "aria-label")
        await shoot(page, "mask")
        async with page.expect_request(lambda asked: asked.url.endswith("/v1/generations")) as sent:
            await ask(page, "a hat")
        image = (await sent.value).post_data_json["spec"]["job"]["image"]
        assert set(image["source_image"]) == set(image["mask"]) == {"input_id", "sha256"}
        await page.locator("figcaption", has_text="private").wait_for()


async def test_the_mask_can_be_drawn_with_keys(browser: Any, mesh: LocalMesh, tmp_path: Path) -> None:
    source = tmp_path / "source.png"
    source.write_bytes(png(64, 64))
    async with visit(browser, mesh, DESK) as page:
        await page.click("#source-box summary")
        await page.set_input_files("#source", source)
        await page.focus("#mask")
        for stroke in ("ArrowRight", "ArrowDown", "Space", "Shift+ArrowLeft"):
            await page.keyboard.press(stroke)
        assert "a part is to be painted anew" in await page.get_attribute("#mask", "aria-label")


async def test_what_is_wrong_is_said_at_once_and_nothing_is_lost(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        await page.evaluate("document.querySelector('#ask').noValidate = true")
        await page.fill("#width", "100")
        await page.locator("#quote .error", has_text="width").wait_for()
        await page.fill("#prompt", "kept")
        await page.click("#go")
        await page.locator("#ask-error", has_text="width").wait_for()
        await shoot(page, "error")
        assert await page.input_value("#prompt") == "kept"
        await page.fill("#width", "128")
        await page.locator("#quote dl").wait_for()


async def test_a_wrong_key_is_told_and_not_kept(browser: Any, mesh: LocalMesh, key: str) -> None:
    async with visit(browser, mesh, DESK) as page:
        await page.click("nav >> text=Account")
        await page.fill("#key", "short")
        await page.click("text=Sign in")
        await page.locator("#account [role=alert]", has_text="22 letters and digits").wait_for()
        assert await page.evaluate("localStorage.getItem('horde.key')") is None
        await page.fill("#key", key)
        await page.click("text=Sign in")
        await page.locator("#account", has_text="Statement").wait_for()
        await page.locator("#who", has_text="Rita").wait_for()
        await shoot(page, "account")


async def test_an_account_is_opened_in_the_page(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        await page.click("nav >> text=Account")
        await page.fill("#name", "Nora <b>")
        await page.click("#account >> text=Open >> nth=-1")
        await page.locator("#who", has_text="Nora <b>").wait_for()
        assert len(await page.evaluate("localStorage.getItem('horde.key')")) == 22


async def test_the_gallery_shows_what_was_asked_for_and_asks_again(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        await page.fill("#seed", "7")
        await ask(page, "a gallery <i>star</i>")
        await page.locator("button.picture").wait_for()
        await page.reload()
        await page.click("nav >> text=Gallery")
        await page.locator("#gallery button.picture").click()
        assert "a gallery <i>star</i>" in await page.inner_text("#look")
        await page.click("text=Again with this seed")
        assert await page.input_value("#prompt") == "a gallery <i>star</i>"
        assert await page.input_value("#seed") == "7"
        await page.click("nav >> text=Gallery")
        await page.locator("#gallery button.picture").click()
        link = await page.get_by_text("Link that asks for the same").get_attribute("href")
    async with visit(browser, mesh, DESK) as page:
        await page.goto(f"{mesh.web}/{link}")
        await page.wait_for_function("document.querySelector('#seed').value === '7'")
        assert await page.input_value("#prompt") == "a gallery <i>star</i>"
        assert await page.input_value("#model") == "paintbox"


async def test_a_shared_picture_is_rated(browser: Any, mesh: LocalMesh, key: str) -> None:
    async with visit(browser, mesh, DESK) as page:
        await ask(page, "to be rated", count=3)
        await page.locator("button.picture").nth(2).wait_for()
    async with visit(browser, mesh, DESK, key) as page:
        for _ in ticks():  # Shared pictures can be rated some seconds after they are done.
            await page.click("nav >> text=Paint")
            await page.click("nav >> text=Rate")
            await page.locator("#rate p").first.wait_for()
            if await page.locator("img.rated").count():
                break
            await asyncio.sleep(0.5)
        assert await page.locator("img.rated").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        await shoot(page, "rate")
        first = await page.get_attribute("img.rated", "src")
        await page.get_by_label("8 of 10").click()
        for _ in ticks():
            if await page.locator("img.rated").count() == 0 or await page.get_attribute("img.rated", "src") != first:
                break
            await asyncio.sleep(0.05)


async def test_the_mesh_shows_queue_and_workers_by_model(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        await page.click("nav >> text=Mesh")
        await page.locator("#mesh td", has_text="paintbox").first.wait_for()
        assert "anna" in await page.inner_text("#mesh")
        await shoot(page, "mesh")


async def test_a_mesh_that_fails_is_said_and_asked_again(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        problem = {"status": 500, "code": "INTERNAL", "detail": "Something broke here."}
        await page.route("**/v1/mesh", lambda route: route.fulfill(status=500, json=problem))
        await page.reload()
        await page.locator("#trouble", has_text="Something broke here.").wait_for()
        await shoot(page, "trouble")
        await page.unroute("**/v1/mesh")
        await page.click("text=Try again")
        await page.locator("#quote dl").wait_for()
        assert await page.inner_text("#trouble") == ""


@pytest.mark.parametrize("picture", [False, True], ids=["words", "picture"])
async def test_a_second_click_after_a_lost_answer_asks_for_nothing_new(
    browser: Any, mesh: LocalMesh, key: str, tmp_path: Path, picture: bool
) -> None:
    async with visit(browser, mesh, DESK, key) as page:
        asked: list[dict[str, Any]] = []

        async def lose(route: Any) -> None:
            # The mesh takes it, and its answer is lost on the way back.
            asked.append(route.request.post_data_json)
            await route.fetch()
            await route.abort()

        await page.route(re.compile("/v1/generations$"), lose)
        if picture:
            (tmp_path / "source.png").write_bytes(png(64, 64))
            await page.click("#source-box summary")
            await page.set_input_files("#source", tmp_path / "source.png")
            await page.focus("#mask")
            await page.keyboard.press("Space")
            await page.locator("#quote dl", has_text="from a picture").wait_for()
        await ask(page, f"asked for twice {picture}")
        await page.locator("#ask-error", has_text="cannot be reached").wait_for()
        await page.unroute(re.compile("/v1/generations$"))
        async with page.expect_request(lambda sent: sent.url.endswith("/v1/generations")) as sent:
            await page.click("#go")
        again = (await sent.value).post_data_json
        assert all(body == asked[0] for body in asked)
        assert again == asked[0]
        await page.locator(".generation [role=status]", has_text="1 of 1 painted").wait_for()
        listed = await page.request.get(f"{mesh.web}/v1/generations", headers={"authorization": f"Bearer {key}"})
        prompts = [made["spec"]["job"]["image"]["prompt"] for made in (await listed.json())["generations"]]
        assert prompts.count(f"asked for twice {picture}") == 1


async def test_pictures_that_are_not_shown_any_more_are_let_go(browser: Any, mesh: LocalMesh) -> None:
    count = """
        const [make, drop] = [URL.createObjectURL, URL.revokeObjectURL];
        window.held = new Set();
        URL.createObjectURL = (blob) => { const made = make(blob); held.add(made); return made; };
        URL.revokeObjectURL = (made) => { held.delete(made); drop(made); };
    """
    async with visit(browser, mesh, DESK) as page:
        await ask(page, "let go", count=3)
        await page.locator("button.picture").nth(2).wait_for()
        await page.add_init_script(count)
        await page.reload()
        for _ in range(3):
            await page.click("nav >> text=Gallery")
            await page.locator("#gallery button.picture").nth(2).wait_for()
            assert await page.evaluate("held.size") == 3
            await page.click("nav >> text=Paint")


async def test_an_owner_sees_standing_and_earnings_and_pauses_a_worker(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        await ask(page, "to earn by")
        await page.locator(".generation [role=status]", has_text="1 of 1 painted").wait_for()
    async with visit(browser, mesh, DESK, read_secret(mesh.layout.worker_key) or "") as page:
        await page.click("nav >> text=Account")
        await page.locator("#account", has_text="Your workers").wait_for()
        told = await page.inner_text("#account")
        assert "Not trusted yet" in told
        assert "until your account is 7 days old (it is 0)" in told
        earned = re.search(r"Earned in the last day: ([\d.]+) kudos, of it ([\d.]+) to escrow", told)
        assert earned is not None
        assert 0 < float(earned[2]) < float(earned[1])
        await shoot(page, "owner")
        assert await axe_finds(page) == []
        for now, then in (("Pause", "Let go on"), ("Let go on", "Pause")):
            await page.get_by_role("button", name=f"{now}: anna").click()
            await page.get_by_role("button", name=f"{then}: anna").wait_for()


async def test_a_moderator_sees_what_was_reported_and_decides(browser: Any, mesh: LocalMesh, key: str) -> None:
    async with mesh.client() as nobody, nobody.generation(generation_spec("reported", share=True)) as session:
        generation = await session.finish()
        for _ in ticks():  # A shared picture can be reported some seconds after it is done.
            with contextlib.suppress(NotFound):
                await nobody.moderation.report(generation.images[0].job_id, REPORT_REASON_VIOLENT, "a test", own=True)
                break
            await asyncio.sleep(0.5)
    async with mesh.client(credential=ApiKey(read_secret(mesh.layout.operator_key) or "")) as operator:
        opened = await operator.accounts.create("Mona")
        await operator.standings.set_roles(opened.account.account_id, [ACCOUNT_ROLE_MODERATOR], "for a test")
    async with visit(browser, mesh, PHONE, key) as page:
        await page.locator("#who", has_text="Rita").wait_for()
        assert not await page.locator("#moderate-link").is_visible()
    async with visit(browser, mesh, PHONE, opened.api_key, color_scheme="dark") as page:
        for _ in ticks():
            await page.reload()
            await page.locator("#who", has_text="Mona").wait_for()
            if await page.locator("#moderate-link").is_visible():
                break
        await page.click("nav >> text=Moderate")
        case = page.get_by_role("article", name="Case: reported")
        await case.wait_for()
        assert "violent, a test" in await case.inner_text()
        await case.get_by_text("Show the picture").click()
        assert await case.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        await shoot(page, "moderate")
        assert await axe_finds(page) == []
        await case.get_by_label("Why, for the record").fill("looked at")
        await case.get_by_label("What is wrong").select_option("violent")
        await case.get_by_text("It is not for others").click()
        await case.get_by_text("Decided: not for others").wait_for()
        await page.reload()
        await page.locator("#moderate p", has_text="Nothing waits").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_every_part_passes_axe_fits_and_is_reached_by_keys(
    browser: Any, mesh: LocalMesh, key: str, size: dict[str, int], scheme: str
) -> None:
    async with visit(browser, mesh, size, key, color_scheme=scheme) as page:
        for part in ("Paint", "Gallery", "Rate", "Mesh", "Account"):
            await page.focus(f"nav >> text={part}")
            await page.keyboard.press("Enter")
            await page.locator(f"#page-{part.lower()}").wait_for()
            await page.locator("#account", has_text="Statement").wait_for() if part == "Account" else None
            assert await axe_finds(page) == [], part
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), part
            await shoot(page, f"{scheme}-{size['width']}-{part.lower()}")


async def test_nothing_but_the_page_s_own_files_may_run(browser: Any, mesh: LocalMesh) -> None:
    async with visit(browser, mesh, DESK) as page:
        answer = await page.request.get(mesh.web)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        ran = """() => new Promise(done => {
            addEventListener("securitypolicyviolation", () => done("stopped"));
            const script = document.createElement("script");
            script.textContent = "document.title = 'mine'";
            document.head.append(script);
        })"""
        context = await browser.new_context()
        other = await context.new_page()
        await other.goto(mesh.web)
        assert await other.evaluate(ran) == "stopped"
        await context.close()
