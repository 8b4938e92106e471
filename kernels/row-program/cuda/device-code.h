// Source compiled for the device that is current, by NVRTC, and loaded by the driver: both libraries
// are looked for when they are needed, so that nothing has to be there to build this or to load it.
#pragma once

#include <string>

struct CUfunc_st;
struct CUstream_st;

namespace attnc::rows {

// Null, or why nothing can be compiled here.
const char* find_compiler();

// The function `name` of the source; one that was compiled before is found again. Throws std::runtime_error.
CUfunc_st* compile(const std::string& source, const char* name, int device, int capability);

// Null, or what went wrong.
const char* launch(CUfunc_st* function, unsigned blocks, unsigned parts, unsigned threads,
                   void** arguments, CUstream_st* stream);

}  // namespace attnc::rows
