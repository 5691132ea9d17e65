"""Whom the door asks: the gateway and the storage router, through their public services."""
