// What hosts see of the library for CUDA. ONNX Runtime takes the domain of one library only: a session
// on a device loads this one instead of the processor's, and other operators run by their bodies.
#include "cuda-attention-gradient.h"
#include "cuda-block-attention.h"
#include "registration.h"

ATTNC_PUBLIC ort::Status* RegisterCustomOps(ort::SessionOptions* options, const ort::Base* base) {
  return attnc::register_operators<attnc::CudaBlockSparseAttention, attnc::CudaGatherBlockAttention,
                                   attnc::CudaBlockSparseAttentionGradient>(
      options, base, "CUDAExecutionProvider");
}
