"""Learns from a data release how beautiful people find an image, and tells it of others: `horde ratings train`."""
