// What newer compilers reach for and libraries of glibc 2.28's day lack, defined here and seen by the addon alone.
#include <new>

// Read by shared_ptr to leave out its atomics; Node has threads, so never.
extern "C" {
extern char __libc_single_threaded __attribute__((visibility("hidden")));
char __libc_single_threaded = 0;
}

namespace std {
__attribute__((visibility("hidden"))) void __throw_bad_array_new_length() {
  throw std::bad_array_new_length();
}
}  // namespace std
