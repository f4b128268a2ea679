"""A decoder that never answers, as a process of its own."""

import time

time.sleep(60)
