"""What a training step costs in PyTorch eager: the mate of bench/train-step.ts.

A LLaMA of the shape of SmolLM2-135M (random weights: time and memory don't depend on them), float32
with TF32 products as ONNX Runtime has them, next-token loss, gradients cut to length 1, AdamW; all
weights, or low-rank updates of the seven projections of every layer.

    python bench/train-step.py [--batch-size 8] [--length 512] [--rounds 9] [--device cuda]
        [--attention eager,sdpa] [--layers 30] [--rank 16] [--precision float32|float16|bfloat16]

In half precision the model's work is, by autocast; weights and their gradients stay float32, as attnc's do.

Needs torch and transformers; nothing of attnc.
"""

import argparse
import statistics
import subprocess
import time

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


class LowRank(nn.Module):
    """y + x·A·B·scale beside a linear layer that stays."""

    def __init__(self, base: nn.Linear, rank: int, alpha: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(base.in_features, rank) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(rank, base.out_features))
        self.scale = alpha / rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + (x @ self.down) @ (self.up * self.scale)


def build(arguments: argparse.Namespace, attention: str, method: str) -> nn.Module:
    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=arguments.layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        attn_implementation=attention,
    )
    model = LlamaForCausalLM(config)
    if method == "lora":
        model.requires_grad_(False)
        for layer in model.model.layers:
            for block, names in (
                (layer.self_attn, ("q_proj", "k_proj", "v_proj", "o_proj")),
                (layer.mlp, ("gate_proj", "up_proj", "down_proj")),
            ):
                for name in names:
                    setattr(block, name, LowRank(getattr(block, name), arguments.rank, 2 * arguments.rank))
    return model.to(arguments.device)


def device_memory() -> int:
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, text=True).stdout.split()[0])


def measure(arguments: argparse.Namespace, attention: str, method: str) -> None:
    is_cuda = arguments.device == "cuda"
    before = device_memory() if is_cuda else 0
    model = build(arguments, attention, method)
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0)
    ids = torch.randint(0, 49152, (arguments.batch_size, arguments.length), device=arguments.device)

    scaler = torch.amp.GradScaler(arguments.device, enabled=arguments.precision == "float16")
    autocast = torch.autocast(
        arguments.device,
        dtype=getattr(torch, arguments.precision),
        enabled=arguments.precision != "float32",
    )

    def synchronise() -> None:
        if is_cuda:
            torch.cuda.synchronize()

    def forward() -> None:
        with torch.no_grad(), autocast:
            model(input_ids=ids, labels=ids, use_cache=False)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        scaler.step(optimizer)
        scaler.update()

    def timed(run) -> float:
        synchronise()
        began = time.perf_counter()
        run()
        synchronise()
        return (time.perf_counter() - began) * 1000

    for _ in range(3):
        step()
    synchronise()
    used = device_memory() - before if is_cuda else 0
    forward()
    times = [(timed(forward), timed(step)) for _ in range(arguments.rounds)]
    one, other = (statistics.median(each) for each in zip(*times))
    ratio = statistics.median(step / forward for forward, step in times)
    count = sum(each.numel() for each in parameters)
    memory = ""
    if is_cuda:
        peak = torch.cuda.max_memory_allocated() >> 20
        memory = f", {used} MiB in use, {peak} MiB allocated at the peak"
        torch.cuda.reset_peak_memory_stats()
    print(
        f"{method}, {attention}: forward {one:.1f} ms, step {other:.1f} ms, ratio {ratio:.2f}"
        f" ({count:,} numbers{memory})",
        flush=True,
    )
    del model, optimizer, parameters
    if is_cuda:
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--attention", default="eager,sdpa")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--precision", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--layers", type=int, default=30)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    print(f"torch {torch.__version__} · {name} · {arguments}", flush=True)
    for attention in arguments.attention.split(","):
        for method in ("full", "lora"):
            measure(arguments, attention, method)


if __name__ == "__main__":
    main()
