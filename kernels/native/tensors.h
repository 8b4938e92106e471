// Inputs of an operator as the kernels want them, and refusals that name operator, input and
// expectation. Nothing here throws: a kernel returns a status.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <string>

#include "../block-attention/cpu/problem.h"
#include "ort-api.h"

namespace attnc {

struct Tensor {
  const void* data = nullptr;
  int32_t type = ort::kUndefined;
  size_t rank = 0;
  int64_t dims[6] = {};

  explicit operator bool() const { return data != nullptr || rank > 0; }

  // As in the messages: [1, 2, 64].
  std::string shape() const {
    std::string text = "[";
    for (size_t i = 0; i < rank; i++) text += (i ? ", " : "") + std::to_string(dims[i]);
    return text + "]";
  }
};

inline const char* type_name(int32_t type) {
  return type == ort::kFloat ? "float32" : type == ort::kFloat16 ? "float16" : "bfloat16";
}

inline Storage storage_of(int32_t type) {
  return type == ort::kFloat     ? Storage::float32
         : type == ort::kFloat16 ? Storage::float16
                                 : Storage::bfloat16;
}

// One run of one operator.
struct Call {
  const ort::Api& api;
  ort::KernelContext* context;
  const char* op;

  ort::Status* refuse(const std::string& message) const {
    const std::string text = std::string("attnc.") + op + ": " + message;
    return api.CreateStatus(ort::kInvalidArgument, text.c_str());
  }

  // An input that is left out stays empty.
  ort::Status* read(size_t index, size_t inputs, Tensor& tensor) const {
    if (index >= inputs) return nullptr;
    const ort::Value* value = nullptr;
    if (ort::Status* status = api.KernelContext_GetInput(context, index, &value)) return status;
    if (!value) return nullptr;
    ort::TypeAndShape* info = nullptr;
    if (ort::Status* status = api.GetTensorTypeAndShape(value, &info)) return status;
    ort::Status* status = api.GetTensorElementType(info, &tensor.type);
    if (!status) status = api.GetDimensionsCount(info, &tensor.rank);
    if (!status && tensor.rank > 6) status = refuse("a tensor has more than 6 dimensions.");
    if (!status) status = api.GetDimensions(info, tensor.dims, tensor.rank);
    api.ReleaseTensorTypeAndShapeInfo(info);
    if (status) return status;
    void* data = nullptr;
    status = api.GetTensorMutableData(const_cast<ort::Value*>(value), &data);
    tensor.data = data;
    return status;
  }

  // All inputs, and how many outputs the node has.
  template <size_t Count>
  ort::Status* read_all(Tensor (&tensors)[Count], size_t& outputs) const {
    size_t inputs = 0;
    if (ort::Status* status = api.KernelContext_GetInputCount(context, &inputs)) return status;
    if (ort::Status* status = api.KernelContext_GetOutputCount(context, &outputs)) return status;
    for (size_t i = 0; i < Count; i++)
      if (ort::Status* status = read(i, inputs, tensors[i])) return status;
    return nullptr;
  }

  ort::Status* expect(const char* name, const Tensor& tensor, int32_t type, const char* type_name,
                      std::initializer_list<int64_t> dims) const {
    bool fits = tensor && tensor.type == type && tensor.rank == dims.size();
    std::string expected = "[";
    size_t axis = 0;
    for (int64_t dim : dims) {
      if (dim >= 0 && fits && tensor.dims[axis] != dim) fits = false;
      expected += (axis++ ? ", " : "") + (dim < 0 ? std::string("any") : std::to_string(dim));
    }
    if (fits) return nullptr;
    return refuse(std::string("\"") + name + "\" is " + (tensor ? tensor.shape() : "missing") +
                  "; expected " + type_name + " " + expected + "].");
  }

  // H query heads share K key-value heads; d and e are the sizes of a head's keys and values.
  ort::Status* check_heads(int64_t H, int64_t K, int64_t d, int64_t e) const {
    constexpr int64_t kLargestHead = 512;
    if (K < 1 || H % K != 0)
      return refuse(std::to_string(H) + " query heads can't share " + std::to_string(K) +
                    " key-value heads evenly.");
    if (d >= 1 && e >= 1 && d <= kLargestHead && e <= kLargestHead) return nullptr;
    return refuse("head sizes are " + std::to_string(d) + " and " + std::to_string(e) +
                  "; expected 1 to " + std::to_string(kLargestHead) + ".");
  }

  ort::Status* check_start(int64_t start, int64_t S, int64_t T) const {
    if (start >= 0) return nullptr;
    return refuse(std::to_string(S) + " queries can't be the last of " + std::to_string(T) +
                  " keys; expected S <= T or a query_start.");
  }

  // L layouts for H query and K key-value heads.
  ort::Status* check_layouts(const char* name, int64_t L, int64_t H, int64_t K) const {
    if (L >= 1 && H % L == 0 && (K % L == 0 || L % K == 0)) return nullptr;
    return refuse(std::string("\"") + name + "\" has " + std::to_string(L) + " layouts for " +
                  std::to_string(H) + " query and " + std::to_string(K) +
                  " key-value heads; expected 1, or a number that divides both evenly or is a "
                  "multiple of the second.");
  }

  ort::Status* output(size_t index, std::initializer_list<int64_t> dims, void** data) const {
    return output(index, dims.begin(), dims.size(), data);
  }
  ort::Status* output(size_t index, const int64_t* dims, size_t rank, void** data) const {
    ort::Value* value = nullptr;
    if (ort::Status* status =
            api.KernelContext_GetOutput(context, index, dims, rank, &value))
      return status;
    *data = nullptr;
    return value ? api.GetTensorMutableData(value, data) : nullptr;
  }
};

}  // namespace attnc
