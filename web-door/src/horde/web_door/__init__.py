"""The web door: HTTP for programs and people that speak no gRPC.

A process without a memory of its own that anybody would miss, in front of the public contract: it calls the gateway
and the storage router as any client does, with the credentials of whoever calls it. Each form of HTTP is a folder of
its own (`v2`: AI Horde's REST API), mounted by `app`.
"""
