"""The rules: which addresses are called, how a delivery is signed, when it is tried again. No input or output."""
