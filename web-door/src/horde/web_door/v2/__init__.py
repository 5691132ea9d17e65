"""AI Horde's REST API, version 2, for clients and workers that were written for it: `/api/v2/…`."""
