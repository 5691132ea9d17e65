"""The rules of the front door: identity, limits, validation, prices, placement. No input or output."""
