"""`python -m horde.clients.demo`, what `make demo` runs."""

from horde.clients.cli.demo import demo

if __name__ == "__main__":
    demo()
