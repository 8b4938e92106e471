// A row program as CUDA source: one kernel that goes over the rows once for each sum along them that
// waits for another, and once more for what it writes. What was read before comes from caches then.
#pragma once

#include <string>

#include "program.h"

namespace attnc::rows {

enum class Element { float32, float16, bfloat16 };

// How the kernel is started. A group of threads has a row; several groups are a block.
struct Launch {
  unsigned threads = 256;
  int64_t blocks = 1;
  // Of a row that several blocks share.
  int64_t parts = 1;
  // Ports in the order of the kernel's arguments: inputs, then outputs.
  std::vector<Port> inputs, outputs;
};

// The kernel's name is `row_program`.
std::string write_source(const Program& program, Element element, Launch& launch);

}  // namespace attnc::rows
