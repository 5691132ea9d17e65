"""The scheduler: the queue, matching, leases, measured speeds, and how every job ends.

It promises that every accepted job ends exactly once, within its time to live; that execution is at least once and
payment exactly once; and that what a requester was shown never moves backwards. It alone asks the ledger to hold,
settle and release, and the storage router to commit or discard: it writes first, then acts, and repeats after a
restart. It never sees a picture's bytes, and refuses to know what a prompt says.
"""
