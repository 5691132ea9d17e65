"""The ledger: who has how many kudos, and why.

Owns the accounts, the journal (entries of transfers, never changed), the open holds, and what decides trust. Promises:
the sum over all accounts is zero after every commit; an event has one effect, however often it is sent; an answer is
durable before it is given; a writer that was replaced can write no more; every entry is hashed into a chain that
anybody with the journal can recompute. Refuses to know: prices (the gateway's), jobs and their states (the
scheduler's), who somebody is.
"""
