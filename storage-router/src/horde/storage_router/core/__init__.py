"""The rules of bytes: what a picture is, where it goes, what is written beside it. No input or output."""
