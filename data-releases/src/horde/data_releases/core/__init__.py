"""The rules of a data release: no input, no output."""
