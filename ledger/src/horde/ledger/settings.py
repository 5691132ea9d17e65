"""The ledger's settings, from the environment with the prefix HORDE_LEDGER_."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from horde.ledger.core.economy import Economy
from horde.services.settings import ServiceSettings

_DEFAULT = Economy()


class LedgerSettings(ServiceSettings):
    """Settings of one ledger process."""

    model_config = SettingsConfigDict(env_prefix="HORDE_LEDGER_")

    listen: str = "127.0.0.1:7703"
    """Where to listen, HOST:PORT; port 0 takes any free one."""
    state_dir: Path = Path(".state/ledger")
    """Where SQLite's file stands, if `database_url` is empty."""
    database_url: str = ""
    """`postgresql://...` or `sqlite:///FILE`; empty: SQLite in `state_dir`."""
    statistics_url: str = ""
    """Where statistics are kept; empty: beside the ledger, in a file of their own or in tables of their own."""
    max_batch: int = Field(default=512, ge=1, le=4096)
    """Events in one commit at most."""
    floor_allowance_per_day_mkudos: int = Field(default=_DEFAULT.floor_allowance_per_day_mkudos, ge=0)
    """See economy.py."""
    floor_age_s: int = Field(default=_DEFAULT.floor_age_s, ge=0)
    """See economy.py."""
    floor_budget_per_day_mkudos: int = Field(default=_DEFAULT.floor_budget_per_day_mkudos, ge=0)
    """See economy.py."""
    floor_address_share_permille: int = Field(default=_DEFAULT.floor_address_share_permille, ge=0)
    """See economy.py."""
    anonymous_budget_per_day_mkudos: int = Field(default=_DEFAULT.anonymous_budget_per_day_mkudos, ge=0)
    """See economy.py."""
    anonymous_address_share_permille: int = Field(default=_DEFAULT.anonymous_address_share_permille, ge=0)
    """See economy.py."""
    anonymous_token_share_permille: int = Field(default=_DEFAULT.anonymous_token_share_permille, ge=0)
    """See economy.py."""
    small_share_mkudos: int = Field(default=_DEFAULT.small_share_mkudos, ge=0)
    """See economy.py."""
    censor_budget_per_day_mkudos: int = Field(default=_DEFAULT.censor_budget_per_day_mkudos, ge=0)
    """See economy.py."""
    censor_owner_share_permille: int = Field(default=_DEFAULT.censor_owner_share_permille, ge=0)
    """See economy.py."""
    censor_payer_share_permille: int = Field(default=_DEFAULT.censor_payer_share_permille, ge=0)
    """See economy.py."""
    check_budget_per_day_mkudos: int = Field(default=_DEFAULT.check_budget_per_day_mkudos, ge=0)
    """See economy.py."""
    check_owner_share_permille: int = Field(default=_DEFAULT.check_owner_share_permille, ge=0)
    """See economy.py."""
    cancelled_earning_per_day_mkudos: int = Field(default=_DEFAULT.cancelled_earning_per_day_mkudos, ge=0)
    """See economy.py."""
    subsidised_earning_per_day_mkudos: int = Field(default=_DEFAULT.subsidised_earning_per_day_mkudos, ge=0)
    """See economy.py."""
    promotion_escrow_mkudos: int = Field(default=_DEFAULT.promotion_escrow_mkudos, ge=1)
    """See economy.py."""
    uptime_budget_per_day_mkudos: int = Field(default=_DEFAULT.uptime_budget_per_day_mkudos, ge=0)
    """See economy.py."""
    uptime_owner_share_permille: int = Field(default=_DEFAULT.uptime_owner_share_permille, ge=0)
    """See economy.py."""

    rating_budget_per_day_mkudos: int = Field(default=_DEFAULT.rating_budget_per_day_mkudos, ge=0)
    """See economy.py."""
    rating_account_share_permille: int = Field(default=_DEFAULT.rating_account_share_permille, ge=0)
    """See economy.py."""

    def url(self) -> str:
        """The database, with the folder made if it is ours to make: for nobody else to read who was paid for what."""
        if self.database_url:
            return self.database_url
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return f"sqlite:///{self.state_dir / 'ledger.db'}"

    def statistics(self) -> str:
        """The database of the statistics."""
        if self.statistics_url or self.database_url.startswith("postgresql"):
            return self.statistics_url or self.database_url
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return f"sqlite:///{self.state_dir / 'statistics.db'}"

    def economy(self) -> Economy:
        """The economy, with what was set here."""
        rules = {field.name: getattr(self, field.name) for field in fields(Economy) if hasattr(self, field.name)}
        return Economy(**rules)
