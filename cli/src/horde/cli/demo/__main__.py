"""`python -m horde.cli.demo`, what `make demo` runs."""

from horde.cli.commands.demo import demo

if __name__ == "__main__":
    demo()
