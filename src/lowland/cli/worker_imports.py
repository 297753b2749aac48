"""Imports all that a run needs, without the libraries' warnings; for workers of the command line."""

from lowland.cli.quiet import quiet_libraries

quiet_libraries()

import lowland.study.run  # noqa: E402, F401  # after the libraries are quiet
