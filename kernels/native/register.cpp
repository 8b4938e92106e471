// What hosts see of the library: RegisterCustomOps, by which ONNX Runtime takes the operators from
// Node, Python and C++ alike, and two functions that say and test what was built.
#include "block-sparse-attention.h"
#include "host.h"

#define ATTNC_PUBLIC extern "C" __attribute__((visibility("default")))

ATTNC_PUBLIC ort::Status* RegisterCustomOps(ort::SessionOptions* options, const ort::Base* base) {
  const void* const* table = base->GetApi(ort::kApiVersion);
  if (!table) return nullptr;  // older than the functions used: the bodies of the file do the work
  const ort::Api api{table};
  static const attnc::BlockSparseAttentionOp ops[] = {
      attnc::BlockSparseAttentionOp(ort::kFloat),
      attnc::BlockSparseAttentionOp(ort::kFloat16),
      attnc::BlockSparseAttentionOp(ort::kBfloat16),
  };
  // Lives as long as the process: sessions refer to it.
  ort::Domain* domain = nullptr;
  if (ort::Status* status = api.CreateCustomOpDomain("attnc", &domain)) return status;
  for (const auto& op : ops)
    if (ort::Status* status = api.CustomOpDomain_Add(domain, &op)) return status;
  return api.AddCustomOpDomain(options, domain);
}

// "avx512", "avx2" or "baseline": what this processor runs.
ATTNC_PUBLIC const char* attnc_instruction_set() { return attnc::choose_engine().name; }

// The softmax's exponential of `count` numbers ≤ 0.
ATTNC_PUBLIC void attnc_exponential(const float* from, float* to, size_t count) {
  attnc::choose_engine().exponential(from, to, count);
}
