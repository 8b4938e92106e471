"""Times single queries over a cache beside PyTorch's SDPA, against the copy bandwidth.

decode.py [--rounds N] [--only-attnc]: one JSON line for each cache and contender; rates count kept keys and values
once. Several caches in turn, so that none is still in the L2 cache when it is read again.
"""

import argparse
import itertools
import json
import statistics

import torch
import torch.nn.functional as F

from attnc import Attention, compressed, time_ms

H, K, D = 32, 8, 128

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--only-attnc", action="store_true")
given = parser.parse_args()


def copy_rate():
    a = torch.randn(1 << 29, device="cuda")
    b = torch.empty_like(a)
    b.copy_(a)
    ms = statistics.median(time_ms(lambda: b.copy_(a), 4) for _ in range(5))
    return 2 * a.numel() * 4 / ms / 1e9


def graph_of(calls):
    """All calls as one CUDA graph: what is timed is the device's work, not Python's."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph


def measure(B, T, share, block):
    draw = lambda heads, length: torch.randn(B, heads, length, D, device="cuda").to(torch.bfloat16)
    caches = max(2, int(3e8 / (B * K * T * D * 4)) + 1)
    sets = [(draw(H, 1), draw(K, T), draw(K, T)) for _ in range(caches)]
    blocks = T // block
    kept = torch.zeros(1, blocks, blocks, dtype=torch.bool, device="cuda")
    kept[0, -1] = torch.rand(blocks, device="cuda") < share
    rows, columns = compressed(kept)
    keys = int(kept.sum()) * block
    calls = [
        Attention(q, k, v, rows, columns, query_block=block, key_block=block, causal=True)
        for q, k, v in sets
    ]
    contenders = {"attnc": calls}
    if share == 1.0 and not given.only_attnc:
        contenders["sdpa"] = [
            lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
            for q, k, v in sets
        ]
        a, b = calls[0](), contenders["sdpa"][0]()
        error = round(float((a.float() - b.float()).norm() / b.float().norm()), 5)
    else:
        error = None
    graphs = {name: graph_of(each) for name, each in contenders.items()}
    times = {name: [] for name in graphs}
    for _ in range(given.rounds):
        for name, graph in graphs.items():
            graph.replay()
            times[name].append(time_ms(graph.replay, 10) / caches)
    for name in graphs:
        ms = statistics.median(times[name])
        rate = B * K * keys * D * 4 / ms / 1e9
        line = {"decode": name, "B": B, "T": T, "kept": round(keys / T, 3), "block": block, "ms": round(ms, 4)}
        line |= {"TB/s": round(rate, 2), "of_copy": round(rate / copy, 3), "error": error}
        print(json.dumps(line), flush=True)


copy = copy_rate()
print(json.dumps({"device": torch.cuda.get_device_name(), "copy TB/s": round(copy, 2)}), flush=True)
for (B, T), (share, block) in itertools.product(
    [(1, 32768), (1, 131072), (8, 32768), (32, 8192)], [(1.0, 64), (0.25, 64), (0.25, 128)]
):
    measure(B, T, share, block)
    torch.cuda.empty_cache()
