"""What is kept: a port, and SQL behind it."""
