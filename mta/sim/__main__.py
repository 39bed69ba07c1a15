"""`python -m mta.sim` is `mta sink`."""

import sys

from mta.sim.sink_command import run

sys.exit(run(sys.argv[1:]))
