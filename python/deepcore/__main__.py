"""`python -m deepcore` is the command `deepcore`."""

import sys

from deepcore.cli import main

sys.exit(main())
