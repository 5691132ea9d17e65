"""The rules: what an image is here, what moderators may decide, who may see what. No input or output."""
