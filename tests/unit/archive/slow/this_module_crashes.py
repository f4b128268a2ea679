"""A decoder that crashes with the first frame, as a process of its own."""

import os
import sys

sys.stdin.buffer.read(1)
os.abort()
