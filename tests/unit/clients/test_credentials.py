"""Who asks: what is given goes before what is kept, and what is kept is for one pair of eyes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.clients.credentials import (
    AnonymousToken,
    ApiKey,
    BadCredentialFile,
    config_dir,
    find_credential,
    keep_anonymous_token,
    mesh_folder,
    read_secret,
    write_secret,
)

HERE = "127.0.0.1:7700"


def kept_in(folder: Path) -> Path:
    return mesh_folder(HERE, folder)


def test_an_option_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    assert write_secret(kept_in(tmp_path) / "api-key", "kept")
    environment = {"HORDE_API_KEY": "said"}
    assert find_credential(HERE, api_key="given", folder=tmp_path, environ=environment) == ApiKey("given")
    assert find_credential(HERE, folder=tmp_path, environ=environment) == ApiKey("said")
    assert find_credential(HERE, folder=tmp_path, environ={}) == ApiKey("kept")


def test_anonymous_skips_every_key_and_keeps_its_token(tmp_path: Path) -> None:
    write_secret(kept_in(tmp_path) / "api-key", "kept")
    first = find_credential(HERE, anonymous=True, folder=tmp_path, environ={"HORDE_API_KEY": "said"})
    assert isinstance(first, AnonymousToken)
    assert find_credential(HERE, anonymous=True, folder=tmp_path, environ={}) == first


def test_the_token_is_128_random_bits_in_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "anonymous-token"
    token = keep_anonymous_token(path)
    assert len(bytes.fromhex(token.digits)) == 16
    assert path.stat().st_mode & 0o777 == 0o600
    assert keep_anonymous_token(path) == token
    assert keep_anonymous_token(tmp_path / "other") != token


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = kept_in(tmp_path) / "api-key"
    write_secret(path, "kept")
    path.chmod(0o644)
    with pytest.raises(BadCredentialFile, match="chmod 600"):
        find_credential(HERE, folder=tmp_path, environ={})


@pytest.mark.parametrize(("mode", "fine"), [(0o440, True), (0o640, True), (0o444, False), (0o460, False)], ids=oct)
def test_what_root_mounts_for_our_group_is_read(
    mode: int, fine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "api-key"
    write_secret(path, "kept")
    path.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: 10_001)
    owners = [0, 10_001] if fine else [0]
    for owner in owners:
        facts = os.stat_result((*path.stat()[:4], owner, *path.stat()[5:]))
        monkeypatch.setattr(os, "fstat", lambda _, facts=facts: facts)
        if fine and owner == 0:
            assert read_secret(path) == "kept"
        else:
            with pytest.raises(BadCredentialFile, match="chmod 600"):
                read_secret(path)


def test_a_file_with_something_else_is_refused(tmp_path: Path) -> None:
    write_secret(kept_in(tmp_path) / "anonymous-token", "not hexadecimal")
    with pytest.raises(BadCredentialFile):
        find_credential(HERE, folder=tmp_path, environ={})


def test_secrets_do_not_show_when_printed() -> None:
    assert "hush" not in repr(ApiKey("hush"))
    assert "hush" not in repr(AnonymousToken("hush"))


def test_who_makes_the_file_second_uses_the_first_one(tmp_path: Path) -> None:
    path = tmp_path / "anonymous-token"
    assert write_secret(path, "a" * 32, replace=False)
    assert not write_secret(path, "b" * 32, replace=False)
    assert keep_anonymous_token(path).digits == "a" * 32
    assert [path.name for path in tmp_path.iterdir()] == ["anonymous-token"]


def test_the_folder_can_be_named(tmp_path: Path) -> None:
    assert config_dir({"HORDE_CONFIG_DIR": str(tmp_path)}) == tmp_path
    assert config_dir({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "horde"


def test_what_is_kept_for_one_mesh_is_never_sent_to_another(tmp_path: Path) -> None:
    write_secret(kept_in(tmp_path) / "api-key", "kept")
    elsewhere = find_credential("mesh.example:7700", folder=tmp_path, environ={})
    assert isinstance(elsewhere, AnonymousToken)
    assert elsewhere != find_credential(HERE, anonymous=True, folder=tmp_path, environ={})
    assert find_credential(HERE, folder=tmp_path, environ={}) == ApiKey("kept")


@pytest.mark.parametrize("name", ["localhost:7700", "LOCALHOST:7700", "[::1]:7700", "dns:///127.0.0.1:7700"])
def test_the_names_of_this_machine_are_one_mesh(name: str, tmp_path: Path) -> None:
    assert mesh_folder(name, tmp_path) == kept_in(tmp_path)


@given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique_by=str.lower))
def test_no_two_meshes_share_a_folder_and_none_leaves_it(names: list[str]) -> None:
    folders = []
    for name in names:
        try:
            folders.append(mesh_folder(name, Path("config")))
        except ValueError:
            continue
    assert all(folder.parent == Path("config", "meshes") for folder in folders)
    assert len(set(folders)) == len(folders) or any("127.0.0.1" in folder.name for folder in folders)
