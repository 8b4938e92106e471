// The operators of kept blocks on a CUDA device. What tensors hold stays there: layouts are not
// looked at here, and the kernels read nothing outside them.
#pragma once

#include "block-attention.h"
#include "cuda-launch.h"

namespace attnc {

struct OnCuda {
  static constexpr bool kHoldsTensors = false;
  mutable CudaWorkspaces workspaces;
  ort::Status* run(const Call& call, const Problem& problem) const;
};

using CudaBlockSparseAttention = BlockAttention<RowsOfBlocks, OnCuda>;
using CudaGatherBlockAttention = BlockAttention<TableOfBlocks, OnCuda>;

extern template struct BlockAttention<RowsOfBlocks, OnCuda>;
extern template struct BlockAttention<TableOfBlocks, OnCuda>;

}  // namespace attnc
