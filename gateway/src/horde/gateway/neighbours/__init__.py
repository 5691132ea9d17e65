"""The ledger, the scheduler and the storage router, as the gateway asks them."""
