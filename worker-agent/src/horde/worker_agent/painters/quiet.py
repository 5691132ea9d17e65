"""Keeping torch's company quiet: progress bars and advice to programmers are noise in a volunteer's log."""

from __future__ import annotations

import os


def hush(*, offline: bool) -> None:
    """Call before the first import of diffusers or transformers. With `offline` they never try to reach a hub."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if offline:
        # Else a wrong path costs half a minute of retries against a hub that nobody asked for.
        os.environ["HF_HUB_OFFLINE"] = "1"
