"""What the scheduler keeps: the port, SQL and memory behind it, and the saver that writes in groups."""
