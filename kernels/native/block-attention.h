// The operators that attend to kept blocks: BlockSparseAttention, whose blocks are compressed rows, and
// GatherBlockAttention, whose blocks are a table.
#pragma once

#include "../block-attention/cpu/problem.h"
#include "operator.h"

namespace attnc {

struct BlockSettings {
  int64_t causal = 0, window = 0, sinks = 0, query_block = 64, key_block = 64, query_start = -1;
  float scale = 0, softcap = 0;
};

// What is the same for both. `Source` reads and checks the inputs that say which blocks are kept;
// `Place` does the work, and says whether the host may read what tensors hold.
template <typename Source, typename Place>
struct BlockAttention {
  static constexpr auto& kName = Source::kName;
  static constexpr auto& kInputs = Source::kInputs;
  static constexpr Port kOutputs[] = {{"output", kElement}, {"log_sum_exp", ort::kFloat, true}};

  ort::Api api;
  BlockSettings settings;
  Place place;

  static ort::Status* create(const ort::Api& api, const Attributes& attributes, int32_t element,
                             BlockAttention** out);
  ort::Status* run(ort::KernelContext* context) const;
};

struct RowsOfBlocks {
  static constexpr const char* kName = "BlockSparseAttention";
  static constexpr Port kInputs[] = {
      {"query", kElement},           {"key", kElement},
      {"value", kElement},           {"block_rows", ort::kInt32},
      {"block_columns", ort::kInt32}, {"key_lengths", ort::kInt32, true},
      {"bias", kElement, true}};
  static ort::Status* read(const Call& call, const Tensor* inputs, bool holds_tensors,
                           Problem& problem);
};

struct TableOfBlocks {
  static constexpr const char* kName = "GatherBlockAttention";
  static constexpr Port kInputs[] = {
      {"query", kElement},           {"key", kElement},
      {"value", kElement},           {"block_indices", ort::kInt32},
      {"key_lengths", ort::kInt32, true}, {"bias", kElement, true}};
  static ort::Status* read(const Call& call, const Tensor* inputs, bool holds_tensors,
                           Problem& problem);
};

struct OnProcessor {
  static constexpr bool kHoldsTensors = true;
  const Engine& engine;

  OnProcessor();
  ort::Status* run(const Call& call, const Problem& problem) const;
};

using BlockSparseAttention = BlockAttention<RowsOfBlocks, OnProcessor>;
using GatherBlockAttention = BlockAttention<TableOfBlocks, OnProcessor>;

extern template struct BlockAttention<RowsOfBlocks, OnProcessor>;
extern template struct BlockAttention<TableOfBlocks, OnProcessor>;

}  // namespace attnc
