"""Compares the kernels with a float32 reference on a table of shapes and layouts.

check.py PATHS [--small]: numbers of paths (1 Hopper, 2 Ampere, 3 decode, 4 general). With Ampere's,
the backward pass is compared too, with what PyTorch's autograd says of the reference.
Prints one JSON line for each case and path, and last {"passed": …, "failed": …}. The cases run in a
process of their own, which is begun again after a case that kills it.
"""

import json
import math
import subprocess
import sys
import time

import torch

from attnc import AMPERE, DECODE, Attention, Gradient, Unfit, compressed

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False

# What a case leaves out: two heads that share keys, blocks of 64, all blocks kept.
DEFAULTS = dict(
    B=1, H=2, K=1, S=256, T=None, d=128, e=None, query_block=64, key_block=64, L=1, causal=False,
    window=0, sinks=0, softcap=0.0, start=None, lengths=None, bias=None, mask=None, layout="all",
    type=torch.bfloat16, wants_lse=True,
)

CASES = {
    "one tile": dict(S=64, T=128),
    "one tile of one head": dict(S=128, H=1, query_block=128, key_block=128),
    "several stages": dict(S=128, T=1024),
    "heads of 64": dict(d=64, S=512),
    "float16": dict(type=torch.float16),
    "float16, heads of 64": dict(type=torch.float16, d=64),
    "causal": dict(S=512, causal=True),
    "causal, 128": dict(S=512, causal=True, query_block=128, key_block=128, H=3, K=3),
    "causal, ragged": dict(S=333, causal=True, H=4, K=2),
    "causal, ragged, 128": dict(S=333, causal=True, H=4, K=2, query_block=128, key_block=128),
    "fewer queries than keys": dict(S=200, T=500, causal=True, H=8, K=2),
    "fewer queries than keys, 128": dict(S=70, T=333, causal=True, query_block=128, key_block=64),
    "more queries than keys": dict(S=500, T=130, H=4, K=2),
    "starts within": dict(S=100, T=500, start=90, causal=True),
    "one short row": dict(S=3, T=77, causal=True),
    "odd blocks of keys": dict(S=256, T=192),
    "random blocks": dict(S=1024, H=8, K=2, layout="random"),
    "random blocks, 128": dict(S=1024, H=8, K=2, layout="random", query_block=128, key_block=128),
    "random, per pair of heads": dict(S=700, H=8, K=4, L=4, layout="random"),
    "random, per head": dict(S=700, H=8, K=4, L=8, layout="random", query_block=128),
    "rows without blocks": dict(S=700, H=4, K=2, layout="gaps"),
    "no blocks at all": dict(S=256, layout="none"),
    "columns in any order": dict(S=700, H=4, K=2, layout="shuffled", causal=True),
    "columns beyond the keys": dict(S=256, T=200, layout="beyond"),
    "window": dict(S=1000, H=8, K=2, causal=True, window=200, sinks=30, layout="causal"),
    "window, 128": dict(
        S=1000, H=8, K=2, causal=True, window=200, sinks=30, query_block=128, key_block=128
    ),
    "window both ways": dict(S=500, window=100, sinks=20),
    "padding": dict(B=3, H=4, K=2, S=300, lengths=[300, 128, 0]),
    "padding, causal": dict(B=3, H=4, K=4, S=300, lengths=[300, 77, 1], causal=True, query_block=128),
    "soft cap": dict(S=300, softcap=5.0),
    "soft cap, heads of 64": dict(S=300, softcap=5.0, d=64, type=torch.float16),
    "8 heads share keys": dict(S=300, H=8, K=1, causal=True),
    "small blocks of keys": dict(S=300, H=4, K=2, key_block=16, layout="random"),
    "blocks of 32 keys": dict(S=300, H=4, K=2, key_block=32, layout="random", causal=True),
    "blocks of 48 keys": dict(S=300, H=4, K=2, key_block=48, layout="random"),
    "blocks of 96 keys": dict(S=500, H=4, K=2, key_block=96, layout="random", query_block=128),
    "small blocks": dict(S=300, H=4, K=2, query_block=16, key_block=16, layout="random"),
    "blocks of 48": dict(S=300, H=4, K=2, query_block=48, key_block=48, layout="random"),
    "blocks of 112": dict(S=300, H=4, K=4, query_block=112, key_block=80, layout="random"),
    "heads of 80 and 96": dict(S=300, d=80, e=96),
    "heads of 36": dict(S=100, d=36, e=20),
    "heads of 256": dict(S=300, d=256, causal=True),
    "bias": dict(S=200, H=4, K=2, bias=(1, 4)),
    "bias with hidden pairs": dict(B=2, S=200, bias=(2, 1), causal=True),
    "causal mask as a bias": dict(B=2, S=512, H=6, K=2, bias=(1, 1), mask="causal", d=64),
    "mask as a bias, ragged": dict(B=2, S=333, H=4, K=2, bias=(2, 1), mask="causal"),
    "mask as a bias, per head": dict(S=400, H=4, K=2, bias=(1, 4), mask="window", type=torch.float16),
    "mask as a bias, blocks of 128 keys": dict(S=400, key_block=128, bias=(1, 1), mask="window", d=64),
    "mask as a bias, fewer keys": dict(S=300, T=130, bias=(1, 1), mask="window", d=64),
    "mask as a bias that hides rows": dict(B=2, S=256, bias=(2, 1), mask="padding", d=64),
    "mask as a bias, random blocks": dict(S=512, bias=(1, 1), mask="causal", layout="random"),
    "many heads": dict(B=2, H=32, K=8, S=1500, causal=True),
    "many tiles": dict(B=2, H=32, K=8, S=3000, causal=True, layout="random"),
    "one query": dict(S=1, T=1000, H=8, K=2, causal=True),
    "one query, 8 heads": dict(S=1, T=4097, H=32, K=4, causal=True),
    "one query, 16 heads": dict(S=1, T=500, H=16, K=1, causal=True),
    "one query, heads of 64": dict(S=1, T=777, H=8, K=8, d=64, causal=True, type=torch.float16),
    "one query, padding": dict(B=3, S=1, T=600, H=8, K=2, lengths=[600, 100, 0]),
    "one query, window": dict(
        S=1, T=3000, H=8, K=2, causal=True, window=500, sinks=64, layout="random"
    ),
    "one query, per head": dict(S=1, T=900, H=8, K=2, L=8, causal=True, layout="random"),
    "one query, no blocks": dict(S=1, T=900, H=8, K=2, causal=True, layout="none"),
    "one query, table": dict(B=2, S=1, T=900, H=8, K=2, causal=True, layout="table"),
    "table": dict(B=2, S=500, H=4, K=2, L=2, layout="table"),
    "table, 128": dict(B=2, S=200, T=700, H=4, K=2, L=4, causal=True, layout="table", query_block=128),
    "table, starts within": dict(B=2, S=100, T=500, start=90, causal=True, layout="table"),
    "ends in the first half of a block of 128": dict(S=300, T=1000, start=20, causal=True, query_block=128),
    "float32": dict(B=2, S=333, H=4, K=2, causal=True, type=torch.float32, layout="random"),
    "float32, padding and bias": dict(
        B=2, S=130, H=4, K=2, lengths=[130, 50], bias=(2, 1), type=torch.float32, softcap=5.0
    ),
    "float32, one query": dict(S=1, T=900, H=8, K=2, causal=True, type=torch.float32),
    "heads of 512": dict(S=200, d=512, e=320, causal=True),
}
SMALL = [
    "causal, ragged",
    "fewer queries than keys, 128",
    "columns beyond the keys",
    "padding",
    "small blocks of keys",
    "heads of 36",
    "one query, padding",
    "table, starts within",
    "float32, padding and bias",
]


def build_table(case, start, rows, blocks, generator):
    """Every batch and layout keeps other blocks; the table begins at the first query's row."""
    shape = (case["B"], case["L"], rows, blocks)
    kept = torch.rand(shape, device="cuda", generator=generator) < 0.4
    width = int(kept.sum(-1).max()) + 2
    order = kept.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    table = torch.full((*shape[:3], width), -1, dtype=torch.int64, device="cuda")
    table[..., : min(width, blocks)] = order[..., :width]
    table[torch.arange(width, device="cuda") >= kept.sum(-1)[..., None]] = -1
    first = start // case["query_block"]
    return kept, None, table[:, :, first:].to(torch.int32).contiguous()


def build_layout(case, start, rows, blocks, generator):
    kind, L = case["layout"], case["L"]
    if kind == "table":
        return build_table(case, start, rows, blocks, generator)
    random = torch.rand(L, rows, blocks, device="cuda", generator=generator)
    if kind in ("random", "gaps", "shuffled"):
        kept = random < 0.35
        if kind == "gaps":
            kept[:, ::2] = False
    elif kind == "none":
        kept = torch.zeros_like(random, dtype=torch.bool)
    else:
        kept = torch.ones_like(random, dtype=torch.bool)
        if kind == "causal":
            kept = kept.tril()
    begins, columns = compressed(kept)
    if kind == "shuffled":
        for row in range(rows):
            a, b = int(begins[0, row]), int(begins[0, row + 1])
            columns[0, a:b] = columns[0, a:b].flip(0)
    if kind == "beyond":
        # Every row's list also names blocks that don't exist.
        lists = torch.cat(
            [columns.view(L, rows, blocks), torch.tensor([-1, blocks, 1 << 20], device="cuda").expand(L, rows, 3)],
            -1,
        )
        columns = lists.reshape(L, -1).to(torch.int32).contiguous()
        begins = (torch.arange(rows + 1, device="cuda") * (blocks + 3)).expand(L, -1)
        begins = begins.to(torch.int32).contiguous()
    return kept[None], begins, columns


def reference(case, query, key, value, kept, bias, start):
    B, H, S, d = query.shape
    K, T = key.shape[1:3]
    repeats = H // K
    q, k, v = query.float(), key.float().repeat_interleave(repeats, 1), value.float().repeat_interleave(repeats, 1)
    scores = q @ k.transpose(-1, -2) * d**-0.5
    if case["softcap"]:
        scores = case["softcap"] * torch.tanh(scores / case["softcap"])
    if bias is not None:
        scores = scores + bias.float()
    position = start + torch.arange(S, device="cuda")
    at = torch.arange(T, device="cuda")
    shown = kept[:, :, position // case["query_block"]][..., at // case["key_block"]]
    shown = shown.repeat_interleave(H // case["L"], 1).expand(B, -1, -1, -1).clone()
    if case["causal"]:
        shown &= at[None, :] <= position[:, None]
    if case["window"]:
        near = (position[:, None] - at[None, :]).abs() < case["window"]
        shown &= near | (at[None, :] < case["sinks"])
    if case["lengths"]:
        lengths = torch.tensor(case["lengths"], device="cuda")
        shown &= (at[None, :] < lengths[:, None])[:, None, None, :]
    scores = scores.masked_fill(~shown, -math.inf)
    lse = scores.logsumexp(-1)
    # Rows without keys, and keys that are hidden, must not make the gradient NaN.
    base = lse.detach().masked_fill(lse == -math.inf, 0.0)[..., None]
    weights = (scores - base).exp().masked_fill(~shown, 0.0)
    weights = weights / weights.sum(-1, keepdim=True).masked_fill(lse[..., None] == -math.inf, 1.0)
    return weights @ v, lse


def build_mask(case, like):
    """Zeros, and where something is hidden −12,000: a row that sees nothing weighs what is hidden."""
    S, T = like.shape[-2:]
    query, key = torch.arange(S, device="cuda")[:, None], torch.arange(T, device="cuda")[None]
    if case["mask"] == "padding":
        # Of the second batch, keys and queries of the last third.
        kept = torch.tensor([T, T * 2 // 3], device="cuda")[:, None, None, None]
        hidden = (key >= kept) | (query >= kept)
    else:
        hidden = key > query
        if case["mask"] == "window":
            hidden = hidden | (key < query - 100)
            hidden[:, 0] = False
    return torch.where(hidden, -12000.0, 0.0).to(like.dtype).expand_as(like).contiguous()


def where_wrong(output, expected, lse, expected_lse):
    """Which rows and columns differ, for the next change of the kernel."""
    wrong = ~((output.float() - expected).abs() <= 0.05 + 0.02 * expected.abs())
    wrong_lse = ~(((lse - expected_lse).abs() < 0.02) | (lse == expected_lse))
    head = wrong.nonzero()[0, :2].tolist() if wrong.any() else [0, 0]
    by_row = wrong[head[0], head[1]].any(-1).nonzero()[:, 0].tolist()
    by_column = wrong[head[0], head[1]].any(0).nonzero()[:, 0].tolist()
    return {
        "wrong": int(wrong.sum()), "of": wrong.numel(), "nan": int(output.isnan().sum()),
        "wrong_lse": int(wrong_lse.sum()), "head": head,
        "rows": by_row[:4] + by_row[-2:], "row_count": len(by_row),
        "columns": by_column[:4] + by_column[-2:], "column_count": len(by_column),
    }


def run_case(name, paths):
    case = DEFAULTS | CASES[name]
    case["T"] = case["T"] or case["S"]
    case["e"] = case["e"] or case["d"]
    B, H, K, S, T, d, e = (case[x] for x in "B H K S T d e".split())
    generator = torch.Generator("cuda").manual_seed(len(name) * 1000 + S)
    draw = lambda *shape: torch.randn(*shape, device="cuda", generator=generator).to(case["type"])
    query, key, value = draw(B, H, S, d), draw(B, K, T, d), draw(B, K, T, e)
    start = case["start"] if case["start"] is not None else (T - S if case["causal"] else 0)
    rows = (start + S + case["query_block"] - 1) // case["query_block"]
    blocks = (T + case["key_block"] - 1) // case["key_block"]
    kept, begins, columns = build_layout(case, start, rows, blocks, generator)
    bias = None
    if case["bias"]:
        bias = draw(*case["bias"], S, T)
        if case["mask"]:
            bias = build_mask(case, bias)
        else:
            bias[..., ::7] = -math.inf
    lengths = torch.tensor(case["lengths"], dtype=torch.int32, device="cuda") if case["lengths"] else None
    expected, expected_lse = reference(case, query, key, value, kept, bias, start)
    results = []
    for path in paths:
        call = Attention(
            query, key, value, begins, columns, query_block=case["query_block"],
            key_block=case["key_block"], causal=case["causal"], window=case["window"],
            sinks=case["sinks"], softcap=case["softcap"], start=start, lengths=lengths, bias=bias,
            path=path, wants_lse=case["wants_lse"],
        )
        line = {"case": name, "path": path}
        if path == DECODE and S > 1:
            continue
        try:
            # Twice: what the first run leaves behind must not matter.
            call()
            torch.cuda.synchronize()
            call.output.fill_(float("nan"))
            call.lse.fill_(float("nan"))
            output = call()
            torch.cuda.synchronize()
        except Unfit as error:
            print(json.dumps(line | {"skipped": str(error)}), flush=True)
            continue
        scale = max(float(expected.norm()), 1e-20)
        error = float((output.float() - expected).norm()) / scale
        finite = expected_lse != -math.inf
        lse_error = float((call.lse - expected_lse)[finite].abs().max()) if finite.any() else 0.0
        empty_ok = bool((output[~finite] == 0).all()) and bool((call.lse[~finite] == -math.inf).all())
        limit = {torch.bfloat16: 8e-3, torch.float16: 1.5e-3, torch.float32: 1e-5}[case["type"]]
        passes = error < limit and lse_error < 5e-3 and empty_ok
        line |= {"error": round(error, 6), "lse_error": round(lse_error, 6), "passes": passes}
        if not passes:
            line |= {"empty_ok": empty_ok} | where_wrong(output, expected, call.lse, expected_lse)
        print(json.dumps(line), flush=True)
        results.append(passes)
        if path == AMPERE and max(d, e) <= 128 and case["type"] != torch.float32:
            results.append(check_gradient(case, call, draw(B, H, S, e), kept, bias, start, name))
    return results


def check_gradient(case, call, output_gradient, kept, bias, start, name):
    leaves = [each.float().requires_grad_() for each in call.kept[:3]]
    expected, _ = reference(case, *leaves, kept, bias, start)
    expected.backward(output_gradient.float())
    gradient = Gradient(call, output_gradient)
    first = [each.clone() for each in gradient()]
    second = gradient()
    torch.cuda.synchronize()
    errors = [
        float((got.float() - leaf.grad).norm()) / max(float(leaf.grad.norm()), 1e-20)
        for got, leaf in zip(second, leaves)
    ]
    same = all(torch.equal(a, b) for a, b in zip(first, second))
    limit = {torch.bfloat16: 2e-2, torch.float16: 3e-3}[case["type"]]
    empty = [float(leaf.grad.norm()) == 0 for leaf in leaves]
    sound = all(float(got.float().norm()) == 0 if none else error < limit
                for got, none, error in zip(second, empty, errors))
    line = {"case": name, "path": "gradient", "errors": [round(x, 6) for x in errors], "same": same}
    print(json.dumps(line | {"passes": sound and same}), flush=True)
    return sound and same


def run_cases(paths, names):
    """In the process that may die."""
    for name in names:
        print(f"begins {name}", flush=True)
        run_case(name, paths)


def main():
    paths = [int(x) for x in sys.argv[1].split(",")]
    if "--names" in sys.argv:
        run_cases(paths, sys.argv[sys.argv.index("--names") + 1 :])
        return
    names = SMALL if "--small" in sys.argv else list(CASES)
    results = []
    began = time.time()
    while names:
        command = [sys.executable, __file__, sys.argv[1], "--names", *names]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            current = None
            for line in worker.stdout:
                if line.startswith("begins "):
                    current = line[7:].strip()
                    names = names[names.index(current) + 1 :]
                    continue
                print(line, end="", flush=True)
                results += [json.loads(line)["passes"]] if '"passes"' in line else []
        if worker.returncode == 0:
            break
        results.append(False)
        print(json.dumps({"case": current, "passes": False, "exit": worker.returncode}), flush=True)
        if current is None:
            break
    passed = sum(results)
    line = {"paths": paths, "passed": passed, "failed": len(results) - passed}
    print(json.dumps(line | {"seconds": round(time.time() - began, 1)}), flush=True)
    sys.exit(passed != len(results))


main()
