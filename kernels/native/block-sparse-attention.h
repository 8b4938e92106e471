// The operator for one element type; ONNX Runtime takes the one that fits the node.
#pragma once

#include "ort-api.h"

namespace attnc {

struct BlockSparseAttentionOp : ort::CustomOp {
  explicit BlockSparseAttentionOp(int32_t element);
  int32_t type;
};

}  // namespace attnc
