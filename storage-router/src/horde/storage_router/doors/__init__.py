"""What comes over the wire: messages to values and back, tokens, servicers."""
