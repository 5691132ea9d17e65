"""Buckets: the port, and folders, S3 and memory behind it."""
