"""Where the ledger is kept: the port, SQL and memory behind it."""
