"""What requesters and workers ask: messages to values and back, streams, servicers."""
