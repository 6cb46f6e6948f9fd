"""The image processing: pure functions on arrays. No disk, no database, no network, no clock."""

import os
from pathlib import Path

from toros.science.machine_code import keep_machine_code

keep_machine_code(Path(__file__).parent, os.environ)
