"""Copies of everything that a mesh may not lose, of one moment; and the way back."""
