"""`python -m horde.data_releases.aesthetics`, which is `horde ratings train` and `horde ratings evaluate`."""

from __future__ import annotations

from horde.data_releases.aesthetics.commands import main

if __name__ == "__main__":
    main()
