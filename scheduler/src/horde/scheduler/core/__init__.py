"""The rules: events in, effects out. No clock, no loop, no message of the wire."""
