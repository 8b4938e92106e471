// Operators into a session, by which ONNX Runtime takes them from Node, Python and C++ alike.
#pragma once

#include "operator.h"

#define ATTNC_PUBLIC extern "C" __attribute__((visibility("default")))

namespace attnc {

// The operator for each type of tensors that kernels store; sessions refer to them.
template <typename Kernel>
ort::Status* add_operator(const ort::Api& api, ort::Domain* domain, const char* provider) {
  static const Operator<Kernel> ops[] = {
      Operator<Kernel>(ort::kFloat, provider),
      Operator<Kernel>(ort::kFloat16, provider),
      Operator<Kernel>(ort::kBfloat16, provider),
  };
  for (const auto& op : ops)
    if (ort::Status* status = api.CustomOpDomain_Add(domain, &op)) return status;
  return nullptr;
}

template <typename... Kernels>
ort::Status* register_operators(ort::SessionOptions* options, const ort::Base* base,
                                const char* provider) {
  const void* const* table = base->GetApi(ort::kApiVersion);
  if (!table) return nullptr;  // older than the functions used: the bodies of the file do the work
  const ort::Api api{table};
  // Lives as long as the process: sessions refer to it.
  ort::Domain* domain = nullptr;
  if (ort::Status* status = api.CreateCustomOpDomain("attnc", &domain)) return status;
  ort::Status* status = nullptr;
  ((status = status ? status : add_operator<Kernels>(api, domain, provider)), ...);
  return status ? status : api.AddCustomOpDomain(options, domain);
}

}  // namespace attnc
