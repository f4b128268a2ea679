"""``python -m dcmweb``."""

from dcmweb.cli import main

if __name__ == "__main__":
    main()
