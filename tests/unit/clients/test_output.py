"""Kudos are shown and read exactly, and options say what the contract says."""

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from horde.api.job.v1.job_pb2 import Sampler
from horde.cli.commands.generate import SAMPLERS
from horde.cli.commands.main import COMMANDS, main
from horde.cli.commands.output import kudos, milli


@given(st.integers(-(10**15), 10**15))
def test_what_is_shown_reads_back_as_the_same(mkudos: int) -> None:
    assert milli(kudos(mkudos)) == mkudos


@pytest.mark.parametrize("text", ["1.2345", "ten", "", "nan", "inf"])
def test_what_is_not_a_number_of_milli_kudos_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        milli(text)


def test_every_sampler_can_be_chosen() -> None:
    assert {f"SAMPLER_{name.upper()}" for name in SAMPLERS} == set(Sampler.keys()) - {"SAMPLER_UNSPECIFIED"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_a_wrong_option_is_status_2() -> None:
    assert CliRunner().invoke(main, ["generate", "a fox", "--sampler", "none"]).exit_code == 2
    assert CliRunner().invoke(main, ["paint"]).exit_code == 2
