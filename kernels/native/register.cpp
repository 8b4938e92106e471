// What hosts see of the library: RegisterCustomOps, by which ONNX Runtime takes the operators from
// Node, Python and C++ alike, and two functions that say and test what was built.
#include "block-attention.h"
#include "block-select.h"
#include "host.h"
#include "stream-attention.h"

#define ATTNC_PUBLIC extern "C" __attribute__((visibility("default")))

namespace {

// The operator for each type of tensors that kernels store; sessions refer to them.
template <typename Kernel>
ort::Status* add(const ort::Api& api, ort::Domain* domain) {
  static const attnc::Operator<Kernel> ops[] = {
      attnc::Operator<Kernel>(ort::kFloat),
      attnc::Operator<Kernel>(ort::kFloat16),
      attnc::Operator<Kernel>(ort::kBfloat16),
  };
  for (const auto& op : ops)
    if (ort::Status* status = api.CustomOpDomain_Add(domain, &op)) return status;
  return nullptr;
}

}  // namespace

ATTNC_PUBLIC ort::Status* RegisterCustomOps(ort::SessionOptions* options, const ort::Base* base) {
  const void* const* table = base->GetApi(ort::kApiVersion);
  if (!table) return nullptr;  // older than the functions used: the bodies of the file do the work
  const ort::Api api{table};
  // Lives as long as the process: sessions refer to it.
  ort::Domain* domain = nullptr;
  if (ort::Status* status = api.CreateCustomOpDomain("attnc", &domain)) return status;
  if (ort::Status* status = add<attnc::BlockSparseAttention>(api, domain)) return status;
  if (ort::Status* status = add<attnc::GatherBlockAttention>(api, domain)) return status;
  if (ort::Status* status = add<attnc::BlockSelect>(api, domain)) return status;
  if (ort::Status* status = add<attnc::StreamAttention>(api, domain)) return status;
  return api.AddCustomOpDomain(options, domain);
}

// "avx512", "avx2" or "baseline": what this processor runs.
ATTNC_PUBLIC const char* attnc_instruction_set() { return attnc::choose_engine().name; }

// The softmax's exponential of `count` numbers ≤ 0.
ATTNC_PUBLIC void attnc_exponential(const float* from, float* to, size_t count) {
  attnc::choose_engine().exponential(from, to, count);
}
