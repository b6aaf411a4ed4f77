"""The version, for those who must not import the whole package."""

import time

__version__ = "0.1.0"

#: When this process loaded the package. Source that is newer is not what it runs.
LOADED = time.time()
