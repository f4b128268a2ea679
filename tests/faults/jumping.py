"""The command with a clock that jumps: `python -m tests.faults.jumping SEED ARGUMENTS...`.

Only the time of day jumps, as when somebody sets it, or a machine wakes up; monotonic clocks go on.
"""

from __future__ import annotations

import random
import sys
import time

_JUMPS = (-3e8, -86_400.0, -3600.0, -61.0, -0.5, 0.5, 61.0, 3600.0, 86_400.0, 3e8)
_RATE = 0.2  # of the looks at the clock with a jump before


def jump(seed: int) -> None:
    """Have the clock jump from now on."""
    chance, real = random.Random(seed), time.time
    offset = 0.0

    def jumping() -> float:
        nonlocal offset
        if chance.random() < _RATE:
            offset = chance.choice(_JUMPS)
        return real() + offset

    time.time = jumping
    time.time_ns = lambda: int(jumping() * 1e9)


if __name__ == "__main__":
    jump(int(sys.argv.pop(1)))
    from dcmweb.cli import main

    sys.argv[0] = "dcmweb"
    sys.exit(main())
