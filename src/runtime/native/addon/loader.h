// dlopen and its kin under their first versions: the addon then loads where Node and ONNX Runtime do
// (glibc 2.28 on), whatever glibc it was linked on.
#pragma once

#include <dlfcn.h>

#if defined(__x86_64__) && defined(__GLIBC__)
__asm__(".symver dlopen, dlopen@GLIBC_2.2.5");
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
__asm__(".symver dlerror, dlerror@GLIBC_2.2.5");
#endif
