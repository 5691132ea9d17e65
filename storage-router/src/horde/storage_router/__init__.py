"""The storage router: every picture's bytes.

It owns inputs, quarantine, the checks of what workers upload, the private and the shared bucket, expiry and withdrawal.
It promises that a lease stores one object, that a receipt names what really arrived, that a commit may be repeated, and
that no private byte is ever in the shared bucket. It keeps nothing of its own: all truth is in the buckets, so that
replicas can be added. It knows no accounts, no API keys and no kudos.
"""
