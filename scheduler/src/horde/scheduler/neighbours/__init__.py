"""The ledger and the storage router, asked until they answer."""
