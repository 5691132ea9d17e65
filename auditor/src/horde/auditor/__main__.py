"""`python -m horde.auditor`, which is `horde storage audit`."""

from __future__ import annotations

from horde.auditor.commands import main

if __name__ == "__main__":
    main()
