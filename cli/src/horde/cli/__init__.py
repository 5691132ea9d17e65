"""The command line `horde`, the mesh on one machine, and the demo: programs that stand on the Python SDK."""
