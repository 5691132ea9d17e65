"""Pure translations: what a form of HTTP says, as values of this mesh, and back. No input or output, no wire."""
