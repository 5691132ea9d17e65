"""What the page asks again, and what it does not: `api.js` as it is, in Node."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess

import pytest

from horde.web_door.contract import rpcs
from horde.web_door.page import FILES
from horde.web_door.v1.rules import Routes

ASKING = """
globalThis.localStorage = { getItem: () => null, setItem() {}, removeItem() {} };
const [api, ...answers] = JSON.parse(process.argv[1]);
let asked = 0;
globalThis.fetch = async () => {
  const told = answers[Math.min(asked, answers.length - 1)];
  asked += 1;
  if (told === null) throw new TypeError("fetch failed");
  return new Response(JSON.stringify(told), { status: told.status ?? 200 });
};
const { post } = await import(`data:text/javascript;base64,${api}`);
await post("/v1/generations", {}).catch(() => {});
console.log(asked);
"""
DONE: dict[str, object] = {"generation": {}}
CALL = re.compile(r"""\b(get|post)\(\s*["`](/v1/[^"`?]+)\??([^"`$]*)""")


@pytest.mark.parametrize(
    ("answers", "times"),
    [
        pytest.param([{"status": 413, "detail": "The body is larger."}, DONE], 1, id="a refusal of HTTP's own"),
        pytest.param([{"status": 400, "code": "INVALID_ARGUMENT"}, DONE], 1, id="a refusal of the mesh"),
        pytest.param([{"status": 503, "code": "UNAVAILABLE"}, DONE], 2, id="a mesh that is away"),
        pytest.param([None, DONE], 2, id="a door that does not answer"),
    ],
)
def test_only_what_may_go_well_later_is_asked_again(answers: list[object], times: int) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    api = base64.b64encode((FILES / "api.js").read_bytes()).decode()
    words = [node, "--input-type=module", "--eval", ASKING, json.dumps([api, *answers])]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(told.stdout) == times


def test_all_that_the_page_asks_for_is_in_the_contract() -> None:
    routes = Routes()
    asked: dict[str, set[str]] = {}
    for file in sorted(FILES.glob("*.js")):
        for verb, path, query in CALL.findall(file.read_text()):
            found = routes.find(verb.upper(), re.sub(r"\$\{[^}]*\}", "x", path))
            assert found is not None, f"{file.name}: {verb} {path}"
            names = {part.partition("=")[0] for part in query.split("&") if part}
            assert names <= set(found[0].rpc.request.DESCRIPTOR.fields_by_name), f"{file.name}: {path}?{query}"
            asked.setdefault(f"{file.name} {path}", set()).update(names)
    assert len(asked) > 10
    # All workers of a large mesh are many pages: whose own they are is the mesh's to find.
    assert "mine" in asked["owner.js /v1/workers"]


def test_all_that_moderators_ask_for_is_in_the_contract() -> None:
    text = (FILES / "moderate.js").read_text()
    service = re.search(r'SERVICE = "([^"]+)"', text)
    assert service is not None
    named = {f"/horde.api.{service[1]}/{name}" for name in re.findall(r"rpc\(`\$\{SERVICE\}/(\w+)`", text)}
    assert len(named) == 3
    assert named <= {rpc.path for rpc in rpcs()}
