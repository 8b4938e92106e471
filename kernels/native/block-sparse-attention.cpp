// The operator BlockSparseAttention: reads and checks what ONNX Runtime hands over, and calls the
// engine. Layouts come from files and from graphs: they are checked before anything is read by them.
#include "block-sparse-attention.h"

#include <cmath>
#include <exception>

#include "host.h"
#include "tensors.h"

namespace attnc {

namespace {

constexpr const char* kName = "BlockSparseAttention";
constexpr int64_t kLargestHead = 512;

Pool pool;

struct Attributes {
  int64_t causal = 0, window = 0, sinks = 0, query_block = 64, key_block = 64, query_start = -1;
  float scale = 0, softcap = 0;
};

struct Kernel {
  ort::Api api;
  Attributes attributes;
  const Engine& engine;
};

int32_t element_type(const ort::CustomOp* op) { return ((const BlockSparseAttentionOp*)op)->type; }

const char* type_name(int32_t type) {
  return type == ort::kFloat ? "float32" : type == ort::kFloat16 ? "float16" : "bfloat16";
}

ort::Status* create(const ort::CustomOp*, const void* const* table, const ort::KernelInfo* info,
                    void** out) {
  const ort::Api api{table};
  Attributes a;
  // Attributes that a node leaves out keep their defaults.
  const auto integer = [&](const char* name, int64_t& value) {
    int64_t read = 0;
    if (ort::Status* status = api.KernelInfoGetAttribute_int64(info, name, &read))
      api.ReleaseStatus(status);
    else
      value = read;
  };
  const auto number = [&](const char* name, float& value) {
    float read = 0;
    if (ort::Status* status = api.KernelInfoGetAttribute_float(info, name, &read))
      api.ReleaseStatus(status);
    else
      value = read;
  };
  integer("causal", a.causal);
  integer("window", a.window);
  integer("sinks", a.sinks);
  integer("query_block", a.query_block);
  integer("key_block", a.key_block);
  integer("query_start", a.query_start);
  number("scale", a.scale);
  number("softcap", a.softcap);
  const Call call{api, nullptr, kName};
  for (const auto& [name, block] : {std::pair("query_block", a.query_block), std::pair("key_block", a.key_block)})
    if (block < 16 || block > 128 || block % 16 != 0)
      return call.refuse(std::string("attribute \"") + name + "\" is " + std::to_string(block) +
                         "; expected a multiple of 16 from 16 to 128.");
  for (const auto& [name, value] : {std::pair("window", a.window), std::pair("sinks", a.sinks)})
    if (value < 0 || value > INT32_MAX / 2)
      return call.refuse(std::string("attribute \"") + name + "\" is " + std::to_string(value) +
                         "; expected 0 to 2^30.");
  if (a.query_start < -1)
    return call.refuse("attribute \"query_start\" is " + std::to_string(a.query_start) +
                       "; expected -1 or more.");
  if (!(a.scale >= 0) || !(a.softcap >= 0) || std::isinf(a.scale) || std::isinf(a.softcap))
    return call.refuse("attributes \"scale\" and \"softcap\" are expected to be 0 or more.");
  *out = new (std::nothrow) Kernel{api, a, choose_engine()};
  return *out ? nullptr : api.CreateStatus(ort::kFail, "out of memory");
}

// Rows rise within the columns and reach the last query.
ort::Status* check_layout(const Call& call, const Problem& p) {
  const int64_t needed = p.first_row() + p.block_rows();
  if (p.row_count < needed)
    return call.refuse("\"block_rows\" has " + std::to_string(p.row_count) + " rows of " +
                       std::to_string(p.query_block) + " queries; positions up to " +
                       std::to_string(p.start + p.S) + " need " + std::to_string(needed) + ".");
  for (int64_t layout = 0; layout < p.L; layout++) {
    const int32_t* begins = p.rows + layout * (p.row_count + 1);
    int64_t before = 0;
    for (int64_t row = 0; row <= p.row_count; row++) {
      if (begins[row] < before || begins[row] > p.width)
        return call.refuse("\"block_rows\" [" + std::to_string(layout) + ", " +
                           std::to_string(row) + "] is " + std::to_string(begins[row]) +
                           "; expected " + std::to_string(before) + " to " +
                           std::to_string(p.width) + ", rising.");
      before = begins[row];
    }
  }
  return nullptr;
}

ort::Status* run(const Kernel& kernel, ort::KernelContext* context) {
  const ort::Api& api = kernel.api;
  const Attributes& a = kernel.attributes;
  const Call call{api, context, kName};
  size_t inputs = 0, outputs = 0;
  if (ort::Status* status = api.KernelContext_GetInputCount(context, &inputs)) return status;
  if (ort::Status* status = api.KernelContext_GetOutputCount(context, &outputs)) return status;
  Tensor query, key, value, rows, columns, lengths, bias;
  Tensor* all[] = {&query, &key, &value, &rows, &columns, &lengths, &bias};
  for (size_t i = 0; i < 7; i++)
    if (ort::Status* status = call.read(i, inputs, *all[i])) return status;

  // 1. Sizes.
  const int32_t type = query.type;
  const char* name = type_name(type);
  if (ort::Status* status = call.expect("query", query, type, name, {-1, -1, -1, -1})) return status;
  const int64_t B = query.dims[0], H = query.dims[1], S = query.dims[2], d = query.dims[3];
  if (ort::Status* status = call.expect("key", key, type, name, {B, -1, -1, d})) return status;
  const int64_t K = key.dims[1], T = key.dims[2];
  if (ort::Status* status = call.expect("value", value, type, name, {B, K, T, -1})) return status;
  const int64_t e = value.dims[3];
  if (K < 1 || H % K != 0)
    return call.refuse(std::to_string(H) + " query heads can't share " + std::to_string(K) +
                       " key-value heads evenly.");
  if (d < 1 || e < 1 || d > kLargestHead || e > kLargestHead)
    return call.refuse("head sizes are " + std::to_string(d) + " and " + std::to_string(e) +
                       "; expected 1 to " + std::to_string(kLargestHead) + ".");
  if (T > INT32_MAX / 2 || S > INT32_MAX / 2) return call.refuse("expected fewer than 2^30 tokens.");

  // 2. Layouts and masks.
  if (ort::Status* status = call.expect("block_rows", rows, ort::kInt32, "int32", {-1, -1}))
    return status;
  const int64_t L = rows.dims[0];
  if (ort::Status* status = call.expect("block_columns", columns, ort::kInt32, "int32", {L, -1}))
    return status;
  if (L < 1 || H % L != 0 || (K % L != 0 && L % K != 0))
    return call.refuse("\"block_rows\" has " + std::to_string(L) + " layouts for " +
                       std::to_string(H) + " query and " + std::to_string(K) +
                       " key-value heads; expected 1, or a number that divides both evenly or is a "
                       "multiple of the second.");
  if (lengths)
    if (ort::Status* status = call.expect("key_lengths", lengths, ort::kInt32, "int32", {B}))
      return status;
  if (bias) {
    const int64_t batch = bias.rank == 4 && bias.dims[0] == 1 ? 1 : B;
    const int64_t heads = bias.rank == 4 && bias.dims[1] == 1 ? 1 : H;
    if (ort::Status* status = call.expect("bias", bias, type, name, {batch, heads, S, T}))
      return status;
  }
  const int64_t start = a.query_start < 0 ? T - S : a.query_start;
  if (start < 0)
    return call.refuse(std::to_string(S) + " queries can't be the last of " + std::to_string(T) +
                       " keys; expected S <= T or a query_start.");

  // 3. Outputs, and the work.
  void* output = nullptr;
  void* log_sum_exp = nullptr;
  if (ort::Status* status = call.output(0, {B, H, S, e}, &output)) return status;
  if (outputs > 1)
    if (ort::Status* status = call.output(1, {B, H, S}, &log_sum_exp)) return status;
  if (B == 0 || H == 0 || S == 0) return nullptr;
  Problem p{};
  p.B = B, p.H = H, p.K = K, p.S = S, p.T = T, p.d = d, p.e = e, p.L = L;
  p.start = start;
  p.storage = type == ort::kFloat     ? Storage::float32
              : type == ort::kFloat16 ? Storage::float16
                                      : Storage::bfloat16;
  p.query = query.data, p.key = key.data, p.value = value.data;
  p.output = output, p.log_sum_exp = (float*)log_sum_exp;
  p.rows = (const int32_t*)rows.data, p.columns = (const int32_t*)columns.data;
  p.row_count = rows.dims[1] - 1, p.width = columns.dims[1];
  p.key_lengths = (const int32_t*)lengths.data;
  p.bias = bias.data, p.bias_batch = bias.dims[0], p.bias_heads = bias.dims[1];
  p.causal = a.causal != 0;
  p.scale = a.scale > 0 ? a.scale : 1.0f / std::sqrt((float)d);
  p.softcap = a.softcap;
  p.window = a.window, p.sinks = a.sinks;
  p.query_block = a.query_block, p.key_block = a.key_block;
  if (ort::Status* status = check_layout(call, p)) return status;
  Lease lease(pool);
  SessionThreads threads{api, context};
  kernel.engine.attention(p, threads.threads(), lease.scratch());
  return nullptr;
}

ort::Status* compute(void* kernel, ort::KernelContext* context) {
  const Kernel& self = *(const Kernel*)kernel;
  try {
    return run(self, context);
  } catch (const std::exception& error) {
    const std::string text = std::string("attnc.") + kName + ": " + error.what();
    return self.api.CreateStatus(ort::kFail, text.c_str());
  }
}

constexpr size_t kInputs = 7;
constexpr size_t kOutputs = 2;

}  // namespace

BlockSparseAttentionOp::BlockSparseAttentionOp(int32_t element) : CustomOp{}, type(element) {
  version = ort::kApiVersion;
  GetName = [](const CustomOp*) { return kName; };
  GetExecutionProviderType = [](const CustomOp*) -> const char* { return nullptr; };
  GetInputTypeCount = [](const CustomOp*) { return kInputs; };
  GetInputType = [](const CustomOp* op, size_t index) -> int32_t {
    return index >= 3 && index <= 5 ? ort::kInt32 : element_type(op);
  };
  GetInputCharacteristic = [](const CustomOp*, size_t index) -> int32_t {
    return index < 5 ? ort::kRequired : ort::kOptional;
  };
  GetOutputTypeCount = [](const CustomOp*) { return kOutputs; };
  GetOutputType = [](const CustomOp* op, size_t index) -> int32_t {
    return index == 0 ? element_type(op) : ort::kFloat;
  };
  GetOutputCharacteristic = [](const CustomOp*, size_t index) -> int32_t {
    return index == 0 ? ort::kRequired : ort::kOptional;
  };
  GetInputMemoryType = [](const CustomOp*, size_t) -> int32_t { return 0; };
  GetVariadicInputMinArity = [](const CustomOp*) { return 0; };
  GetVariadicInputHomogeneity = [](const CustomOp*) { return 0; };
  GetVariadicOutputMinArity = [](const CustomOp*) { return 0; };
  GetVariadicOutputHomogeneity = [](const CustomOp*) { return 0; };
  CreateKernelV2 = create;
  KernelComputeV2 = compute;
  KernelDestroy = [](void* kernel) { delete (Kernel*)kernel; };
  GetStartVersion = [](const CustomOp*) { return 1; };
  GetEndVersion = [](const CustomOp*) { return INT32_MAX; };
}

}  // namespace attnc
