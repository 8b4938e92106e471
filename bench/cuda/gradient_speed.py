"""Times the backward pass beside PyTorch's: gradient_speed.py. Prints one JSON line for each shape.

Blocks of 64, all kept. `bias`: causality as numbers that are added, as a training step has it, against
PyTorch with the same mask; else by the kernels' own causal mask, against PyTorch's flash attention.
Times are medians of 5 groups of 20 runs, in turns.
"""

import json
import statistics

import torch
from torch.nn.functional import scaled_dot_product_attention

from attnc import AMPERE, Attention, Gradient, compressed, time_ms

SHAPES = [  # B, H, K, S, d, bias
    (16, 9, 3, 512, 64, True),
    (8, 9, 3, 1024, 64, True),
    (8, 9, 3, 1024, 64, False),
    (2, 32, 8, 2048, 128, False),
]


def measure(B, H, K, S, d, bias):
    draw = lambda *shape: torch.randn(*shape, device="cuda").half()
    query, key, value, output_gradient = draw(B, H, S, d), draw(B, K, S, d), draw(B, K, S, d), draw(B, H, S, d)
    blocks = S // 64
    begins, columns = compressed(torch.ones(1, blocks, blocks, dtype=torch.bool, device="cuda"))
    mask = torch.full((S, S), -3e4, device="cuda").triu(1).half().expand(B, 1, S, S).contiguous()
    forward = Attention(
        query, key, value, begins, columns, query_block=64, key_block=64, causal=not bias,
        bias=mask if bias else None, path=AMPERE, wants_lse=True,
    )
    backward = Gradient(forward, output_gradient)
    leaves = [each.clone().requires_grad_() for each in (query, key, value)]
    chosen = dict(attn_mask=mask) if bias else dict(is_causal=True)
    attend = lambda: scaled_dot_product_attention(*leaves, enable_gqa=True, **chosen)
    output = attend()
    torch_backward = lambda: torch.autograd.grad(output, leaves, output_gradient, retain_graph=True)
    contenders = {"forward": forward, "backward": backward, "torch forward": attend, "torch backward": torch_backward}
    times = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(5):
        for name, run in contenders.items():
            times[name].append(time_ms(run, 20))
    pairs = B * H * S * S / (1 if bias else 2)
    line = {"B": B, "H": H, "K": K, "S": S, "d": d, "mask": "bias" if bias else "causal"}
    for name, each in times.items():
        milliseconds = statistics.median(each)
        products = 2 if "forward" in name else 5
        line[name] = {"ms": round(milliseconds, 4), "tflops": round(products * 2 * pairs * d / milliseconds / 1e9, 1)}
    print(json.dumps(line), flush=True)


for shape in SHAPES:
    measure(*shape)
