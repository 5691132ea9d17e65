"""The public services, as the gateway passes them on: messages to values and back."""
