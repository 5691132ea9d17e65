"""A mesh in virtual time: a fleet, people who ask, and three ways to bring them together."""
