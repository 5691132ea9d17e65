"""The command line `horde`. Each command loads what it needs when it is called, and no sooner."""
