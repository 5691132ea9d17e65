"""Who turns a job into a picture: the port, diffusers in a process of its own, and a scripted painter."""
