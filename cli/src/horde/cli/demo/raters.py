"""People who rate the demo's pictures, each by the same hidden taste and a mood of his own: noise that is known."""

from __future__ import annotations

import random
from datetime import datetime
from pathlib import Path
from typing import Any, Final

RATERS: Final = 6
RATINGS_EACH: Final = 3
NOISE: Final = 1.0
"""Standard deviation of a rating around the picture's beauty, in points of 1 to 10."""


def give_ratings(shared: Path, out: Path, at: datetime) -> int:
    """Rate every image of a shared bucket that is a folder, into a Parquet file as `horde release create` takes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    chance = random.Random(3)
    rows: list[dict[str, Any]] = []
    for path in sorted((shared / "images").glob("*.json")):
        picture = next((found for found in path.parent.glob(f"{path.stem}.*") if found.suffix != ".json"), None)
        if picture is None:
            continue
        with Image.open(picture) as opened:
            beauty = _beauty(opened.convert("HSV").resize((16, 16)))
        for rater in chance.sample(range(RATERS), RATINGS_EACH):
            rating = round(min(10.0, max(1.0, beauty + chance.gauss(0, NOISE))))
            rows.append(
                {
                    "id": path.stem,
                    "rater": f"rater {rater}",
                    "rating": rating,
                    "artifacts": chance.choice((None, 0, 1)),
                    "rated_at": at.replace(minute=0, second=0, microsecond=0),
                }
            )
    columns = [
        ("id", pa.string()),
        ("rater", pa.string()),
        ("rating", pa.int32()),
        ("artifacts", pa.int32()),
        ("rated_at", pa.timestamp("ms", "UTC")),
    ]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(columns)), out)
    return len(rows)


def _beauty(picture: Any) -> float:
    """What everybody here likes: colour. 1 to 10."""
    saturation: bytes = picture.getchannel("S").tobytes()
    return 1 + 9 * sum(saturation) / len(saturation) / 255
