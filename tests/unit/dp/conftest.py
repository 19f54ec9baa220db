"""Lets the tests of this folder import `dp_tables`, their shared table."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
