"""What replicas of a service share and can lose: rates, and news between them. Redis in production, in process on one
machine. Never the truth, never a queue: if it is emptied or gone, only latency and limits change."""
