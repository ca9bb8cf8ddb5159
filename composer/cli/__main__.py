"""``python -m composer.cli`` does what ``composer`` does."""

import sys

from composer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
