"""The public service, as the gateway passes it on, and what gateways tell."""
