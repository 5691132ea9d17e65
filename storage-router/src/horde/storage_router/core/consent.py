"""The record beside a shared image: what it is, how it was made, and why it may be there.

It follows from the order and the content alone, so that a repeated commit writes the same bytes. It names no account,
no worker and no generation: only the class of who agreed, a digest by which a data release gives all images of one
requester the same pseudonym, and one of the account whose worker painted it, by which nobody rates his own. The digests
themselves are in no release.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from horde.storage_router.core.orders import Publication
from horde.storage_router.core.records import digest_painter, digest_requester

VERSION = 1


def compose(publication: Publication) -> bytes:
    """The record, as JSON."""
    order, content = publication.order, publication.content
    record = {
        "version": VERSION,
        "job_id": order.job_id,
        "image": {
            "file": f"{order.job_id}.{content.format.value}",
            "sha256": content.sha256,
            "size_bytes": content.size_bytes,
            "format": content.format.name,
            "width": content.width,
            "height": content.height,
        },
        "consent": {
            "who_class": "anonymous" if order.facts.anonymous else "registered",
            "when": order.accepted_at.astimezone(UTC).isoformat(),
            "text_version": order.facts.consent_text_version,
            "how": "anonymous rule" if order.facts.anonymous else "asked",
        },
        "requester": digest_requester(order.requester),
        **({"painter": digest_painter(order.painter)} if order.painter else {}),
        **order.made,
    }
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False).encode()


def compose_withdrawal(job_id: str, record: bytes | None, when: datetime) -> bytes:
    """The record that remains of a withdrawn image, for the removals of the next data release."""
    image = None if record is None else json.loads(record)["image"]
    return json.dumps({"version": VERSION, "job_id": job_id, "withdrawn_at": when.isoformat(), "image": image}).encode()
