// What a bias does to tiles of 64 queries and 64 keys, read once before the kernels that walk over
// them: hides all of a tile, adds nothing to it, or has to be added. A mask that is stated as a bias is
// mostly the first two.
#include "bias-tiles.cuh"
#include "launches.h"
#include "softmax.cuh"

namespace attnc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMostTiles = 4096;  // along the keys
// As in src/model/lowest-seen.ts: what is added to a score that is hidden.
constexpr float kHidden = -9999.0f;

// Whether the row's list is 0, 1 … to the last block: then a key that the bias shows is one that the row has.
__device__ bool keeps_all(const Parameters& p, int32_t row) {
  const KeptColumns kept = kept_columns(p, 0, 0, row);
  bool is_all = kept.count == p.key_blocks();
  for (int32_t i = threadIdx.x; i < kept.count; i += kThreads) is_all &= kept.columns[i] == i;
  return __syncthreads_and(is_all);
}

template <typename Element>
__global__ void __launch_bounds__(kThreads) find_tiles(const Parameters p) {
  __shared__ uint32_t shows[kMostTiles / 32], adds[kMostTiles / 32];
  const int32_t tiles = bias_tiles_along(p.T), row = blockIdx.x;
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t matrix = (int64_t)blockIdx.z * p.bias_heads + blockIdx.y;
  const Element* bias = (const Element*)p.bias + matrix * p.S * p.T;
  for (int32_t i = threadIdx.x; i < kMostTiles / 32; i += kThreads) shows[i] = adds[i] = 0;
  const bool is_whole = keeps_all(p, row);  // and shared memory is zero for all
  bool sees_all = true;
  for (int32_t query = row * kBiasTile + warp; query < smaller_of(p.S, (row + 1) * kBiasTile);
       query += kThreads / 32) {
    const Element* line = bias + (int64_t)query * p.T;
    bool sees = false;
    for (int32_t key = 0; key < p.T; key += 64) {
      bool is_shown = false, is_added = false;
      for (int32_t at = key + lane; at < smaller_of(p.T, key + 64); at += 32) {
        const float value = to_float(line[at]);
        is_shown |= value > kHidden;
        is_added |= value != 0.0f;
      }
      const bool any_shown = __any_sync(~0u, is_shown), any_added = __any_sync(~0u, is_added);
      sees |= any_shown;
      const uint32_t bit = 1u << key / 64 % 32;
      if (lane == 0 && any_shown) atomicOr(shows + key / 64 / 32, bit);
      if (lane == 0 && any_added) atomicOr(adds + key / 64 / 32, bit);
    }
    sees_all &= sees;
  }
  // A query to which everything is hidden weighs what is hidden: nothing is left out for it.
  const bool may_hide = __syncthreads_and(sees_all) && is_whole;
  uint8_t* kinds = p.bias_tiles + (matrix * gridDim.x + row) * tiles;
  for (int32_t i = threadIdx.x; i < tiles; i += kThreads) {
    const bool is_shown = shows[i / 32] >> i % 32 & 1, is_added = adds[i / 32] >> i % 32 & 1;
    kinds[i] = may_hide && !is_shown ? kTileHidden : is_added ? kTileAdded : kTileOpen;
  }
}

}  // namespace

size_t bias_tiles_bytes(const Parameters& p) {
  const bool is_masked = p.causal || p.window > 0 || p.key_lengths;
  if (!p.bias || is_masked || !p.rows || p.L != 1 || p.start != 0) return 0;
  if (p.query_block != kBiasTile || p.key_block % kBiasTile != 0) return 0;
  if (bias_tiles_along(p.T) > kMostTiles || p.bias_batch > 65535 || p.bias_heads > 65535) return 0;
  return (size_t)p.bias_batch * (size_t)p.bias_heads * (size_t)bias_tiles_along(p.S) *
         (size_t)bias_tiles_along(p.T);
}

const char* find_bias_tiles(const Parameters& p, Storage storage, cudaStream_t stream) {
  const dim3 grid((unsigned)bias_tiles_along(p.S), (unsigned)p.bias_heads, (unsigned)p.bias_batch);
  if (storage == Storage::bfloat16) find_tiles<__nv_bfloat16><<<grid, kThreads, 0, stream>>>(p);
  else find_tiles<__half><<<grid, kThreads, 0, stream>>>(p);
  return told(cudaGetLastError());
}

}  // namespace attnc::cuda
