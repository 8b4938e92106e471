// What hosts see of the library: RegisterCustomOps, by which ONNX Runtime takes the operators from
// Node, Python and C++ alike, and two functions that say and test what was built.
#include "block-attention.h"
#include "block-select.h"
#include "host.h"
#include "registration.h"
#include "stream-attention.h"

ATTNC_PUBLIC ort::Status* RegisterCustomOps(ort::SessionOptions* options, const ort::Base* base) {
  return attnc::register_operators<attnc::BlockSparseAttention, attnc::GatherBlockAttention,
                                   attnc::BlockSelect, attnc::StreamAttention>(options, base,
                                                                               nullptr);
}

// "avx512", "avx2" or "baseline": what this processor runs.
ATTNC_PUBLIC const char* attnc_instruction_set() { return attnc::choose_engine().name; }

// The softmax's exponential of `count` numbers ≤ 0.
ATTNC_PUBLIC void attnc_exponential(const float* from, float* to, size_t count) {
  attnc::choose_engine().exponential(from, to, count);
}
