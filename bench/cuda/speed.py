"""Times the kernels beside PyTorch's on the same blocks, all in turn within one run.

speed.py [--sizes 4096,…] [--layouts …] [--rounds N] [--flex-seconds N]
One JSON line for each layout, size and contender; rates count the pairs of queries and keys that
the masks show, 4·d operations each.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attnc import HOPPER, Attention, compressed, time_ms, window_blocks

H, K, D = 32, 8, 128
WINDOW, SINKS, SHARE = 1024, 64, 0.1

parser = argparse.ArgumentParser()
parser.add_argument("--sizes", default="16384,4096,8192,32768")
parser.add_argument("--layouts", default="causal,window,random,random64")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--flex-seconds", type=float, default=100)
parser.add_argument("--skip", default="", help="contenders to leave out")
given = parser.parse_args()
# Each size and mask is compiled anew; after 8 PyTorch would go on without compiling.
torch._dynamo.config.recompile_limit = 64
flex = torch.compile(flex_attention, dynamic=False)
flex_spent = 0.0


def ours(contenders, query, key, value, S, kept, block, **options):
    rows, columns = compressed(kept)
    # With blocks of 64 a tile is two heads, with blocks of 128 one head's.
    contenders[f"attnc-b{block}"] = Attention(
        query, key, value, rows, columns, query_block=block, key_block=block, path=HOPPER, **options
    )


def sdpa(backend, query, key, value):
    def run(keys=key, values=value):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(
                query, keys, values, is_causal=True, enable_gqa=keys is key
            )

    try:
        run()
        return run
    except RuntimeError:  # no grouped queries there: every head with keys of its own
        keys, values = key.repeat_interleave(H // K, 1), value.repeat_interleave(H // K, 1)
        return lambda: run(keys, values)


def contenders_of(layout, S, query, key, value):
    """Name to callable, and the pairs that count."""
    found = {}
    generator = torch.Generator("cuda").manual_seed(S)
    if layout == "causal":
        for block in (64, 128):
            kept = torch.ones(1, S // block, S // block, dtype=torch.bool, device="cuda").tril()
            ours(found, query, key, value, S, kept, block, causal=True)
        found["sdpa-cudnn"] = sdpa(SDPBackend.CUDNN_ATTENTION, query, key, value)
        found["sdpa-flash"] = sdpa(SDPBackend.FLASH_ATTENTION, query, key, value)
        pairs = S * (S + 1) // 2
        shows = lambda b, h, q, k: q >= k
        flex_block = 128
    elif layout == "window":
        for block in (64, 128):
            kept = window_blocks(S, block, WINDOW, SINKS)
            ours(found, query, key, value, S, kept, block, causal=True, window=WINDOW, sinks=SINKS)
        position = torch.arange(S, dtype=torch.float64)
        pairs = int((position + 1).clamp(max=WINDOW).sum() + (position + 1 - WINDOW).clamp(min=0, max=SINKS).sum())
        shows = lambda b, h, q, k: (q >= k) & ((q - k < WINDOW) | (k < SINKS))
        flex_block = 128
    else:
        flex_block = block = 64 if layout == "random64" else 128
        kept = torch.rand(1, S // block, S // block, device="cuda", generator=generator) < SHARE
        kept |= torch.eye(S // block, dtype=torch.bool, device="cuda")
        ours(found, query, key, value, S, kept, block)
        pairs = int(kept.sum()) * block * block
        table = kept[0]
        shows = lambda b, h, q, k: table[q // block, k // block]
    if flex_spent < given.flex_seconds and "flex" not in given.skip:
        mask = create_block_mask(shows, None, None, S, S, device="cuda", BLOCK_SIZE=flex_block)
        found["flex"] = lambda: flex(query, key, value, block_mask=mask, enable_gqa=True)
    return found, pairs


def measure(layout, S):
    global flex_spent
    draw = lambda heads: torch.randn(1, heads, S, D, device="cuda").to(torch.bfloat16)
    query, key, value = draw(H), draw(K), draw(K)
    contenders, pairs = contenders_of(layout, S, query, key, value)
    operations = 4 * D * H * pairs
    outputs, refused = {}, {}
    for name, run in list(contenders.items()):
        began = time.time()
        try:
            outputs[name] = run().float()
            torch.cuda.synchronize()
        except Exception as error:  # a rival that refuses is told and left out
            refused[name] = str(error).split("\n")[0][:200]
            del contenders[name]
        if name == "flex":
            flex_spent += time.time() - began
    for name, reason in refused.items():
        print(json.dumps({"layout": layout, "S": S, "contender": name, "refused": reason}), flush=True)
    expected = next((outputs[x] for x in ("sdpa-cudnn", "sdpa-flash", "flex") if x in outputs), None)
    errors = {
        name: None if expected is None else round(float((x - expected).norm() / expected.norm()), 5)
        for name, x in outputs.items()
    }
    outputs.clear()
    # About 12 ms each time; the kernels follow each other, then all again.
    repeats = {name: max(2, min(60, int(12 / max(time_ms(run, 2), 1e-3)))) for name, run in contenders.items()}
    times = {name: [] for name in contenders}
    for _ in range(given.rounds):
        for name, run in contenders.items():
            times[name].append(time_ms(run, repeats[name]))
    for name in contenders:
        ms = statistics.median(times[name])
        line = {
            "layout": layout, "S": S, "contender": name, "ms": round(ms, 4),
            "tflops": round(operations / ms / 1e9, 1),
            "spread": round((max(times[name]) - min(times[name])) / ms, 3),
            "error": errors[name], "kept": round(pairs / (S * S), 4),
        }
        print(json.dumps(line), flush=True)


print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__}), flush=True)
for size in given.sizes.split(","):
    for layout in given.layouts.split(","):
        began = time.time()
        measure(layout, int(size))
        torch.cuda.empty_cache()
        print(json.dumps({"took": round(time.time() - began, 1), "layout": layout, "S": int(size)}), flush=True)
