"""Seeds and learning rates by step: what lets a run that was stopped go on as if it had not been.

Every random draw of training comes from a generator that is seeded anew from (seed, epoch, step),
so that nothing but these numbers needs to be kept.
"""

from __future__ import annotations

import hashlib
import math


def step_seed(seed: int, epoch: int, step: int = -1) -> int:
    """A seed for a step, or for the plan of the epoch where no step is given."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{step}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def learning_rate(step: int, *, steps: int, warmup: int) -> float:
    """The share of the full learning rate: linear warm-up, then half a cosine down to 0.

    Loshchilov and Hutter 2017, without restarts; warm-up as in Goyal et al. 2017.

    Args:
        step: 0 ... `steps` - 1.
        warmup: steps of the warm-up.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
