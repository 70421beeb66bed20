"""``python -m pywry_auth_nb``: the command line, where the folder of ``pywry-auth`` is not on the PATH."""

import sys

from .cli import main

sys.exit(main())
