// The operator BlockSelect.
#pragma once

#include "../block-select/cpu/select.h"
#include "host.h"
#include "operator.h"

namespace attnc {

struct SelectSettings {
  Scorer scorer = Scorer::mean;
  Select select = Select::count;
  int64_t count = 0, selections = 0, sink_blocks = 0, local_blocks = 0, causal = 0;
  int64_t query_block = 64, key_block = 64, query_start = -1;
  float mass = 0, threshold = 0, scale = 0;
};

struct BlockSelect {
  static constexpr const char* kName = "BlockSelect";
  static constexpr Port kInputs[] = {{"query", kElement},
                                     {"key", kElement},
                                     {"key_lengths", ort::kInt32, true},
                                     {"scores", ort::kFloat, true},
                                     {"past_summary", ort::kFloat, true}};
  static constexpr Port kOutputs[] = {{"block_indices", ort::kInt32},
                                      {"key_summary", ort::kFloat, true}};

  ort::Api api;
  SelectSettings settings;
  const Engine& engine;

  static ort::Status* create(const ort::Api& api, const Attributes& attributes, int32_t element,
                             BlockSelect** out);
  ort::Status* run(ort::KernelContext* context) const;
};

}  // namespace attnc
