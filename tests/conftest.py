"""What all tiers share."""
