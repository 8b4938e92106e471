"""A few launches for the profiler: profile_one.py LAYOUT BLOCK S."""

import sys

import torch

from attnc import HOPPER, Attention, compressed, window_blocks

layout, block, S = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
draw = lambda heads: torch.randn(1, heads, S, 128, device="cuda").to(torch.bfloat16)
if layout == "window":
    kept, options = window_blocks(S, block, 1024, 64), {"window": 1024, "sinks": 64}
else:
    kept, options = torch.ones(1, S // block, S // block, dtype=torch.bool, device="cuda").tril(), {}
rows, columns = compressed(kept)
call = Attention(
    draw(32), draw(8), draw(8), rows, columns, query_block=block, key_block=block, causal=True,
    path=HOPPER, **options,
)
for _ in range(3):
    call()
torch.cuda.synchronize()
