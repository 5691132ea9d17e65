"""What the other services ask of the ledger: messages to values and back."""
