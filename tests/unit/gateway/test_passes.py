"""Passes: one for each generation, found again with any key that made it, and with no other."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.gateway.core.passes import Passes, parse_pass_keys

OLD, NEW = b"o" * 32, b"n" * 32


def generation(data: bytes) -> str:
    return str(UUID(bytes=data, version=5))


@given(st.binary(min_size=16, max_size=16))
def test_a_pass_leads_to_its_generation_and_is_a_uuid_of_version_4(data: bytes) -> None:
    passes = Passes([NEW])
    made = UUID(passes.pass_of(generation(data)))
    assert made.version == 4
    assert made.variant == UUID(generation(data)).variant
    assert passes.candidates(made) == [generation(data)]


@given(st.binary(min_size=16, max_size=16), st.integers(0, 121))
def test_a_pass_is_another_for_every_generation_and_every_key(data: bytes, bit: int) -> None:
    other = generation((int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(16, "big"))
    same = other == generation(data)
    assert (Passes([NEW]).pass_of(other) == Passes([NEW]).pass_of(generation(data))) is same
    assert Passes([OLD]).pass_of(other) != Passes([NEW]).pass_of(other)


def test_what_was_made_under_an_older_key_is_still_opened() -> None:
    name = str(UUID("6f1a3a1e-2d0c-5c6e-9b57-0b6c8f6d4a11"))
    made = UUID(Passes([OLD]).pass_of(name))
    rotated = Passes([NEW, OLD])
    assert name in rotated.candidates(made)
    assert len(rotated.candidates(made)) == 2
    assert rotated.candidates(UUID(rotated.pass_of(name)))[0] == name
    assert name not in Passes([NEW]).candidates(made)


def test_what_is_no_uuid_of_version_4_opens_nothing() -> None:
    assert Passes([NEW]).candidates(UUID("6f1a3a1e-2d0c-5c6e-9b57-0b6c8f6d4a11")) == []


def test_a_guess_opens_what_nobody_has() -> None:
    assert len({Passes([NEW]).candidates(uuid4())[0] for _ in range(50)}) == 50


def test_a_key_file_has_a_key_a_line() -> None:
    assert parse_pass_keys(f"{NEW.hex()}\n{OLD.hex()}\n").pass_of(generation(b"x" * 16)) == Passes([NEW]).pass_of(
        generation(b"x" * 16)
    )
    with pytest.raises(ValueError, match="32 bytes"):
        parse_pass_keys("")
    with pytest.raises(ValueError, match="32 bytes"):
        parse_pass_keys("00")
