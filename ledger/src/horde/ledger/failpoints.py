"""The arrows of a commit: where a test can kill the writer."""

from __future__ import annotations

from typing import Final

from horde.services.failpoints import declare

AFTER_BEGIN: Final = declare("ledger.after_begin")
AFTER_INSERTS: Final = declare("ledger.after_inserts")
BEFORE_COMMIT: Final = declare("ledger.before_commit")
AFTER_COMMIT: Final = declare("ledger.after_commit")
BEFORE_ANSWER: Final = declare("ledger.before_answer")
ALL: Final = (AFTER_BEGIN, AFTER_INSERTS, BEFORE_COMMIT, AFTER_COMMIT, BEFORE_ANSWER)
