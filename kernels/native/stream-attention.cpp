// Reads and checks what ONNX Runtime hands over, and calls the step.
#include "stream-attention.h"

#include <cmath>

#include "../stream-attention/cpu/stream.h"

namespace attnc {

namespace {

Pool pool;

}  // namespace

ort::Status* StreamAttention::create(const ort::Api& api, const Attributes& attributes, int32_t,
                                     StreamAttention** out) {
  StreamSettings s;
  attributes.read("window", s.window);
  attributes.read("sinks", s.sinks);
  attributes.read("heavy", s.heavy);
  attributes.read("dense_step", s.dense_step);
  attributes.read("rotary_interleaved", s.rotary_interleaved);
  attributes.read("scale", s.scale);
  attributes.read("softcap", s.softcap);
  const Call call{api, nullptr, kName};
  for (const auto& [name, value, least] :
       {std::tuple("window", s.window, 1), std::tuple("sinks", s.sinks, 0), std::tuple("heavy", s.heavy, 0)})
    if (value < least || value > INT32_MAX / 4)
      return call.refuse(std::string("attribute \"") + name + "\" is " + std::to_string(value) +
                         "; expected " + std::to_string(least) + " to 2^29.");
  if (!(s.scale >= 0) || !(s.softcap >= 0) || std::isinf(s.scale) || std::isinf(s.softcap))
    return call.refuse("attributes \"scale\" and \"softcap\" are expected to be 0 or more.");
  *out = new StreamAttention{api, s, choose_engine()};
  return nullptr;
}

ort::Status* StreamAttention::run(ort::KernelContext* context) const {
  constexpr size_t kCount = std::size(kInputs);
  const Call call{api, context, kName};
  size_t outputs = 0;
  Tensor all[kCount];
  if (ort::Status* status = call.read_all(all, outputs)) return status;
  const auto& [query, key, value, positions, past_key, past_value, slots, scores, frequencies] = all;

  // 1. Sizes.
  const int32_t type = query.type;
  const char* name = type_name(type);
  if (ort::Status* status = call.expect("query", query, type, name, {-1, -1, -1, -1})) return status;
  const int64_t B = query.dims[0], H = query.dims[1], S = query.dims[2], d = query.dims[3];
  if (ort::Status* status = call.expect("key", key, type, name, {B, -1, S, d})) return status;
  const int64_t K = key.dims[1];
  if (ort::Status* status = call.expect("value", value, type, name, {B, K, S, -1})) return status;
  const int64_t e = value.dims[3];
  if (ort::Status* status = call.check_heads(H, K, d, e)) return status;
  const int64_t C = settings.sinks + settings.window + settings.heavy;
  const int64_t P = settings.heavy > 0 ? K : 1;
  if (ort::Status* status = call.expect("positions", positions, ort::kInt64, "int64", {B, S})) return status;
  if (ort::Status* status = call.expect("past_key", past_key, type, name, {B, K, C, d})) return status;
  if (ort::Status* status = call.expect("past_value", past_value, type, name, {B, K, C, e})) return status;
  if (ort::Status* status = call.expect("past_slots", slots, ort::kInt64, "int64", {B, P, C})) return status;
  if (settings.heavy > 0) {
    if (ort::Status* status = call.expect("past_scores", scores, ort::kFloat, "float32", {B, K, C})) return status;
  } else if (scores)
    return call.refuse("\"past_scores\" is given, but \"heavy\" is 0; expected none.");
  if (frequencies) {
    if (settings.heavy > 0)
      return call.refuse("\"rotary_frequencies\" is given, but \"heavy\" is not 0; expected one of them.");
    if (frequencies.rank != 1 || frequencies.dims[0] < 1 || 2 * frequencies.dims[0] > d)
      return call.refuse("\"rotary_frequencies\" is " + frequencies.shape() + "; expected 1 to " +
                         std::to_string(d / 2) + " numbers.");
  }

  // 2. Outputs.
  StreamProblem p{};
  void* present_slots = nullptr;
  void* present_scores = nullptr;
  if (ort::Status* status = call.output(0, {B, H, S, e}, &p.output)) return status;
  if (ort::Status* status = call.output(1, {B, K, C, d}, &p.present_key)) return status;
  if (ort::Status* status = call.output(2, {B, K, C, e}, &p.present_value)) return status;
  if (ort::Status* status = call.output(3, {B, P, C}, &present_slots)) return status;
  if (settings.heavy > 0) {
    if (outputs > 4)
      if (ort::Status* status = call.output(4, {B, K, C}, &present_scores)) return status;
    if (!present_scores) return call.refuse("\"present_scores\" is missing; \"heavy\" needs it.");
  }
  if (B == 0 || H == 0) return nullptr;

  // 3. The step.
  p.B = B, p.H = H, p.K = K, p.S = S, p.d = d, p.e = e, p.P = P;
  p.sinks = settings.sinks, p.window = settings.window, p.heavy = settings.heavy;
  p.storage = storage_of(type);
  p.query = query.data, p.key = key.data, p.value = value.data;
  p.positions = (const int64_t*)positions.data;
  p.past_key = past_key.data, p.past_value = past_value.data;
  p.past_slots = (const int64_t*)slots.data, p.past_scores = (const float*)scores.data;
  p.frequencies = (const float*)frequencies.data, p.pairs = frequencies ? frequencies.dims[0] : 0;
  p.present_slots = (int64_t*)present_slots, p.present_scores = (float*)present_scores;
  p.scale = settings.scale > 0 ? settings.scale : 1.0f / std::sqrt((float)d);
  p.softcap = settings.softcap;
  p.dense_step = settings.dense_step != 0, p.rotary_interleaved = settings.rotary_interleaved != 0;
  for (int64_t b = 0; b < B; b++) {
    WrongPosition wrong;
    read_step(p, b, wrong);
    if (wrong.place >= 0)
      return call.refuse("\"positions\" [" + std::to_string(b) + ", " + std::to_string(wrong.place) + "] is " +
                         std::to_string(p.positions[b * S + wrong.place]) + "; expected " +
                         (wrong.expected < 0 ? "-1, padding" : std::to_string(wrong.expected)) + ".");
  }
  Lease lease(pool);
  SessionThreads threads{api, context};
  stream_attention(p, engine, threads.threads(), lease.scratch());
  return nullptr;
}

}  // namespace attnc
