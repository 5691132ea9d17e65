"""The whole mesh at one moment, as anybody may see it, and its services, as an operator may."""
