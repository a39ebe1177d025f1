"""`python -m benchmarks [part of a name]`."""

import sys

from benchmarks.table import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
