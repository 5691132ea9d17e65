"""What gateways ask and what workers say: messages to values and back, streams, tokens."""
