"""The worker agent: one volunteer's machine.

Owns: the worker's side of `horde.api.worker.v1`, the painters, and what must outlive a crash of this machine (images
that wait for a receipt, outcomes that wait to be settled).

Promises: it dials out and opens no port; it never paints more than it was told to; an outcome is kept on disk and sent
again until the mesh has settled it; a revoked job stops within one step; what could not be done as asked is named.

Refuses to know: prices and rules of kudos (it shows what the ledger's entry says), other workers, who asked.
"""
