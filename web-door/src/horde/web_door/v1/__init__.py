"""HTTP/JSON by the annotations of the contract: what names a path is served at it, and nothing is written by hand."""
