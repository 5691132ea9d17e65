"""What a mesh of some size needs: reckoned from what `make bench-capacity` has measured."""
