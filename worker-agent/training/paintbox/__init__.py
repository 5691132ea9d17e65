"""Training of paintbox, the small text-to-image model that comes with the worker agent."""
