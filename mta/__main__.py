"""`python -m mta` is `mta`."""

import sys

from mta.cli import main

sys.exit(main())
