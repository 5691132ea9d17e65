"""Pictures of a release: a sheet of some of its images, and plots. The same numbers draw the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from PIL import Image, ImageOps

from horde.data_releases.core.statistics import label, shorten

SHEET_COLUMNS: Final = 8
SHEET_IMAGES: Final = 48
_TILE: Final = 128
_BARS: Final = 15
_PLOTTED: Final = ("day", "model", "steps", "prompt_words")


def draw_contact_sheet(pictures: Sequence[bytes]) -> bytes:
    """A JPEG with a small copy of each picture, in rows of eight."""
    rows = max(1, -(-len(pictures) // SHEET_COLUMNS))
    sheet = Image.new("RGB", (SHEET_COLUMNS * _TILE, rows * _TILE), "white")
    for index, data in enumerate(pictures):
        with Image.open(io.BytesIO(data)) as picture:
            tile = ImageOps.pad(picture.convert("RGB"), (_TILE - 4, _TILE - 4), color="white")
        sheet.paste(tile, (index % SHEET_COLUMNS * _TILE + 2, index // SHEET_COLUMNS * _TILE + 2))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=88)
    return out.getvalue()


def draw_plots(counted: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of each plot."""
    for name in _PLOTTED:
        counts = counted["by"][name]
        yield (
            f"{name}.png",
            _draw_bars(name.replace("_", " "), _by_day(counts) if name == "day" else _ranked(name, counts)),
        )


def _ranked(name: str, counts: Mapping[str, int]) -> dict[str, int]:
    shown = shorten(counts, _BARS)
    return shown if name in ("model", "sampler") else dict(sorted(shown.items()))


def _by_day(counts: Mapping[str, int]) -> dict[str, int]:
    """Days, or months where there are many days."""
    if len(counts) <= 2 * _BARS:
        return dict(sorted(counts.items()))
    months: dict[str, int] = {}
    for day, count in sorted(counts.items()):
        months[day[:7]] = months.get(day[:7], 0) + count
    return months


def _draw_bars(title: str, counts: Mapping[str, int]) -> bytes:
    # It takes a second to load, which who pulls or verifies need not wait for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), dpi=100)
    FigureCanvasAgg(figure)
    # Placed by hand: laying it out takes as long as drawing it.
    axes = figure.add_axes((0.12, 0.32, 0.86, 0.58))
    places = list(range(len(counts)))
    axes.bar(places, list(counts.values()), color="#3b6ea5")
    axes.set_xticks(places, [label(value)[:24] for value in counts], rotation=60, ha="right", fontsize=7)
    axes.set_ylabel("images")
    axes.set_title(f"images by {title}")
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
