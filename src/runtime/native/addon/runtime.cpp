// Opens ONNX Runtime and turns its statuses into exceptions.
#include "runtime.h"

#include "loader.h"

namespace attnc {

Runtime& Runtime::open(const std::string& library) {
  static Runtime runtime(library);
  return runtime;
}

Runtime::Runtime(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw std::runtime_error(dlerror());
  const auto base = (const ort::Base* (*)())dlsym(handle, "OrtGetApiBase");
  if (!base) throw std::runtime_error(library + " is not ONNX Runtime.");
  version_ = base()->GetVersionString();
  table_ = base()->GetApi(ort::kApiVersion);
  if (!table_) throw std::runtime_error("ONNX Runtime " + version_ + " is too old.");
  constexpr uint32_t kFirstWithStatistics = 23;
  has_statistics_ = base()->GetApi(kFirstWithStatistics) != nullptr;
  constexpr int kErrorsOnly = 3;
  call<slot::CreateEnv>(kErrorsOnly, "attnc", &env_);
  call<slot::GetAllocatorWithDefaultOptions>(&allocator_);
}

void Runtime::check(ort::Status* status) const {
  if (!status) return;
  const ort::Api api{table_};
  const std::string message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  throw std::runtime_error(message);
}

}  // namespace attnc
