"""A whole mesh on this machine: each service a process of its own, started, watched, restarted and stopped from here.

For `horde up`, the demo, the tests of the mesh and its bench. Services are started by name (`python -m horde.ledger`)
and told everything by their settings; nothing of them is imported.
"""
