"""What an operator should know before strangers come: the settings of all services looked at together."""
