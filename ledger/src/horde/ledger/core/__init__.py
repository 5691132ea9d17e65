"""The rules of kudos: events to entries, entries to blocks, and the audit of them. No input or output."""
