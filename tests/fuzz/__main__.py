"""Fuzz a target for long, guided by the code that inputs reach.

    python -m tests.fuzz TARGET --runs N [--blind] [--seed N]

Needs atheris (`pip install -e '.[fuzz]'`); with `--blind`, inputs are made without it. Prints the
number of inputs, and the first that fails, which is also in a file.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.target import LARGEST, Target, chance_input


def main() -> int:
    """Read the command line, and fuzz."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blind", action="store_true")
    asked = parser.parse_args()
    if not asked.blind:
        try:
            import atheris
        except ImportError:
            parser.error("atheris is missing: pip install '.[fuzz]', or use --blind")
        with atheris.instrument_imports(include=["dcmweb"], enable_loader_override=False):
            from tests.fuzz.targets import TARGETS
    else:
        from tests.fuzz.targets import TARGETS
    if asked.target not in TARGETS:
        parser.error(f"TARGET is one of {', '.join(TARGETS)}")
    target = TARGETS[asked.target]
    if asked.blind:
        return _fuzz_blindly(target, asked.runs, asked.seed)
    _fuzz(target, asked.runs, asked.seed)
    return 0


def _fuzz(target: Target, runs: int, seed: int) -> None:
    """Let libFuzzer choose inputs; it ends the process."""
    import atheris

    corpus = Path(tempfile.mkdtemp(prefix="dcmweb-corpus-"))
    for number, data in enumerate(target.first):
        (corpus / str(number)).write_bytes(data)
    words = corpus.with_suffix(".words")
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words if len(word) < 100))
    options = [f"-runs={runs}", f"-seed={seed}", f"-dict={words}", f"-max_len={LARGEST}"]
    atheris.Setup(
        [sys.argv[0], *options, "-timeout=60", "-rss_limit_mb=4096", str(corpus)], target.run
    )
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _fuzz_blindly(target: Target, runs: int, seed: int) -> int:
    chance = random.Random(seed)
    longest, began = 0.0, time.monotonic()
    for number in range(1, runs + 1):
        data = chance_input(target, chance)
        started = time.monotonic()
        try:
            target.run(data)
        except Exception:
            path = Path(f"fuzz-{hashlib.sha256(data).hexdigest()[:12]}")
            path.write_bytes(data)
            traceback.print_exc()
            print(f"input {number} fails: {path}")
            return 1
        longest = max(longest, time.monotonic() - started)
    took = time.monotonic() - began
    print(f"{runs} inputs in {took:.0f} s, the slowest in {longest:.3f} s: none fails")
    return 0


if __name__ == "__main__":
    sys.exit(main())
