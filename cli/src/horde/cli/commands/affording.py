"""What somebody can do who has not the kudos: each way with what it would cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from horde.api.generation.v1.generation_pb2 import GenerationSpec, Quote
from horde.api.job.v1.job_pb2 import Placement
from horde.cli.commands.output import kudos, plural
from horde.clients.errors import InsufficientKudos, ServiceError

if TYPE_CHECKING:
    from horde.clients.client import HordeClient

_FLOOR: Final = {
    "ACCOUNT_TOO_YOUNG": "your account is old enough then for the mesh's daily help",
    "BUDGET_SPENT": "the mesh's daily help is spent for today, and begins anew",
}
SMALLEST: Final = 64
SIDE_STEP: Final = 8


async def ways_out(
    horde: HordeClient, spec: GenerationSpec, quote: Quote, refused: InsufficientKudos
) -> tuple[str, ...]:
    """The ways, cheapest to say first. Asks for quotes, and leaves out what does not help."""
    available = int(refused.metadata.get("available_mkudos", "0"))
    ways = ["You can:"]
    try:
        ways += await _cheaper(horde, spec, quote, available)
    except ServiceError:
        # Advice is not worth a second error.
        pass
    ways.append("  paint for others: `horde worker join` lends this machine and earns the price of what it paints")
    ways.append(_wait_text(refused, datetime.now(UTC)))
    ways.append("  --anonymous: costs you nothing, comes last, and text to image is always shared")
    return tuple(ways)


def _wait_text(refused: InsufficientKudos, now: datetime) -> str:
    """Until when to wait for the floor subsidy, and why it gives nothing now."""
    try:
        back = datetime.fromisoformat(refused.metadata["back_at"])
    except (KeyError, ValueError):
        # It has given all that it gives in a day, or it would not be enough: both begin anew with the day.
        back = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    why = _FLOOR.get(refused.metadata.get("floor", ""), "the mesh's daily help for everybody begins anew")
    hours, minutes = divmod(max(0, int((back - now).total_seconds())) // 60, 60)
    return f"  wait until {back:%Y-%m-%d %H:%M} UTC, in {hours} h {minutes} min: {why}"


async def _cheaper(horde: HordeClient, spec: GenerationSpec, quote: Quote, available: int) -> list[str]:
    ways = []
    if quote.placement == Placement.PLACEMENT_PRIVATE and not quote.facts.has_input:
        shared = GenerationSpec()
        shared.CopyFrom(spec)
        shared.share = True
        total = (await horde.generations.quote(shared)).total_mkudos
        enough = "" if total <= available else ", which is still too much by itself"
        ways.append(f"  --share: give it to research, {kudos(total)} instead of {kudos(quote.total_mkudos)}{enough}")
    fewer = available // quote.per_image.total_mkudos
    if 1 <= fewer < spec.count:
        ways.append(f"  -n {fewer}: {plural(fewer, 'image')} for {kudos(fewer * quote.per_image.total_mkudos)}")
    smaller = await _smaller(horde, spec, available)
    if smaller is not None:
        image = smaller[0].job.image
        ways.append(f"  --width {image.width} --height {image.height}: smaller, for {kudos(smaller[1])}")
    return ways


async def _smaller(horde: HordeClient, spec: GenerationSpec, available: int) -> tuple[GenerationSpec, int] | None:
    """The same in three quarters, a half, a quarter of its sides, whichever can be paid first."""
    for eighths in (6, 4, 2):
        smaller = GenerationSpec()
        smaller.CopyFrom(spec)
        image = smaller.job.image
        image.width = max(SMALLEST, image.width * eighths // 8 // SIDE_STEP * SIDE_STEP)
        image.height = max(SMALLEST, image.height * eighths // 8 // SIDE_STEP * SIDE_STEP)
        quote = await horde.generations.quote(smaller)
        # What nobody here can paint is no help, however cheap.
        if quote.total_mkudos <= available and quote.HasField("wait"):
            return smaller, quote.total_mkudos
    return None
