// BlockSelect as the kernel sees it: checked sizes, raw pointers, no ONNX Runtime. Letters as in the contract:
// B, H, K, S, T, d; L selections, R rows of queries, C blocks of keys.
#pragma once

#include "../../block-attention/cpu/problem.h"

namespace attnc {

enum class Scorer { mean, minmax, last_query, given };
enum class Select { count, mass, threshold };

struct SelectProblem {
  int64_t B, H, K, S, T, d, L, start;
  Storage storage;
  const void* query;           // [B, H, S, d]
  const void* key;             // [B, K, T, d]
  const int32_t* key_lengths;  // [B], or null
  const float* scores;         // [B, H, R, C], or null
  const float* past_summary;   // [B, K, known, parts, d], or null
  int64_t known;
  Scorer scorer;
  Select select;
  int64_t count, sink_blocks, local_blocks, query_block, key_block;
  float mass, threshold, scale;
  bool causal;

  int64_t rows() const { return S == 0 ? 0 : (start + S - 1) / query_block - start / query_block + 1; }
  int64_t blocks() const { return (T + key_block - 1) / key_block; }
  bool has_summary() const { return scorer == Scorer::mean || scorer == Scorer::minmax; }
  int64_t parts() const { return scorer == Scorer::minmax ? 2 : 1; }
};

// What each row keeps: the first kept[row] of ranked[row], which are not in order.
struct Selection {
  int32_t* kept;    // [B, L, R]
  int32_t* ranked;  // [B, L, R, C]
};

// `summary`: [B, K, C, parts, d], for scorers that have one.
Selection select_blocks(const SelectProblem& problem, float* summary, const Engine& engine,
                        const Threads& threads, const Scratch& scratch);

// Rising indices of every row, filled up with −1: [B, L, R, width].
void write_indices(const SelectProblem& problem, const Selection& selection, int64_t width,
                   int32_t* to);

}  // namespace attnc
