// The operator StreamAttention.
#pragma once

#include "host.h"
#include "operator.h"

namespace attnc {

struct StreamSettings {
  int64_t window = 0, sinks = 0, heavy = 0, dense_step = 0, rotary_interleaved = 0;
  float scale = 0, softcap = 0;
};

struct StreamAttention {
  static constexpr const char* kName = "StreamAttention";
  static constexpr Port kInputs[] = {
      {"query", kElement},       {"key", kElement},
      {"value", kElement},       {"positions", ort::kInt64},
      {"past_key", kElement},    {"past_value", kElement},
      {"past_slots", ort::kInt64}, {"past_scores", ort::kFloat, true},
      {"rotary_frequencies", ort::kFloat, true}};
  static constexpr Port kOutputs[] = {{"output", kElement},
                                      {"present_key", kElement},
                                      {"present_value", kElement},
                                      {"present_slots", ort::kInt64},
                                      {"present_scores", ort::kFloat, true}};

  ort::Api api;
  StreamSettings settings;
  const Engine& engine;

  static ort::Status* create(const ort::Api& api, const Attributes& attributes, int32_t element,
                             StreamAttention** out);
  ort::Status* run(ort::KernelContext* context) const;
};

}  // namespace attnc
