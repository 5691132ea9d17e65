"""Who asks: what is given goes before what is kept, and what is kept is for one pair of eyes."""

from pathlib import Path

import pytest

from horde.clients.credentials import (
    AnonymousToken,
    ApiKey,
    BadCredentialFile,
    config_dir,
    find_credential,
    keep_anonymous_token,
    write_secret,
)


def test_an_option_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    assert write_secret(tmp_path / "api-key", "kept")
    environment = {"HORDE_API_KEY": "said"}
    assert find_credential(api_key="given", folder=tmp_path, environ=environment) == ApiKey("given")
    assert find_credential(folder=tmp_path, environ=environment) == ApiKey("said")
    assert find_credential(folder=tmp_path, environ={}) == ApiKey("kept")


def test_anonymous_skips_every_key_and_keeps_its_token(tmp_path: Path) -> None:
    write_secret(tmp_path / "api-key", "kept")
    first = find_credential(anonymous=True, folder=tmp_path, environ={"HORDE_API_KEY": "said"})
    assert isinstance(first, AnonymousToken)
    assert find_credential(anonymous=True, folder=tmp_path, environ={}) == first


def test_the_token_is_128_random_bits_in_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "anonymous-token"
    token = keep_anonymous_token(path)
    assert len(bytes.fromhex(token.digits)) == 16
    assert path.stat().st_mode & 0o777 == 0o600
    assert keep_anonymous_token(path) == token
    assert keep_anonymous_token(tmp_path / "other") != token


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    write_secret(path, "kept")
    path.chmod(0o644)
    with pytest.raises(BadCredentialFile, match="chmod 600"):
        find_credential(folder=tmp_path, environ={})


def test_a_file_with_something_else_is_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "anonymous-token", "not hexadecimal")
    with pytest.raises(BadCredentialFile):
        find_credential(folder=tmp_path, environ={})


def test_secrets_do_not_show_when_printed() -> None:
    assert "hush" not in repr(ApiKey("hush"))
    assert "hush" not in repr(AnonymousToken("hush"))


def test_who_makes_the_file_second_uses_the_first_one(tmp_path: Path) -> None:
    path = tmp_path / "anonymous-token"
    assert write_secret(path, "a" * 32, replace=False)
    assert not write_secret(path, "b" * 32, replace=False)
    assert keep_anonymous_token(path).digits == "a" * 32
    assert [each.name for each in tmp_path.iterdir()] == ["anonymous-token"]


def test_the_folder_can_be_named(tmp_path: Path) -> None:
    assert config_dir({"HORDE_CONFIG_DIR": str(tmp_path)}) == tmp_path
    assert config_dir({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "horde"
