"""The limits on how often somebody may do something."""

from __future__ import annotations

from dataclasses import dataclass

from horde.services.rates import Rate


@dataclass(frozen=True, slots=True)
class Rates:
    """How often is too often. None: no limit."""

    account_calls: Rate | None = None
    account_images: Rate | None = None
    account_inputs: Rate | None = None
    anonymous_calls: Rate | None = None
    anonymous_images: Rate | None = None
    anonymous_inputs: Rate | None = None
    address_calls: Rate | None = None
    address_images: Rate | None = None
    address_inputs: Rate | None = None
    account_reports: Rate | None = None
    anonymous_reports: Rate | None = None
    address_reports: Rate | None = None
    address_accounts: Rate | None = None
    address_failures: Rate | None = None
    account_misses: Rate | None = None
    anonymous_misses: Rate | None = None
    address_misses: Rate | None = None
