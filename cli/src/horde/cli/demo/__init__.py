"""The demo: a mesh of its own, a few pictures for three kinds of requester, and what became of them."""
