"""``python -m plantgate`` is the command ``plantgate``."""

import sys

from plantgate.cli import main

sys.exit(main())
