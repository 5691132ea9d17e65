"""The buckets of shared images and of data releases."""
