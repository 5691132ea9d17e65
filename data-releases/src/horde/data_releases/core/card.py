"""The card of a release, in the form of the Hugging Face hub: what it is, how it loads, a datasheet, real numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from horde.data_releases.core.columns import COLUMNS, LICENCE, RATING_COLUMNS, REMOVED_COLUMNS, TRAINING_MINING, Column
from horde.data_releases.core.plan import Plan
from horde.data_releases.core.statistics import label

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
)
_SHOWN: Final = 12
"""Values of one kind in the card; all of them are in stats.json."""


_MINING: Final = {
    "data_mining": "data mining",
    "ai_inference": "inference",
    "ai_generative_training": "training of generative models",
    "ai_training": "training of other models",
}


def write_card(plan: Plan, statistics: Mapping[str, Any], shards: int) -> bytes:
    """README.md."""
    sections = [
        _front_matter(plan, statistics["images"]),
        _summary(plan, statistics, shards),
        _loading(plan),
        "## Columns\n\nOf `metadata.parquet`, of the Parquet file beside each shard, and of each image's `.json`.\n\n"
        + _columns(COLUMNS),
        "### ratings.parquet\n\n" + _columns(RATING_COLUMNS),
        "### removed.parquet\n\n" + _columns(REMOVED_COLUMNS),
        _numbers(statistics),
        _left_out(plan, statistics),
        _datasheet(plan, statistics),
        _checking(),
    ]
    return ("\n\n".join(sections) + "\n").encode()


def _front_matter(plan: Plan, images: int) -> str:
    # JSON values are YAML, and need no library to be right.
    fields = {
        "license": LICENCE.lower(),
        "pretty_name": f"Horde Mesh shared images, {plan.release_id}",
        "task_categories": ["text-to-image", "image-to-text"],
        "size_categories": [next((name for limit, name in _SIZES if images < limit), "n>10M")],
        "tags": ["synthetic", "aesthetics", "webdataset", "croissant"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "shards/*.tar"}]},
            {"config_name": "metadata", "data_files": [{"split": "train", "path": "metadata.parquet"}]},
        ],
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _summary(plan: Plan, statistics: Mapping[str, Any], shards: int) -> str:
    before = (
        f"It goes on from `{plan.previous}` and holds what came after it."
        if plan.previous
        else "It begins with the first image that was shared."
    )
    removed = statistics["removed"]
    withdrawn = (
        f"`removed.parquet` names {removed:,} images of earlier releases that are not to be used any more; please take"
        " them out\nof your copies (`horde release prune-withdrawn DIR`)."
        if removed
        else "Nothing of earlier releases has been taken back; what will be is named in the `removed.parquet` of later"
        " ones, and\n`horde release prune-withdrawn DIR` takes it out of your copies."
    )
    return f"""# Horde Mesh shared images, {plan.release_id}

{statistics["images"]:,} pictures ({_size(statistics["bytes"])}) in {shards} {"shard" if shards == 1 else "shards"}, painted by volunteers' machines from text alone,
each with its prompt and parameters, and each shared for research by the person who asked for it. {before}
{withdrawn}

![contact sheet](contact-sheet.jpg)"""


def _size(count: float) -> str:
    """Bytes, for people."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} GB"


def _span(hours: int) -> str:
    """A time, for people: `7 days`."""
    if hours % 24 or not hours:
        return f"{hours} hours"
    return "1 day" if hours == 24 else f"{hours // 24} days"


def _loading(plan: Plan) -> str:
    return f"""## How to load it

```python
import glob, webdataset, datasets, pandas, duckdb

webdataset.WebDataset(sorted(glob.glob("{plan.release_id}/shards/*.tar")), shardshuffle=False).decode("pil")
datasets.load_dataset("webdataset", data_files="{plan.release_id}/shards/*.tar", split="train", streaming=True)
pandas.read_parquet("{plan.release_id}/metadata.parquet")
duckdb.sql("SELECT model, count(*) FROM '{plan.release_id}/metadata.parquet' GROUP BY 1")
```

As loose files, for `imagefolder` and for looking at:

```sh
mkdir images && cp {plan.release_id}/metadata.parquet images/
for shard in {plan.release_id}/shards/*.tar; do tar xf "$shard" -C images --exclude='__*' --exclude='*.json' --exclude='*.txt'; done
python -c 'import datasets; print(datasets.load_dataset("imagefolder", data_dir="images", split="train"))'
```

A shard is a tar of `<id>.webp`, `<id>.txt` (the prompt) and `<id>.json` (the columns). Loaders take the types of the first samples for those of
all, so in `.json` a text that is null is empty, and a null number or an empty list is left out. One image can be read by a range: `bytes`
bytes of `shard` from `tar_offset` on."""


def _columns(columns: Sequence[Column]) -> str:
    rows = [
        f"| `{column.name}` | `{column.kind}` | {column.meaning} | {column.unit} | {column.null} |"
        for column in columns
    ]
    return "\n".join(["| column | type | meaning | unit | null |", "|---|---|---|---|---|", *rows])


def _numbers(statistics: Mapping[str, Any]) -> str:
    parts = [
        "## Numbers",
        f"{statistics['near_duplicates']:,} images are marked as near duplicates of an earlier one. "
        f"{statistics['ratings']:,} ratings. All numbers, and those behind the plots, are in `stats.json`.",
    ]
    for name, counts in statistics["by"].items():
        if name == "day":
            continue
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{label(value)}: {count:,}" for value, count in ranked[:_SHOWN])
        more = f", and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
        parts.append(f"**{name.replace('_', ' ')}** – {shown or 'none'}{more}.")
    scores = ", ".join(f"{score}: {count:,}" for score, count in statistics["ratings_by_score"].items())
    parts.append(f"**rating** – {scores or 'none'}.")
    parts.append("![by day](plots/day.png) ![by model](plots/model.png) ![by steps](plots/steps.png)")
    return "\n\n".join(parts)


def _left_out(plan: Plan, statistics: Mapping[str, Any]) -> str:
    most_first = sorted(statistics["left_out"].items(), key=lambda item: -item[1]["images"])
    rows = [f"| {reason.replace('_', ' ')} | {found['images']:,} | {found['why']} |" for reason, found in most_first]
    return "\n".join(
        [
            "## What was left out",
            "",
            f"Of what had been shared {_span(plan.cool_off_hours)} or longer before {plan.as_of:%Y-%m-%d %H:%M} UTC:",
            "",
            "| reason | images | |",
            "|---|---|---|",
            *rows,
        ]
    )


def _datasheet(plan: Plan, statistics: Mapping[str, Any]) -> str:
    users = statistics["by"]["user_type"]
    mining = ", ".join(f"{_MINING[name]} ({use})" for name, use in TRAINING_MINING.items())
    contact = "are in this release, marked" if plan.contact_data else "are left out"
    return f"""## Datasheet

**Why it was made.** To give researchers pictures with everything that made them, for work on aesthetics, on prompts, and on the
models themselves.

**What is in it.** Pictures painted by diffusion models from text. Nothing that began with another picture: no image to image, no
inpainting, no control image. Prompts are as people typed them, in any language.

**How it was collected.** Each picture was asked for through the mesh. {users.get("registered", 0):,} were shared because their requester said so in
the request; {users.get("anonymous", 0):,} were asked for without an account, under terms, shown with the request, by which such pictures are
shared. The text that was agreed to is named by `consent_text_version`.

**How it was cleaned.** A picture waits {_span(plan.cool_off_hours)}, in which it can be taken back, before it may be in a release. Moderation's *unsafe* is left out,
*unsure* waits. Exact duplicates are here once; near ones are marked by perceptual hash. Prompts that hold an address, a telephone
number, a handle or a link {contact}; they are found by their form alone, and names of people are not found. What a painter
wrote into a file beside the pixels was taken out.

**Who is in it.** No account, no name, no address. Requesters and workers are pseudonyms that differ in each release, so that two releases
cannot be joined by them.

**What it may be used for.** {LICENCE}. The consent allows: {mining}. Each file says so itself, in XMP.

**What to beware of.** Who asks, and for what, is not the world: prompts follow fashions of a few communities. Pictures may show what
people should not be judged by. Pictures may look like real people or works.

**How it is kept up.** A release never changes. What is taken back later is listed in the `removed.parquet` of every later release."""


def _checking() -> str:
    return """## How to check it

```sh
sha256sum -c checksums.sha256
openssl pkeyutl -verify -pubin -inkey signing-key.pem -rawin -in checksums.sha256 -sigfile checksums.sha256.sig
```

Compare `signing-key.pem` with the key that the operator publishes elsewhere."""
