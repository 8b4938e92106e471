// Block attention as the kernels see it: checked sizes, raw pointers, no ONNX Runtime.
// B batch, H heads, K key-value heads, S queries, T keys, d head size, e value head size, L layouts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace attnc {

enum class Storage { float32, float16, bfloat16 };

// Key blocks that a block of queries keeps; those outside the keys are passed over.
struct KeptBlocks {
  const int32_t* columns;
  int64_t count;
};

struct Problem {
  int64_t B, H, K, S, T, d, e, L;
  // Position of the first query among the keys.
  int64_t start;
  Storage storage;
  const void* query;  // [B, H, S, d]
  const void* key;    // [B, K, T, d]
  const void* value;  // [B, K, T, e]
  void* output;       // [B, H, S, e]
  float* log_sum_exp;  // [B, H, S], or null

  // Compressed rows, or, where `rows` is null, `width` columns for every row, per batch.
  const int32_t* rows;  // [L, row_count + 1]
  const int32_t* columns;
  int64_t row_count;
  int64_t width;

  const int32_t* key_lengths;  // [B], or null
  const void* bias;            // [bias_batch, bias_heads, S, T], or null
  int64_t bias_batch, bias_heads;

  const float* key_mask;  // [B, K, T], added to scores: 0 or −∞; or null
  // The first `turned_keys` keys see other queries: [B, H, S, d], not scaled; or null.
  const float* turned_query;
  int64_t turned_keys;
  float* raw_scores;  // [B, H, T]: the scores of a single query; or null

  bool causal;
  float scale, softcap;
  int64_t window, sinks;
  int64_t query_block, key_block;

  int64_t first_row() const { return start / query_block; }
  int64_t block_rows() const { return (start + S - 1) / query_block - first_row() + 1; }

  // `row` counts blocks of absolute positions; a table of columns begins at the queries' first row.
  KeptBlocks kept(int64_t batch, int64_t head, int64_t row) const {
    const int64_t layout = head * L / H;
    if (rows) {
      const int32_t* begin = rows + layout * (row_count + 1) + row;
      return {columns + layout * width + begin[0], begin[1] - begin[0]};
    }
    const int64_t at = (batch * L + layout) * row_count + row - first_row();
    return {columns + at * width, width};
  }
};

// Runs `work(data, index)` for every index below `count`, on several threads.
struct Threads {
  void* host;
  void (*run)(void* host, void (*work)(void*, size_t), size_t count, void* data);
};

// Memory of one run; given back when it ends.
struct Scratch {
  void* pool;
  float* (*take)(void* pool, size_t floats);
};

// One build of the kernel for each instruction set.
struct Engine {
  const char* name;
  void (*attention)(const Problem&, const Threads&, const Scratch&);
  // Attention that every key gets from all queries, [B, H, T]; blocks are left out of account.
  void (*key_mass)(const Problem&, const Threads&, float* mass);
  // Mean [d] of `count` keys, or their minima and maxima [2, d].
  void (*summarise)(Storage, const void* keys, int64_t count, int64_t d, bool bounds, float* to);
  // Product of a query with such a summary; of bounds, the larger one of each element.
  float (*score_summary)(const float* query, const float* summary, int64_t d, bool bounds);
  // exp of numbers ≤ 0, as the softmax computes it; for tests of its error.
  void (*exponential)(const float* from, float* to, size_t count);
};

extern const Engine baseline_engine;
#if defined(__x86_64__)
extern const Engine avx2_engine;
extern const Engine avx512_engine;
#endif

}  // namespace attnc
