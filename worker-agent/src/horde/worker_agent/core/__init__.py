"""The worker's rules: its session as a machine, what it holds and what it earned. No input or output."""
