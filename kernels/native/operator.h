// An operator as ONNX Runtime wants it, from a class that says its name, its ports and its work.
// The class has: kName, kInputs, kOutputs, `create` (attributes checked, or a refusal) and `run`.
#pragma once

#include <exception>
#include <new>
#include <string>

#include "ort-api.h"
#include "tensors.h"

namespace attnc {

// A port whose tensors are of the operator's element type.
constexpr int32_t kElement = -1;

struct Port {
  const char* name;
  int32_t type;
  bool is_optional = false;
};

// Attributes of a node; those that it leaves out keep their defaults.
struct Attributes {
  const ort::Api& api;
  const ort::KernelInfo* info;

  void read(const char* name, int64_t& value) const {
    int64_t read = 0;
    if (drop(api.KernelInfoGetAttribute_int64(info, name, &read))) value = read;
  }
  void read(const char* name, float& value) const {
    float read = 0;
    if (drop(api.KernelInfoGetAttribute_float(info, name, &read))) value = read;
  }
  void read(const char* name, std::string& value) const {
    size_t size = 0;
    if (!drop(api.KernelInfoGetAttribute_string(info, name, nullptr, &size)) || size == 0) return;
    std::string text(size, '\0');
    if (!drop(api.KernelInfoGetAttribute_string(info, name, text.data(), &size))) return;
    text.resize(size - 1);  // without its end
    value = text;
  }

 private:
  bool drop(ort::Status* status) const {
    if (status) api.ReleaseStatus(status);
    return !status;
  }
};

// The operator for one element type; ONNX Runtime takes the one that fits the node.
template <typename Kernel>
struct Operator : ort::CustomOp {
  int32_t element;
  const char* provider;  // null is the processor

  explicit Operator(int32_t type, const char* on) : CustomOp{}, element(type), provider(on) {
    version = ort::kApiVersion;
    GetName = [](const CustomOp*) { return Kernel::kName; };
    GetExecutionProviderType = [](const CustomOp* op) {
      return ((const Operator*)op)->provider;
    };
    GetInputTypeCount = [](const CustomOp*) { return std::size(Kernel::kInputs); };
    GetInputType = [](const CustomOp* op, size_t index) {
      return type_of(op, Kernel::kInputs[index]);
    };
    GetInputCharacteristic = [](const CustomOp*, size_t index) {
      return presence(Kernel::kInputs[index]);
    };
    GetOutputTypeCount = [](const CustomOp*) { return std::size(Kernel::kOutputs); };
    GetOutputType = [](const CustomOp* op, size_t index) {
      return type_of(op, Kernel::kOutputs[index]);
    };
    GetOutputCharacteristic = [](const CustomOp*, size_t index) {
      return presence(Kernel::kOutputs[index]);
    };
    GetInputMemoryType = [](const CustomOp*, size_t) -> int32_t { return 0; };
    GetVariadicInputMinArity = [](const CustomOp*) { return 0; };
    GetVariadicInputHomogeneity = [](const CustomOp*) { return 0; };
    GetVariadicOutputMinArity = [](const CustomOp*) { return 0; };
    GetVariadicOutputHomogeneity = [](const CustomOp*) { return 0; };
    CreateKernelV2 = [](const CustomOp* op, const void* const* table, const ort::KernelInfo* info,
                        void** out) -> ort::Status* {
      const ort::Api api{table};
      return guarded(api, [&] {
        return Kernel::create(api, Attributes{api, info}, ((const Operator*)op)->element,
                              (Kernel**)out);
      });
    };
    KernelComputeV2 = [](void* kernel, ort::KernelContext* context) -> ort::Status* {
      Kernel& self = *(Kernel*)kernel;
      return guarded(self.api, [&] { return self.run(context); });
    };
    KernelDestroy = [](void* kernel) { delete (Kernel*)kernel; };
    GetStartVersion = [](const CustomOp*) { return 1; };
    GetEndVersion = [](const CustomOp*) { return INT32_MAX; };
  }

 private:
  static int32_t type_of(const CustomOp* op, const Port& port) {
    return port.type == kElement ? ((const Operator*)op)->element : port.type;
  }
  static int32_t presence(const Port& port) {
    return port.is_optional ? ort::kOptional : ort::kRequired;
  }
  // Nothing may be thrown into ONNX Runtime.
  template <typename Work>
  static ort::Status* guarded(const ort::Api& api, Work work) {
    try {
      return work();
    } catch (const std::exception& error) {
      const std::string text = std::string("attnc.") + Kernel::kName + ": " + error.what();
      return api.CreateStatus(ort::kFail, text.c_str());
    }
  }
};

}  // namespace attnc
