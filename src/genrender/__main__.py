"""`python -m genrender` is the command `genrender`."""

import sys

from genrender.cli import main

if __name__ == "__main__":
    sys.exit(main())
