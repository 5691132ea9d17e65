"""Envoy in front of a mesh of this machine, by the file that operators use; where there is an Envoy."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

ENVOY: Final = Path(sysconfig.get_path("scripts")) / "envoy"
ROOT: Final = Path(__file__).parents[4]
CONFIGURATION: Final = ROOT / "deploy" / "envoy" / "http.yaml"


@contextmanager
def envoy_of_http(folder: Path, port: int, *, gateway: int, storage: int) -> Iterator[subprocess.Popen[bytes]]:
    """Envoy as the door of HTTP at a port of this machine, before a gateway and a storage router at theirs.

    Only addresses and the descriptors' path are not those of the file.
    """
    described = folder / "contract.binpb"
    subprocess.run([sys.executable, str(ROOT / "protos/generate.py"), "--descriptors", str(described)], check=True)
    document = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    listener = document["static_resources"]["listeners"][0]
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    for http_filter in listener["filter_chains"][0]["filters"][-1]["typed_config"]["http_filters"]:
        if http_filter["name"] == "envoy.filters.http.grpc_json_transcoder":
            http_filter["typed_config"]["proto_descriptor"] = str(described)
    for cluster in document["static_resources"]["clusters"]:
        place = {"address": "127.0.0.1", "port_value": gateway if cluster["name"] == "requesters" else storage}
        endpoint: dict[str, Any] = {"endpoint": {"address": {"socket_address": place}}}
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = [endpoint]
    path = folder / "envoy.json"
    path.write_text(json.dumps(document), "utf-8")
    arguments = [str(ENVOY), "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
