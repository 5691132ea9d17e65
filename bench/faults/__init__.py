"""The mesh's own code in one process, on virtual time, with a network, stores and workers that fail on purpose."""
