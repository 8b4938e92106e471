// What hosts see of the library for CUDA. ONNX Runtime takes the domain of one library only: a session
// on a device loads this one instead of the processor's, and other operators run by their bodies.
#include "cuda-attention-gradient.h"
#include "cuda-block-attention.h"
#include "cuda-row-program.h"
#include "../row-program/cuda/device-code.h"
#include "registration.h"

ATTNC_PUBLIC ort::Status* RegisterCustomOps(ort::SessionOptions* options, const ort::Base* base) {
  return attnc::register_operators<attnc::CudaBlockSparseAttention, attnc::CudaGatherBlockAttention,
                                   attnc::CudaBlockSparseAttentionGradient, attnc::CudaRowProgram>(
      options, base, "CUDAExecutionProvider");
}

// Whether row programs can be compiled here: null, or why not.
ATTNC_PUBLIC const char* attnc_missing_compiler() { return attnc::rows::find_compiler(); }
