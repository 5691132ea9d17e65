"""What the gateway keeps: identity. The port, SQL and memory behind it, and its secrets on disk."""
