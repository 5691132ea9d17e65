"""A connection that is cut, seen from its other end."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from horde.services import cutting


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the server's end and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            yield server, client


def cut(server: socket.socket, client: socket.socket) -> bool:
    host, port = client.getsockname()
    return cutting._cut_if_wanted(server.fileno(), {f"ipv4:{host}:{port}"})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has socket filters")
def test_a_connection_is_deaf_and_what_had_come_is_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    server, client = ends
    client.sendall(b"before")
    assert cut(server, client)
    client.sendall(b"after")
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(100)
    client.setblocking(False)
    with pytest.raises(BlockingIOError):  # It is not told.
        client.recv(100)


def test_where_a_socket_cannot_be_made_deaf_it_is_cut_if_wanted(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "_ATTACH_FILTER", 9_999)
    server, client = ends
    client.sendall(b"before")
    assert cut(server, client)
    client.settimeout(10)
    assert client.recv(100) == b""
    assert server.recv(100) == b""


def test_others_are_left_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    server, client = ends
    assert not cutting._cut_if_wanted(server.fileno(), {"ipv4:192.0.2.1:1"})
    client.sendall(b"on")
    assert server.recv(100) == b"on"


def test_where_no_descriptor_is_left_to_look_with_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> Iterator[Path]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "iterdir", full)
    assert cutting._descriptors() == []
