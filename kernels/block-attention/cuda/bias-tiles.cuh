// The kinds of tiles that find_bias_tiles writes, and where the kernels find them.
#pragma once

#include "parameters.h"

namespace attnc::cuda {

constexpr int32_t kBiasTile = 64;
constexpr uint8_t kTileHidden = 0, kTileOpen = 1, kTileAdded = 2;

ATTNC_HD int32_t bias_tiles_along(int32_t size) { return (size + kBiasTile - 1) / kBiasTile; }

#ifdef __CUDACC__
// Of the tiles of a query, by tiles of keys; null where nothing is known of them.
__device__ __forceinline__ const uint8_t* bias_tiles_of(const Parameters& p, int32_t b, int32_t h,
                                                        int32_t query) {
  if (!p.bias_tiles) return nullptr;
  const int64_t matrix =
      (int64_t)(p.bias_batch == 1 ? 0 : b) * p.bias_heads + (p.bias_heads == 1 ? 0 : h);
  return p.bias_tiles + (matrix * bias_tiles_along(p.S) + query / kBiasTile) * bias_tiles_along(p.T);
}
#endif

}  // namespace attnc::cuda
