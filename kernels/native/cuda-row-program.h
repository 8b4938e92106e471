// RowProgram on a CUDA device: the kernel is made of the node's program when the session is opened.
#pragma once

#include "../row-program/cuda/source.h"
#include "operator.h"

struct CUfunc_st;

namespace attnc {

struct CudaRowProgram {
  static constexpr const char* kName = "RowProgram";
  // As portCounts in kernels/row-program/program.ts.
  static constexpr Port kInputs[] = {
      {"narrow_0", kElement},        {"narrow_1", kElement, true},  {"narrow_2", kElement, true},
      {"narrow_3", kElement, true},  {"narrow_4", kElement, true},  {"narrow_5", kElement, true},
      {"narrow_6", kElement, true},  {"narrow_7", kElement, true},  {"narrow_8", kElement, true},
      {"narrow_9", kElement, true},  {"narrow_10", kElement, true}, {"narrow_11", kElement, true},
      {"wide_0", ort::kFloat, true}, {"wide_1", ort::kFloat, true}, {"wide_2", ort::kFloat, true},
      {"wide_3", ort::kFloat, true}, {"wide_4", ort::kFloat, true}, {"wide_5", ort::kFloat, true},
      {"wide_6", ort::kFloat, true}, {"wide_7", ort::kFloat, true}, {"index_0", ort::kInt64, true},
      {"index_1", ort::kInt64, true}, {"truth_0", ort::kBool, true}, {"truth_1", ort::kBool, true}};
  static constexpr Port kOutputs[] = {
      {"narrow_result_0", kElement, true}, {"narrow_result_1", kElement, true},
      {"narrow_result_2", kElement, true}, {"narrow_result_3", kElement, true},
      {"narrow_result_4", kElement, true}, {"narrow_result_5", kElement, true},
      {"wide_result_0", ort::kFloat, true}, {"wide_result_1", ort::kFloat, true},
      {"wide_result_2", ort::kFloat, true}, {"wide_result_3", ort::kFloat, true}};

  ort::Api api;
  rows::Program program;
  rows::Launch shape;
  CUfunc_st* function;

  static ort::Status* create(const ort::Api& api, const Attributes& attributes, int32_t element,
                             CudaRowProgram** out);
  ort::Status* run(ort::KernelContext* context) const;
};

}  // namespace attnc
