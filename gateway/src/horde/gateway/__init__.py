"""The front door: who you are, whether what you ask for makes sense, what it costs, where it goes, and watching it.

It owns identity (accounts, API keys, roles) and nothing else that lasts. Everything about generations it asks of the
scheduler, everything about kudos of the ledger, and picture bytes never pass through it. It also holds the volunteers'
streams, and carries all of them to the scheduler over one.

It promises that what belongs to somebody else looks exactly like what does not exist, that a refused request leaves
nothing behind, and that a stream of a worker outlives an absence of the scheduler.
"""
