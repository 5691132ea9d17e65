"""The chassis: how to be a service here.

Serving, dialling, errors that cross the wire as themselves, who is calling, tokens, batching, streams, settings,
telemetry, SQL, and the kit to test all that. It promises that a service written on it starts, refuses, measures and
stops like its neighbours. It knows no word of what the services do: it would serve a mesh about weather as well.
"""
