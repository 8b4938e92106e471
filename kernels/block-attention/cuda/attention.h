// Block attention on a CUDA device, as hosts call it: by Hopper's own instructions where the sizes
// and the device allow, by those of Ampere otherwise, by a kernel of its own for single queries, and
// by ordinary arithmetic for the rest.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parameters.h"

struct CUstream_st;

namespace attnc::cuda {

enum class Storage : int32_t { float32, float16, bfloat16 };

// What the launches have to know of the device; read once.
struct Device {
  int32_t major = 0, minor = 0;  // compute capability
  int32_t multiprocessors = 0;
};

// Which kernel runs. `automatic` chooses; the others are for tests and benchmarks.
enum class Path : int32_t { automatic, hopper, ampere, decode, general };

// Bytes of device memory that a run needs besides its inputs and outputs: none for some kernels.
size_t workspace_bytes(const Parameters& p, Storage storage, const Device& device,
                       Path path = Path::automatic);

// Puts the work on the stream. Returns null, or what went wrong.
const char* attention(Parameters p, Storage storage, const Device& device, void* workspace,
                      CUstream_st* stream, Path path = Path::automatic);

const char* read_device(Device& device);

}  // namespace attnc::cuda
