"""What a worker can report of a lease. A receipt was verified before it came here."""

from __future__ import annotations

from dataclasses import dataclass

from horde.scheduler.core.job import AccountId, WorkerId


@dataclass(frozen=True, slots=True)
class Painted:
    """The router has the picture, and signed for it: whose it is comes from the receipt, not from the worker."""

    sha256: bytes
    size_bytes: int
    format: int
    worker_id: WorkerId
    owner: AccountId
    deviations: bytes = b""
    device: str = ""
    """The class of what it was painted on; empty: not said."""
    digest: bytes = b""
    """Of the model's weights; empty: not known."""
    deviated: bool = False
    """Something was not done as asked: it cannot be painted again the same way."""


@dataclass(frozen=True, slots=True)
class Censored:
    category: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Given back unpainted: no attempt of the job."""

    detail: str = ""
    leaving: bool = False
    """Because the worker leaves: nothing is held against it."""
    of_job: bool = False
    """For what this job asks for: it says nothing of others of its model."""


@dataclass(frozen=True, slots=True)
class Failed:
    detail: str = ""
    by_network: bool = False
    """Painted, and could not be brought to the router."""
    refused_upload: bool = False
    """The router would not have it."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The answer to a revocation."""

    step: int = 0


@dataclass(frozen=True, slots=True)
class Invalid:
    """A receipt that is none, or is for something else."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """An outcome that breaks a limit of the contract. `words` are the contract's bytes that say which."""

    detail: str = ""
    words: bytes = b""


Result = Painted | Censored | Refused | Failed | Cancelled | Invalid | Broken
