// The backward pass of block attention on a CUDA device, as hosts call it.
#pragma once

#include "attention.h"

namespace attnc::cuda {

// `forward.output` and `forward.log_sum_exp` are what the forward pass gave, and are read.
struct GradientParameters {
  Parameters forward;
  const void* output_gradient;  // [B, H, S, e]
  void* query_gradient;         // [B, H, S, d]
  void* key_gradient;           // [B, K, T, d]
  void* value_gradient;         // [B, K, T, e]
  float* row_sums;              // [B, H, S], written: Σ output·output_gradient
};

// Bytes of device memory that a run needs besides its inputs and outputs.
size_t gradient_workspace_bytes(const GradientParameters& p);

// Puts the work on the stream. Returns null, or what went wrong.
const char* attention_gradient(GradientParameters p, Storage storage, const Device& device,
                               void* workspace, CUstream_st* stream);

}  // namespace attnc::cuda
