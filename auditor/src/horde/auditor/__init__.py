"""The auditor: holds what lies in the buckets against what the scheduler has settled, and raises an alarm."""
