// The backward pass of BlockSparseAttention on a CUDA device.
#pragma once

#include "block-attention.h"
#include "cuda-launch.h"

namespace attnc {

struct CudaBlockSparseAttentionGradient {
  static constexpr const char* kName = "BlockSparseAttentionGradient";
  static constexpr Port kInputs[] = {
      {"query", kElement},           {"key", kElement},
      {"value", kElement},           {"block_rows", ort::kInt32},
      {"block_columns", ort::kInt32}, {"output", kElement},
      {"log_sum_exp", ort::kFloat},  {"output_gradient", kElement},
      {"key_lengths", ort::kInt32, true}, {"bias", kElement, true}};
  static constexpr Port kOutputs[] = {{"query_gradient", kElement},
                                      {"key_gradient", kElement},
                                      {"value_gradient", kElement},
                                      {"row_sums", ort::kFloat}};

  ort::Api api;
  BlockSettings settings;
  mutable CudaWorkspaces workspaces;

  static ort::Status* create(const ort::Api& api, const Attributes& attributes, int32_t element,
                             CudaBlockSparseAttentionGradient** out);
  ort::Status* run(ort::KernelContext* context) const;
};

}  // namespace attnc
