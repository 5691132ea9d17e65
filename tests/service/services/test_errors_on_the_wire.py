"""What is raised on one side of the wire is what comes out on the other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from tests.service.services.conftest import SERVICE

from horde.services import errors
from horde.services.errors import FieldViolation, ServiceError
from horde.services.status import CODES
from horde.testkit.loopback import assert_raises_reason, fields_of, loopback


class TooWindy(errors.FailedPrecondition):
    """The wind is too strong."""

    domain: ClassVar[str] = "test.echo.v1"
    reason: ClassVar[str] = "TOO_WINDY"


def raising(error: Exception) -> Any:
    async def hook(text: str) -> None:
        raise error

    return hook


# UNAVAILABLE is what channels try again, so it comes back late; it has a test of its own.
@pytest.mark.parametrize(
    "kind", [kind for kind in CODES if kind is not errors.Unavailable], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("shape", ["Say", "Count", "Join", "Chat"])
async def test_each_kind_arrives_as_itself_in_each_shape(
    kind: type[ServiceError], shape: str, servicer: Any, echo: Any, stub: Any
) -> None:
    servicer.hook = raising(kind("too bad: ünïcode"))
    async with loopback([echo]) as wire:
        method = getattr(stub(wire.channel), shape)
        request: Any = StringValue(value="1") if shape in ("Say", "Count") else iter([StringValue(value="1")])
        with pytest.raises(kind) as caught:
            if shape in ("Say", "Join"):
                await method(request)
            else:
                async for _ in method(request):
                    pass
    assert type(caught.value) is kind
    assert caught.value.message == "too bad: ünïcode"
    assert caught.value.remote


async def test_an_error_the_caller_names_arrives_with_all_that_it_says(servicer: Any, echo: Any, stub: Any) -> None:
    servicer.hook = raising(
        TooWindy(
            metadata={"knots": "40"}, violations=[FieldViolation("sail", "torn")], retry_after=timedelta(seconds=3)
        )
    )
    async with loopback([echo], errors=[TooWindy]) as wire:
        with assert_raises_reason(TooWindy, "TOO_WINDY", {"knots": "40"}) as caught:
            await stub(wire.channel).Say(StringValue(value="x"))
    assert caught.value.message == "The wind is too strong."
    assert fields_of(caught.value) == ["sail"]
    assert caught.value.retry_after == timedelta(seconds=3)


async def test_an_error_the_caller_does_not_name_arrives_as_its_kind_with_its_reason(
    servicer: Any, echo: Any, stub: Any
) -> None:
    servicer.hook = raising(TooWindy(metadata={"knots": "40"}))
    async with loopback([echo]) as wire:
        with assert_raises_reason(errors.FailedPrecondition, "TOO_WINDY", {"knots": "40"}) as caught:
            await stub(wire.channel).Say(StringValue(value="x"))
    assert caught.value.domain == "test.echo.v1"


async def test_what_nobody_expected_tells_nothing(servicer: Any, echo: Any, stub: Any, capsys: Any) -> None:
    servicer.hook = raising(RuntimeError("the password is tulip"))
    async with loopback([echo]) as wire:
        with pytest.raises(errors.Internal) as caught:
            await stub(wire.channel).Say(StringValue(value="x"))
    assert "tulip" not in str(caught.value)


async def test_a_method_that_nobody_wrote_is_unimplemented(servicer: Any, echo: Any, stub: Any) -> None:
    servicer.hook = raising(NotImplementedError("Method not implemented!"))
    async with loopback([echo]) as wire:
        with pytest.raises(errors.Unimplemented):
            await stub(wire.channel).Say(StringValue(value="x"))


async def test_unavailable_is_tried_again(servicer: Any, echo: Any, stub: Any) -> None:
    failures = [errors.Unavailable("a moment"), errors.Unavailable("a moment")]

    async def hook(text: str) -> None:
        if failures:
            raise failures.pop()

    servicer.hook = hook
    async with loopback([echo]) as wire:
        assert (await stub(wire.channel).Say(StringValue(value="x"))).value == "x"
    assert len(servicer.callers) == 3


@pytest.mark.parametrize("shape", ["Say", "Count", "Join", "Chat"])
async def test_bytes_that_are_no_message_are_the_callers_fault(
    shape: str, servicer: Any, echo: Any, capsys: Any
) -> None:
    make = {"Say": "unary_unary", "Count": "unary_stream", "Join": "stream_unary", "Chat": "stream_stream"}[shape]
    async with loopback([echo]) as wire:
        method = getattr(wire.channel, make)(
            f"/{SERVICE}/{shape}", request_serializer=bytes, response_deserializer=StringValue.FromString
        )
        with pytest.raises(errors.InvalidArgument):
            if shape == "Say":
                await method(b"\xff")
            elif shape == "Join":
                await method(iter([b"\xff"]))
            else:
                async for _ in method(b"\xff" if shape == "Count" else iter([b"\xff"])):
                    pass
    assert servicer.callers == []
    assert "Traceback" not in capsys.readouterr().err
