// Block attention as the CUDA kernels see it: sizes that were checked on the host, pointers of the
// device, and which keys a row sees. Layouts are read on the device, so every index that comes from
// one is clamped before it is used.
// B batch, H heads, K key-value heads, S queries, T keys, d head size, e value head size, L layouts.
#pragma once

#include <cstdint>

namespace attnc::cuda {

struct Parameters {
  const void* query;   // [B, H, S, d]
  const void* key;     // [B, K, T, d]
  const void* value;   // [B, K, T, e]
  void* output;        // [B, H, S, e]
  float* log_sum_exp;  // [B, H, S], or null

  // Compressed rows, or, where `rows` is null, `width` columns for every row, per batch.
  const int32_t* rows;         // [L, row_count + 1]
  const int32_t* columns;      // [L, width], or [B, L, row_count, width] from the first row on
  const int32_t* key_lengths;  // [B], or null
  const void* bias;            // [bias_batch, bias_heads, S, T], or null

  int32_t B, H, K, S, T, d, e, L;
  int32_t row_count, width;
  int32_t bias_batch, bias_heads;
  // Position of the first query among the keys.
  int32_t start;
  int32_t query_block, key_block;
  int32_t causal, window, sinks;
  float scale, softcap;

  // Written by the plan: rows of layouts, those with most work first, and the next item of work.
  int32_t* order;
  int32_t* counter;
  // Single queries: [B, groups, splits, heads, 2 + e].
  float* partial;
  int32_t splits;
  // Of tiles of 64 queries and 64 keys (bias-tiles.cuh): [bias_batch, bias_heads, tiles, tiles]; or null.
  uint8_t* bias_tiles;

#ifdef __CUDACC__
#define ATTNC_HD __host__ __device__ __forceinline__
#else
#define ATTNC_HD inline
#endif
  ATTNC_HD int32_t first_row() const { return start / query_block; }
  ATTNC_HD int32_t block_rows() const { return (start + S - 1) / query_block - first_row() + 1; }
  ATTNC_HD int32_t key_blocks() const { return (T + key_block - 1) / key_block; }
};

ATTNC_HD int32_t smaller_of(int32_t a, int32_t b) { return a < b ? a : b; }
ATTNC_HD int32_t larger_of(int32_t a, int32_t b) { return a > b ? a : b; }

// Keys [first, end) of the sequence, and of those before `first` the ones below `sinks`.
struct Visible {
  int32_t first, end, sinks;

  ATTNC_HD bool shows(int32_t key) const { return (key >= first && key < end) || key < sinks; }
};

ATTNC_HD Visible visible_keys(const Parameters& p, int32_t position, int32_t keys) {
  Visible seen{0, keys, 0};
  if (p.causal) seen.end = smaller_of(keys, position + 1);
  if (p.window == 0) return seen;
  seen.first = larger_of(0, position - p.window + 1);
  seen.sinks = smaller_of(p.sinks, seen.end);
  if (!p.causal) {
    seen.end = smaller_of(keys, position + p.window);
    // Sinks may lie after the window too.
    seen.sinks = smaller_of(p.sinks, keys);
  }
  return seen;
}

#ifdef __CUDACC__
__device__ __forceinline__ int32_t keys_of(const Parameters& p, int32_t batch) {
  if (!p.key_lengths) return p.T;
  return smaller_of(p.T, larger_of(0, p.key_lengths[batch]));
}

// Columns [begin, end) of a row of a layout, never outside the list.
struct KeptColumns {
  const int32_t* columns;
  int32_t count;
};

__device__ __forceinline__ KeptColumns kept_columns(const Parameters& p, int32_t batch,
                                                    int32_t layout, int32_t row) {
  if (!p.rows) {
    const int64_t line = ((int64_t)batch * p.L + layout) * p.row_count + row - p.first_row();
    return {p.columns + line * p.width, p.width};
  }
  if (row < 0 || row >= p.row_count) return {p.columns, 0};
  const int32_t* begins = p.rows + (int64_t)layout * (p.row_count + 1) + row;
  const int32_t begin = smaller_of(larger_of(begins[0], 0), p.width);
  const int32_t end = smaller_of(larger_of(begins[1], begin), p.width);
  return {p.columns + (int64_t)layout * p.width + begin, end - begin};
}
#endif

}  // namespace attnc::cuda
