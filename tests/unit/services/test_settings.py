"""Settings fail at the start, by name; secrets are files that others cannot read; failpoints are armed by name."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic_settings import SettingsConfigDict

from horde.services import failpoints
from horde.services.errors import Unavailable
from horde.services.failpoints import arm, declare, declared, failpoint, failpoint_sync
from horde.services.identity import AllowList, PeerCertificate, SharedKey, create_key_file, prove, read_key
from horde.services.settings import BadSettings, ServiceSettings, load, load_or_exit
from horde.services.tls import is_loopback


class WeatherSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="WEATHER_")
    among_services: ClassVar[bool] = False

    stations: int
    """How many stations there are."""


def test_settings_come_from_the_environment_under_the_services_prefix(monkeypatch: Any) -> None:
    monkeypatch.setenv("WEATHER_STATIONS", "7")
    monkeypatch.setenv("WEATHER_GRACE_SECONDS", "1.5")
    settings = load(WeatherSettings)
    assert (settings.stations, settings.grace_seconds, settings.reflection) == (7, 1.5, False)
    assert settings.identity() is None
    assert settings.tls() is None
    with pytest.raises(Exception, match="frozen"):
        settings.stations = 8


def test_a_bad_setting_is_named_and_its_value_kept_quiet(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("WEATHER_STATIONS", "hunter2")
    monkeypatch.setenv("WEATHER_LOG_LEVEL", "shout")
    with pytest.raises(BadSettings) as caught:
        load(WeatherSettings)
    assert "WEATHER_STATIONS: " in str(caught.value)
    assert "WEATHER_LOG_LEVEL: " in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SystemExit) as left:
        load_or_exit(WeatherSettings, [])
    assert left.value.code == 2
    assert "WEATHER_STATIONS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("STATIONS", "many", "must be a whole number"),
        ("GRACE_SECONDS", "soon", "must be a number"),
        ("GRACE_SECONDS", "-1", "must be 0 or more"),
        ("GRACE_SECONDS", "601", "must be 600 or less"),
        ("REFLECTION", "perhaps", "must be true or false"),
        ("LOG_LEVEL", "shout", "must be 'debug', 'info', 'warning' or 'error'"),
        ("LISTEN", "127.0.0.1:99999", "a port is 65535 at most"),
        ("LISTEN", "127.0.0.1", "must be HOST:PORT"),
        ("METRICS_LISTEN", "0.0.0.0:65536", "a port is 65535 at most"),
        ("HEALTH_LISTEN", "[::1]:9" + "9" * 20, "must be HOST:PORT"),
    ],
)
def test_a_bad_setting_is_told_in_plain_words(variable: str, value: str, words: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("WEATHER_STATIONS", "7")
    monkeypatch.setenv(f"WEATHER_{variable}", value)
    with pytest.raises(BadSettings) as caught:
        load(WeatherSettings)
    assert str(caught.value) == f"WEATHER_{variable}: {words}"


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:65535", "0.0.0.0:7700", "unix:/run/weather"])
def test_an_address_to_listen_on_is_taken(address: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("WEATHER_STATIONS", "7")
    monkeypatch.setenv("WEATHER_LISTEN", address)
    assert load(WeatherSettings).listen == address


def test_a_variable_that_begins_like_ours_and_is_none_ends_the_start(monkeypatch: Any) -> None:
    monkeypatch.setenv("WEATHER_STATIONS", "7")
    monkeypatch.setenv("WEATHER_STATOINS", "8")
    with pytest.raises(BadSettings, match="WEATHER_STATOINS: there is no such setting; did you mean WEATHER_STATIONS"):
        load(WeatherSettings)


@pytest.mark.parametrize(
    "name",
    ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT", "PORT_7703_TCP", "PORT_7703_TCP_ADDR"],
)
def test_what_kubernetes_puts_into_the_environment_is_no_mistake(monkeypatch: Any, name: str) -> None:
    monkeypatch.setenv("WEATHER_STATIONS", "7")
    monkeypatch.setenv(f"WEATHER_{name}", "tcp://10.0.0.1:7703")
    assert load(WeatherSettings).stations == 7


class NeighbourSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="NEIGHBOUR_")


def test_a_service_without_a_proof_of_its_name_does_not_start(monkeypatch: Any, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="NEIGHBOUR_KEY_FILE: without it"):
        load(NeighbourSettings)
    monkeypatch.setenv("NEIGHBOUR_KEY_FILE", str(tmp_path / "key"))
    assert load(NeighbourSettings).key_file == tmp_path / "key"
    monkeypatch.delenv("NEIGHBOUR_KEY_FILE")
    monkeypatch.setenv("NEIGHBOUR_TLS_NAME_SUFFIX", ".mesh.example")
    assert load(NeighbourSettings).tls_name_suffix == ".mesh.example"


def test_the_command_line_is_stronger_than_the_environment(monkeypatch: Any) -> None:
    monkeypatch.setenv("WEATHER_STATIONS", "7")
    assert load(WeatherSettings, ["--log-level", "debug"]).stations == 7
    assert load(WeatherSettings, ["--stations", "8"]).stations == 8


def test_help_tells_every_setting(monkeypatch: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as left:
        load_or_exit(WeatherSettings, ["--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert "--stations" in told
    assert "--grace-seconds" in told


def test_a_setting_that_is_none_ends_the_start(capsys: Any) -> None:
    with pytest.raises(SystemExit) as left:
        load_or_exit(WeatherSettings, ["--stationz", "7"])
    assert left.value.code == 2
    assert "--stationz" in capsys.readouterr().err


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(BadSettings, match="WEATHER_STATIONS: "):
        load(WeatherSettings)


def test_every_field_says_what_it_is_for() -> None:
    assert all(field.description for field in WeatherSettings.model_fields.values())


def test_a_key_file_is_for_its_owner_alone(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "key"
    create_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    first = read_key(path)
    create_key_file(path)
    assert read_key(path) != first
    monkeypatch.setenv("WEATHER_STATIONS", "1")
    monkeypatch.setenv("WEATHER_KEY_FILE", str(path))
    credentials = load(WeatherSettings).credentials("barometer")
    assert credentials is not None
    assert credentials.headers == (("mesh-caller", "barometer"), ("mesh-proof", prove(read_key(path), "barometer")))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o666, 0o700 | 0o010])
def test_a_key_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    create_key_file(path)
    path.chmod(mode)
    with pytest.raises(PermissionError):
        SharedKey.from_file(path)


def test_a_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("00ff")
    path.chmod(0o600)
    with pytest.raises(ValueError, match="not a key file"):
        read_key(path)


@pytest.mark.parametrize(
    ("names", "caller"),
    [
        ([b"planner.mesh.example"], "planner"),
        ([b"other.example", b"storage-router.mesh.example"], "storage-router"),
        ([b"planner.mesh.example.evil.example"], ""),
        ([b"a.b.mesh.example"], ""),
        ([b".mesh.example"], ""),
        ([], ""),
    ],
)
def test_a_certificate_says_the_callers_name(names: list[bytes], caller: str) -> None:
    identity = PeerCertificate(".mesh.example")
    assert identity.identify((), lambda: {"x509_subject_alternative_name": names}) == caller


def test_an_allow_list_refuses_what_is_no_method() -> None:
    with pytest.raises(ValueError, match="neither"):
        AllowList({"test.Echo/Say": {"x"}})


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/tmp/x", True),
        ("dns:///localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_what_is_on_this_machine(target: str, local: bool) -> None:
    assert is_loopback(target) is local


class TestFailpoints:
    @pytest.fixture(autouse=True)
    def point(self) -> Any:
        yield declare("test.point")
        arm("")

    async def test_nothing_happens_unless_armed(self) -> None:
        assert "test.point" in declared()
        await failpoint("test.point")
        failpoint_sync("test.point")

    async def test_an_error_at_the_nth_pass_alone(self) -> None:
        arm("test.point=error@2")
        await failpoint("test.point")
        with pytest.raises(Unavailable):
            await failpoint("test.point")
        failpoint_sync("test.point")

    async def test_a_delay(self) -> None:
        arm("test.point=delay:0.01")
        loop = asyncio.get_running_loop()
        began = loop.time()
        await failpoint("test.point")
        failpoint_sync("test.point")
        assert loop.time() - began >= 0.02

    @pytest.mark.parametrize("spec", ["nowhere=kill", "test.point=dance", "test.point=delay", "test.point"])
    def test_what_it_cannot_be_is_refused(self, spec: str) -> None:
        with pytest.raises(ValueError, match=r"failpoint|is not"):
            arm(spec)

    def test_killing_is_sudden(self) -> None:
        code = (
            "from horde.services.failpoints import *\n"
            "declare('p')\narm('p=kill@2')\nfor _ in '123':\n    failpoint_sync('p')\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(failpoints.__file__).parents[2])}
        assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -signal.SIGKILL
