"""A port that somebody listens on is taken, one that nobody does is not."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from horde.cli.commands.main import main
from horde.cli.local import roles
from horde.cli.local.ports import free_ports, taken


def test_a_port_is_taken_while_somebody_listens_there() -> None:
    free, busy = free_ports(2)
    with socket.create_server(("127.0.0.1", busy)):
        assert taken([free, busy]) == [busy]
    assert taken([free, busy]) == []


def test_a_second_mesh_says_which_port_is_taken_before_it_starts_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    (busy,) = free_ports(1)
    monkeypatch.setattr(roles, "DEFAULT_PORTS", {roles.Role.GATEWAY: busy})
    with socket.create_server(("127.0.0.1", busy)):
        result = CliRunner().invoke(main, ["up"])
    assert result.exit_code == 1
    assert f"Port {busy} is taken, perhaps by another `horde up`. `--ephemeral` takes free ports." in result.output


def test_a_mistyped_command_is_told_which_is_meant() -> None:
    result = CliRunner().invoke(main, ["genrate", "a fox"])
    assert result.exit_code == 2
    assert "generate" in result.output.replace("genrate", "")
