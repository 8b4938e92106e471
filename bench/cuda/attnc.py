"""The kernels of libattnc_cuda_bench.so on PyTorch tensors, and layouts of blocks."""

import ctypes
import os

import torch

LIBRARY = ctypes.CDLL(os.environ["ATTNC_CUDA_BENCH"])
POINTERS = "query key value output log_sum_exp rows columns key_lengths bias".split()
SIZES = (
    "B H K S T d e L row_count width bias_batch bias_heads start query_block key_block "
    "causal window sinks"
).split()


class Parameters(ctypes.Structure):
    """attnc::cuda::Parameters, field by field."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in POINTERS]
        + [(name, ctypes.c_int32) for name in SIZES]
        + [("scale", ctypes.c_float), ("softcap", ctypes.c_float)]
        + [("order", ctypes.c_void_p), ("counter", ctypes.c_void_p), ("partial", ctypes.c_void_p)]
        + [("splits", ctypes.c_int32), ("bias_tiles", ctypes.c_void_p)]
    )


LIBRARY.attnc_attention.restype = ctypes.c_char_p
LIBRARY.attnc_attention.argtypes = [
    ctypes.POINTER(Parameters),
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int32,
]
LIBRARY.attnc_workspace_bytes.restype = ctypes.c_size_t
LIBRARY.attnc_workspace_bytes.argtypes = [ctypes.POINTER(Parameters), ctypes.c_int32, ctypes.c_int32]


class GradientParameters(ctypes.Structure):
    """attnc::cuda::GradientParameters, field by field."""

    _fields_ = [("forward", Parameters)] + [
        (name, ctypes.c_void_p)
        for name in "output_gradient query_gradient key_gradient value_gradient row_sums".split()
    ]


LIBRARY.attnc_attention_gradient.restype = ctypes.c_char_p
LIBRARY.attnc_attention_gradient.argtypes = [
    ctypes.POINTER(GradientParameters),
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_void_p,
]
LIBRARY.attnc_gradient_workspace_bytes.restype = ctypes.c_size_t
LIBRARY.attnc_gradient_workspace_bytes.argtypes = [ctypes.POINTER(GradientParameters)]
# Path and Storage of attention.h.
AUTOMATIC, HOPPER, AMPERE, DECODE, GENERAL = range(5)
STORAGES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


class Unfit(Exception):
    """A kernel was asked for sizes that it doesn't take."""


class Attention:
    """One prepared call; calling it puts the work on PyTorch's stream.

    Without `rows`, `columns` is a table [B, L, R, c] that begins at the queries' first block.
    """

    def __init__(self, query, key, value, rows, columns, *, query_block, key_block, causal=False,
                 window=0, sinks=0, softcap=0.0, start=None, lengths=None, bias=None, path=AUTOMATIC,
                 wants_lse=False):
        B, H, S, d = query.shape
        K, T = key.shape[1:3]
        e = value.shape[3]
        self.output = torch.full((B, H, S, e), float("nan"), dtype=query.dtype, device="cuda")
        self.lse = torch.full((B, H, S), float("nan"), device="cuda") if wants_lse else None
        self.kept = (query, key, value, rows, columns, lengths, bias)
        p = Parameters()
        tensors = (query, key, value, self.output, self.lse, rows, columns, lengths, bias)
        for name, tensor in zip(POINTERS, tensors):
            assert tensor is None or tensor.is_contiguous(), name
            setattr(p, name, 0 if tensor is None else tensor.data_ptr())
        p.B, p.H, p.K, p.S, p.T, p.d, p.e = B, H, K, S, T, d, e
        if rows is None:
            p.L, p.row_count, p.width = columns.shape[1:]
        else:
            p.L, p.row_count, p.width = rows.shape[0], rows.shape[1] - 1, columns.shape[1]
        if bias is not None:
            p.bias_batch, p.bias_heads = bias.shape[:2]
        p.start = (T - S if causal else 0) if start is None else start
        p.query_block, p.key_block = query_block, key_block
        p.causal, p.window, p.sinks = int(causal), window, sinks
        p.scale, p.softcap = d**-0.5, softcap
        self.parameters = p
        self.storage = STORAGES[query.dtype]
        self.path = path
        size = LIBRARY.attnc_workspace_bytes(ctypes.byref(p), self.storage, path)
        self.workspace = torch.empty(size, dtype=torch.uint8, device="cuda")

    def __call__(self):
        error = LIBRARY.attnc_attention(
            ctypes.byref(self.parameters),
            self.storage,
            self.workspace.data_ptr(),
            torch.cuda.current_stream().cuda_stream,
            self.path,
        )
        if error:
            raise Unfit(error.decode())
        return self.output


class Gradient:
    """The backward pass of a call that has run with `wants_lse`; gives those of query, key and value."""

    def __init__(self, forward, output_gradient):
        query, key, value = forward.kept[:3]
        self.gradients = [torch.full_like(each, float("nan")) for each in (query, key, value)]
        row_sums = torch.empty_like(forward.lse)
        self.kept = (forward, output_gradient, row_sums)
        self.storage = forward.storage
        self.parameters = p = GradientParameters()
        p.forward = forward.parameters
        p.output_gradient = output_gradient.data_ptr()
        p.query_gradient, p.key_gradient, p.value_gradient = (each.data_ptr() for each in self.gradients)
        p.row_sums = row_sums.data_ptr()
        size = LIBRARY.attnc_gradient_workspace_bytes(ctypes.byref(p))
        self.workspace = torch.empty(size, dtype=torch.uint8, device="cuda")

    def __call__(self):
        stream = torch.cuda.current_stream().cuda_stream
        error = LIBRARY.attnc_attention_gradient(
            ctypes.byref(self.parameters), self.storage, self.workspace.data_ptr(), stream
        )
        if error:
            raise Unfit(error.decode())
        return self.gradients


def time_ms(run, repeats):
    """Milliseconds of one run on the device, of so many in a row."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / repeats


def compressed(kept):
    """bool [L, R, C] to rows [L, R+1] and columns [L, N]."""
    L, R, _ = kept.shape
    counts = kept.sum(-1).cpu()
    rows = torch.zeros(L, R + 1, dtype=torch.int32)
    rows[:, 1:] = counts.cumsum(-1)
    width = max(1, int(counts.sum(-1).max()))
    columns = torch.full((L, width), -1, dtype=torch.int32)
    for layout in range(L):
        found = kept[layout].nonzero()[:, 1].to(torch.int32).cpu()
        columns[layout, : len(found)] = found
    return rows.cuda(), columns.cuda()


def window_blocks(S, block, window, sinks):
    """bool [1, R, R]: blocks with a key that a causal window with sinks shows to some query."""
    row = torch.arange((S + block - 1) // block, device="cuda")
    first = (row * block - window + 1).clamp(min=0) // block
    column = row[None, :]
    kept = (column <= row[:, None]) & ((column >= first[:, None]) | (column * block < sinks))
    return kept[None]
