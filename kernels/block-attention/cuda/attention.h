// Block attention on a CUDA device, as hosts call it: by Hopper's own instructions where the sizes
// and the device allow, by those of Ampere otherwise, and by a kernel of its own for single queries.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parameters.h"

struct CUstream_st;

namespace attnc::cuda {

enum class Storage : int32_t { float16 = 0, bfloat16 = 1 };

// What the launches have to know of the device; read once.
struct Device {
  int32_t major = 0;
  int32_t multiprocessors = 0;
};

// Which kernel runs. `automatic` chooses; the others are for tests and benchmarks.
enum class Path : int32_t { automatic = -1, ampere = 100, decode = 101 };

// Bytes of device memory that a run needs besides its inputs and outputs.
size_t workspace_bytes(const Parameters& p, const Device& device);

// Puts the work on the stream. Returns null, or what went wrong. `variant` is a Path, or the number
// of one of Hopper's variants.
const char* attention(Parameters p, Storage storage, const Device& device, void* workspace,
                      CUstream_st* stream, int32_t variant = (int32_t)Path::automatic);

const char* read_device(Device& device);

}  // namespace attnc::cuda
