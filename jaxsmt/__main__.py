"""`python -m jaxsmt` is the program `jaxsmt`."""

from .app.cli import entry

if __name__ == "__main__":
    entry()
