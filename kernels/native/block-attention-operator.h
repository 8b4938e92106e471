// Checks what ONNX Runtime hands over, the same for every place, and has the work done there. Included
// where the operators of a place are made.
#pragma once

#include <cmath>

#include "block-attention.h"

namespace attnc {

// Settings of a node, or a refusal.
inline ort::Status* read_settings(const Call& call, const Attributes& attributes,
                                  BlockSettings& s) {
  attributes.read("causal", s.causal);
  attributes.read("window", s.window);
  attributes.read("sinks", s.sinks);
  attributes.read("query_block", s.query_block);
  attributes.read("key_block", s.key_block);
  attributes.read("query_start", s.query_start);
  attributes.read("scale", s.scale);
  attributes.read("softcap", s.softcap);
  for (const auto& [name, block] : {std::pair("query_block", s.query_block), std::pair("key_block", s.key_block)})
    if (block < 16 || block > 128 || block % 16 != 0)
      return call.refuse(std::string("attribute \"") + name + "\" is " + std::to_string(block) +
                         "; expected a multiple of 16 from 16 to 128.");
  for (const auto& [name, value] : {std::pair("window", s.window), std::pair("sinks", s.sinks)})
    if (value < 0 || value > INT32_MAX / 2)
      return call.refuse(std::string("attribute \"") + name + "\" is " + std::to_string(value) +
                         "; expected 0 to 2^30.");
  if (s.query_start < -1 || s.query_start > INT32_MAX / 2)
    return call.refuse("attribute \"query_start\" is " + std::to_string(s.query_start) +
                       "; expected -1 to 2^30.");
  if (!(s.scale >= 0) || !(s.softcap >= 0) || std::isinf(s.scale) || std::isinf(s.softcap))
    return call.refuse("attributes \"scale\" and \"softcap\" are expected to be 0 or more.");
  return nullptr;
}

// Sizes, masks and layouts, checked. `blocks` are the source's own inputs.
template <typename Source>
ort::Status* read_problem(const Call& call, const BlockSettings& settings, const Tensor (&tensors)[3],
                          const Tensor* blocks, const Tensor& lengths, const Tensor& bias,
                          bool holds_tensors, Problem& p) {
  const auto& [query, key, value] = tensors;

  // 1. Sizes.
  const int32_t type = query.type;
  const char* name = type_name(type);
  if (ort::Status* status = call.expect("query", query, type, name, {-1, -1, -1, -1})) return status;
  const int64_t B = query.dims[0], H = query.dims[1], S = query.dims[2], d = query.dims[3];
  if (ort::Status* status = call.expect("key", key, type, name, {B, -1, -1, d})) return status;
  const int64_t K = key.dims[1], T = key.dims[2];
  if (ort::Status* status = call.expect("value", value, type, name, {B, K, T, -1})) return status;
  const int64_t e = value.dims[3];
  if (ort::Status* status = call.check_heads(H, K, d, e)) return status;
  if (T > INT32_MAX / 2 || S > INT32_MAX / 2) return call.refuse("expected fewer than 2^30 tokens.");
  const int64_t start = settings.query_start < 0 ? T - S : settings.query_start;
  if (ort::Status* status = call.check_start(start, S, T)) return status;

  // 2. Masks and layouts.
  p.B = B, p.H = H, p.K = K, p.S = S, p.T = T, p.d = d, p.e = e;
  p.start = start;
  p.query_block = settings.query_block, p.key_block = settings.key_block;
  if (ort::Status* status = Source::read(call, blocks, holds_tensors, p)) return status;
  if (lengths)
    if (ort::Status* status = call.expect("key_lengths", lengths, ort::kInt32, "int32", {B}))
      return status;
  if (bias) {
    const int64_t batch = bias.rank == 4 && bias.dims[0] == 1 ? 1 : B;
    const int64_t heads = bias.rank == 4 && bias.dims[1] == 1 ? 1 : H;
    if (ort::Status* status = call.expect("bias", bias, type, name, {batch, heads, S, T}))
      return status;
  }

  p.storage = storage_of(type);
  p.query = query.data, p.key = key.data, p.value = value.data;
  p.key_lengths = (const int32_t*)lengths.data;
  p.bias = bias.data, p.bias_batch = bias.dims[0], p.bias_heads = bias.dims[1];
  p.causal = settings.causal != 0;
  p.scale = settings.scale > 0 ? settings.scale : 1.0f / std::sqrt((float)d);
  p.softcap = settings.softcap;
  p.window = settings.window, p.sinks = settings.sinks;
  return nullptr;
}

template <typename Source, typename Place>
ort::Status* BlockAttention<Source, Place>::create(const ort::Api& api, const Attributes& attributes,
                                            int32_t, BlockAttention** out) {
  BlockSettings settings;
  if (ort::Status* status = read_settings(Call{api, nullptr, kName}, attributes, settings))
    return status;
  *out = new BlockAttention{api, settings, Place{}};
  return nullptr;
}

template <typename Source, typename Place>
ort::Status* BlockAttention<Source, Place>::run(ort::KernelContext* context) const {
  constexpr size_t kCount = std::size(kInputs);
  const Call call{api, context, kName};
  size_t outputs = 0;
  Tensor all[kCount];
  if (ort::Status* status = call.read_all(all, outputs)) return status;
  Problem p{};
  if (ort::Status* status =
          read_problem<Source>(call, settings, {all[0], all[1], all[2]}, all + 3, all[kCount - 2],
                               all[kCount - 1], Place::kHoldsTensors, p))
    return status;
  void* log_sum_exp = nullptr;
  if (ort::Status* status = call.output(0, {p.B, p.H, p.S, p.e}, &p.output)) return status;
  if (outputs > 1)
    if (ort::Status* status = call.output(1, {p.B, p.H, p.S}, &log_sum_exp)) return status;
  p.log_sum_exp = (float*)log_sum_exp;
  return p.B == 0 || p.H == 0 || p.S == 0 ? nullptr : place.run(call, p);
}

}  // namespace attnc
