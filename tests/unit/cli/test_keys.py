"""`horde keys`: what it makes is what the services name, and a change of keys refuses no token."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from horde.cli.commands.keys import PASSES, RUN_KEY, SIGNERS, keys
from horde.curation.service import NAME as CURATION
from horde.curation.settings import CurationSettings
from horde.gateway.gateway import NAME as GATEWAY
from horde.gateway.settings import GatewaySettings
from horde.gateway.store.secret_files import load_operator_key, load_passes, load_peppers
from horde.ledger.settings import LedgerSettings
from horde.scheduler.doors.grants import SCHEDULER
from horde.scheduler.settings import Settings as SchedulerSettings
from horde.services.identity import SharedKey
from horde.services.lifecycle import CannotStart
from horde.services.settings import load
from horde.services.tokens import KeyRing, Signer, Verifier
from horde.storage_router.doors.permits import ISSUER as STORAGE_ROUTER
from horde.storage_router.settings import StorageRouterSettings
from horde.webhooks.settings import WebhooksSettings
from horde.webhooks.store.sealing import load_seals

SETTINGS = (
    GatewaySettings,
    SchedulerSettings,
    LedgerSettings,
    StorageRouterSettings,
    CurationSettings,
    WebhooksSettings,
)


def run(*arguments: str) -> dict[str, str]:
    result = CliRunner().invoke(keys, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    made: dict[str, str] = json.loads(result.stdout)
    return made


def test_every_service_starts_with_what_was_made(tmp_path: Path, monkeypatch: object) -> None:
    told = run("init", str(tmp_path))
    with_prefix = {kind: kind.model_config.get("env_prefix", "") for kind in SETTINGS}
    for kind, prefix in with_prefix.items():
        arguments = []
        for name, value in told.items():
            if name.startswith(prefix):
                arguments += [f"--{name.removeprefix(prefix).lower().replace('_', '-')}", value]
        assert arguments
        settings = load(kind, arguments)
        assert settings.key_file is not None
        SharedKey.from_file(settings.key_file)
    load_peppers(Path(told["HORDE_GATEWAY_PEPPER_FILE"]))
    load_passes(Path(told["HORDE_GATEWAY_PASS_KEY_FILE"]))
    load_seals(Path(told["HORDE_WEBHOOKS_SECRETS_KEY_FILE"]))
    for kind, prefix in with_prefix.items():
        # What a service would make for itself at its first start, replicas must be given.
        made = [
            name for name, field in kind.model_fields.items() if "made" in str(field.description) and "_file" in name
        ]
        assert {f"{prefix}{name.upper()}" for name in made} <= told.keys()
    assert set(SIGNERS) == {GATEWAY, SCHEDULER, STORAGE_ROUTER, CURATION}


def test_services_read_them_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    told = run("init", str(tmp_path))
    # Root's, readable by the group of the pod: without a cluster, ours.
    for path in tmp_path.iterdir():
        if path.is_file() and path.name != RUN_KEY:
            path.chmod(0o440)
    load_peppers(Path(told["HORDE_GATEWAY_PEPPER_FILE"]))
    load_passes(Path(told["HORDE_GATEWAY_PASS_KEY_FILE"]))
    load_seals(Path(told["HORDE_WEBHOOKS_SECRETS_KEY_FILE"]))
    load_operator_key(Path(told["HORDE_GATEWAY_OPERATOR_KEY_FILE"]))
    for service, tokens in SIGNERS.items():
        Signer.from_file(tmp_path / f"{service}-{tokens}.pem", service, tmp_path / "public")
    (tmp_path / PASSES).chmod(0o444)
    with pytest.raises(CannotStart, match="others can touch this secret"):
        load_passes(tmp_path / PASSES)


def test_secrets_are_for_their_owner_alone_and_are_made_once(tmp_path: Path) -> None:
    run("init", str(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for path in before:
        if path.parent.name != "public":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    run("init", str(tmp_path))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_change_of_keys_refuses_no_token(tmp_path: Path) -> None:
    run("init", str(tmp_path))
    public = tmp_path / "public"
    now = datetime.now(UTC)
    ring = KeyRing(public, monotonic=lambda: 0.0, pause_seconds=0.0)
    old = Signer.from_file(tmp_path / "gateway-tickets.pem", GATEWAY, public)
    earlier = old.sign("router", {}, timedelta(hours=1), now)
    Verifier(ring).verify(earlier, "router", GATEWAY, now)
    told = run("rotate", str(tmp_path), "gateway", "--overlap-hours", "2")
    new = Signer.from_file(tmp_path / "gateway-tickets.pem", GATEWAY, public)
    assert (told["old"], told["new"]) == (old.key_id, new.key_id)
    assert old.key_id != new.key_id
    later = new.sign("router", {}, timedelta(hours=1), now)
    Verifier(ring).verify(later, "router", GATEWAY, now)
    Verifier(ring).verify(earlier, "router", GATEWAY, now)
    # A service that still signs with the old one at its next start does not make it everlasting.
    ends = json.loads((public / f"{old.key_id}.json").read_text())["exp"]
    assert ends == int(datetime.fromisoformat(told["old_until"]).timestamp())


def test_a_published_key_needs_no_second_writing(tmp_path: Path) -> None:
    run("init", str(tmp_path))
    public = tmp_path / "public"
    before = {path: path.stat().st_mtime_ns for path in public.iterdir()}
    Signer.from_file(tmp_path / "scheduler-grants.pem", SCHEDULER, public)
    assert before == {path: path.stat().st_mtime_ns for path in public.iterdir()}
