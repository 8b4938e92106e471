// What a bias does to tiles of 64 queries and 64 keys, read once before the kernels that walk over
// them: hides all of a tile, adds nothing to it, or has to be added. A mask that is stated as a bias is
// mostly the first two.
#include "bias-tiles.cuh"
#include "launches.h"
#include "softmax.cuh"

namespace attnc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 8;  // numbers that are read at once
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

// Eight numbers side by side; those beyond the end of the line hide, and add nothing.
template <typename Element>
__device__ __forceinline__ void read_piece(const Element* line, int32_t at, int32_t end,
                                           bool is_aligned, bool& shows, bool& adds) {
  struct alignas(16) Piece {
    Element of[kPiece];
  } piece;
  if (is_aligned) piece = *(const Piece*)(line + at);
#pragma unroll
  for (int i = 0; i < kPiece; i++) {
    if (!is_aligned && at + i >= end) break;
    const float value = to_float(is_aligned ? piece.of[i] : line[at + i]);
    shows |= value > kHidden;
    adds |= value != 0.0f;
  }
}

// A block of threads has 64 queries; a thread eight keys of some of them at a time.
template <typename Element>
__global__ void __launch_bounds__(kThreads) find_tiles(const Parameters p) {
  __shared__ uint32_t shows[kMostTiles / 32], adds[kMostTiles / 32];
  __shared__ uint32_t seeing[2];  // bits of the queries to which something is shown
  const int32_t tiles = bias_tiles_along(p.T), row = blockIdx.x;
  const int64_t matrix = (int64_t)blockIdx.z * p.bias_heads + blockIdx.y;
  const Element* bias = (const Element*)p.bias + matrix * p.S * p.T;
  const bool is_aligned = p.T % kPiece == 0 && (uintptr_t)p.bias % 16 == 0;
  for (int32_t i = threadIdx.x; i < kMostTiles / 32; i += kThreads) shows[i] = adds[i] = 0;
  if (threadIdx.x < 2) seeing[threadIdx.x] = 0;
  const bool is_whole = keeps_all(p, row);  // and shared memory is zero for all

  const int32_t pieces = (p.T + kPiece - 1) / kPiece;
  int32_t along = 8;  // threads side by side on a line: of a tile at least
  while (along < pieces && along < kThreads) along *= 2;
  const int32_t queries = smaller_of(kBiasTile, p.S - row * kBiasTile);
  for (int32_t piece = threadIdx.x % along; piece < pieces; piece += along) {
    uint64_t sees = 0;
    bool any_adds = false;
#pragma unroll 8
    for (int32_t query = threadIdx.x / along; query < queries; query += kThreads / along) {
      bool is_shown = false;
      read_piece(bias + (int64_t)(row * kBiasTile + query) * p.T, piece * kPiece, p.T, is_aligned,
                 is_shown, any_adds);
      sees |= (uint64_t)is_shown << query;
    }
    const int32_t tile = piece * kPiece / kBiasTile;
    if (sees) {
      atomicOr(shows + tile / 32, 1u << tile % 32);
      atomicOr(seeing, (uint32_t)sees);
      atomicOr(seeing + 1, (uint32_t)(sees >> 32));
    }
    if (any_adds) atomicOr(adds + tile / 32, 1u << tile % 32);
  }
  __syncthreads();
  // A query to which everything is hidden weighs what is hidden: nothing is left out for it.
  const bool may_hide = is_whole && __popc(seeing[0]) + __popc(seeing[1]) == queries;
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
