// Reads and checks what ONNX Runtime hands over, and calls the selection.
#include "block-select.h"

#include <algorithm>
#include <cmath>

namespace attnc {

namespace {

Pool pool;

// A word among those that the contract lists, in the order of the enumeration.
template <typename Enum, size_t Count>
bool find_word(const std::string& word, const char* const (&words)[Count], Enum& found) {
  for (size_t i = 0; i < Count; i++)
    if (word == words[i]) {
      found = (Enum)i;
      return true;
    }
  return false;
}

constexpr const char* kScorers[] = {"mean", "minmax", "last_query", "given"};
constexpr const char* kSelects[] = {"count", "mass", "threshold"};

// Blocks that sink_blocks and local_blocks can force on a row.
int64_t most_forced(const SelectSettings& s) {
  if (s.local_blocks == 0) return s.sink_blocks;
  const bool is_aligned = s.query_block % s.key_block == 0 || s.key_block % s.query_block == 0;
  const int64_t own = (s.query_block + s.key_block - 1) / s.key_block + (is_aligned ? 0 : 1);
  return s.sink_blocks + own + (s.local_blocks - 1) * (s.causal ? 1 : 2);
}

}  // namespace

ort::Status* BlockSelect::create(const ort::Api& api, const Attributes& attributes, int32_t,
                                 BlockSelect** out) {
  SelectSettings s;
  std::string scorer = "mean", select = "count";
  attributes.read("scorer", scorer);
  attributes.read("select", select);
  attributes.read("count", s.count);
  attributes.read("mass", s.mass);
  attributes.read("threshold", s.threshold);
  attributes.read("selections", s.selections);
  attributes.read("sink_blocks", s.sink_blocks);
  attributes.read("local_blocks", s.local_blocks);
  attributes.read("causal", s.causal);
  attributes.read("scale", s.scale);
  attributes.read("query_block", s.query_block);
  attributes.read("key_block", s.key_block);
  s.query_start = s.causal ? -1 : 0;
  attributes.read("query_start", s.query_start);
  const Call call{api, nullptr, kName};
  const auto refuse = [&](const char* name, const std::string& value, const std::string& expected) {
    return call.refuse(std::string("attribute \"") + name + "\" is " + value + "; expected " + expected + ".");
  };
  if (!find_word(scorer, kScorers, s.scorer))
    return refuse("scorer", scorer, "one of mean, minmax, last_query, given");
  if (!find_word(select, kSelects, s.select))
    return refuse("select", select, "one of count, mass, threshold");
  for (const auto& [name, block] : {std::pair("query_block", s.query_block), std::pair("key_block", s.key_block)})
    if (block < 16 || block > 128 || block % 16 != 0)
      return refuse(name, std::to_string(block), "a multiple of 16 from 16 to 128");
  for (const auto& [name, value] :
       {std::pair("count", s.count), std::pair("selections", s.selections),
        std::pair("sink_blocks", s.sink_blocks), std::pair("local_blocks", s.local_blocks)})
    if (value < 0 || value > INT32_MAX / 4) return refuse(name, std::to_string(value), "0 to 2^29");
  if (s.query_start < -1 || s.query_start > INT32_MAX / 2)
    return refuse("query_start", std::to_string(s.query_start), "-1 to 2^30");
  if (!(s.scale >= 0) || !(s.threshold >= 0) || std::isinf(s.scale) || std::isinf(s.threshold))
    return call.refuse("attributes \"scale\" and \"threshold\" are expected to be 0 or more.");
  if (s.select == Select::mass && !(s.mass > 0 && s.mass <= 1))
    return refuse("mass", std::to_string(s.mass), "more than 0 and at most 1");
  const int64_t least = std::max<int64_t>(s.select == Select::count ? 1 : 0, most_forced(s));
  if ((s.count > 0 || s.select == Select::count) && s.count < least)
    return refuse("count", std::to_string(s.count), std::to_string(least) + " or more, since so many blocks can be forced");
  *out = new BlockSelect{api, s, choose_engine()};
  return nullptr;
}

ort::Status* BlockSelect::run(ort::KernelContext* context) const {
  constexpr size_t kCount = std::size(kInputs);
  const Call call{api, context, kName};
  size_t outputs = 0;
  Tensor all[kCount];
  if (ort::Status* status = call.read_all(all, outputs)) return status;
  const auto& [query, key, lengths, scores, past] = all;

  // 1. Sizes.
  SelectProblem p{};
  const int32_t type = query.type;
  const char* name = type_name(type);
  if (ort::Status* status = call.expect("query", query, type, name, {-1, -1, -1, -1})) return status;
  p.B = query.dims[0], p.H = query.dims[1], p.S = query.dims[2], p.d = query.dims[3];
  if (ort::Status* status = call.expect("key", key, type, name, {p.B, -1, -1, p.d})) return status;
  p.K = key.dims[1], p.T = key.dims[2];
  if (ort::Status* status = call.check_heads(p.H, p.K, p.d, p.d)) return status;
  if (p.T > INT32_MAX / 2 || p.S > INT32_MAX / 2) return call.refuse("expected fewer than 2^30 tokens.");
  p.start = settings.query_start < 0 ? p.T - p.S : settings.query_start;
  if (ort::Status* status = call.check_start(p.start, p.S, p.T)) return status;
  p.L = settings.selections > 0 ? settings.selections : p.K;
  if (ort::Status* status = call.check_layouts("selections", p.L, p.H, p.K)) return status;
  p.scorer = settings.scorer, p.select = settings.select;
  p.query_block = settings.query_block, p.key_block = settings.key_block;
  const int64_t R = p.rows(), C = p.blocks();

  // 2. What the scorer takes.
  if (lengths)
    if (ort::Status* status = call.expect("key_lengths", lengths, ort::kInt32, "int32", {p.B})) return status;
  const std::string word = kScorers[(size_t)p.scorer];
  if (p.scorer == Scorer::given) {
    if (ort::Status* status = call.expect("scores", scores, ort::kFloat, "float32", {p.B, p.H, R, C})) return status;
  } else if (scores)
    return call.refuse("\"scores\" is given; the scorer \"" + word + "\" has its own.");
  if (past && !p.has_summary())
    return call.refuse("\"past_summary\" is given; the scorer \"" + word + "\" has none.");
  if (past)
    if (ort::Status* status =
            call.expect("past_summary", past, ort::kFloat, "float32", {p.B, p.K, -1, p.parts(), p.d}))
      return status;
  if (outputs > 1 && !p.has_summary())
    return call.refuse("the scorer \"" + word + "\" has no key_summary.");

  // 3. The choice, whose width may follow from it.
  p.storage = storage_of(type);
  p.query = query.data, p.key = key.data;
  p.key_lengths = (const int32_t*)lengths.data;
  p.scores = (const float*)scores.data;
  p.past_summary = (const float*)past.data, p.known = past ? past.dims[2] : 0;
  p.count = settings.count, p.mass = settings.mass, p.threshold = settings.threshold;
  p.sink_blocks = settings.sink_blocks, p.local_blocks = settings.local_blocks;
  p.causal = settings.causal != 0;
  p.scale = settings.scale > 0 ? settings.scale : 1.0f / std::sqrt((float)p.d);
  Lease lease(pool);
  const Scratch scratch = lease.scratch();
  void* summary = nullptr;
  if (outputs > 1)
    if (ort::Status* status = call.output(1, {p.B, p.K, C, p.parts(), p.d}, &summary)) return status;
  if (!summary && p.has_summary())
    summary = scratch.take(scratch.pool, (size_t)(p.B * p.K * C * p.parts() * p.d));
  SessionThreads threads{api, context};
  const Selection selection = select_blocks(p, (float*)summary, engine, threads.threads(), scratch);
  const int64_t rows = p.B * p.L * R;
  const int64_t fullest = rows == 0 ? 0 : *std::max_element(selection.kept, selection.kept + rows);
  const int64_t width = p.count > 0 ? std::min(C, p.count) : std::max<int64_t>(1, fullest);
  void* indices = nullptr;
  if (ort::Status* status = call.output(0, {p.B, p.L, R, width}, &indices)) return status;
  write_indices(p, selection, width, (int32_t*)indices);
  return nullptr;
}

}  // namespace attnc
