"""The curation service: what becomes of shared pictures after they were shared.

It owns reports and verdicts, ratings, and the front of data releases. It reads the shared bucket and writes verdicts
there, and nothing else; of people it knows digests. The gateway alone calls it, and says for whom.
"""
