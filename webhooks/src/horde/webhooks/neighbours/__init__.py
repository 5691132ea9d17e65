"""Whom this service listens to, and whom it calls."""
