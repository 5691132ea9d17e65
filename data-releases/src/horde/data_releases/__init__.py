"""Data releases: versioned, finished sets of shared images, made for research by an operator's job."""
