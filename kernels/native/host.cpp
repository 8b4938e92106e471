// Choice of the instruction set, and the pool of memory.
#include "host.h"

#include <cstdlib>
#include <cstring>

namespace attnc {

const Engine& choose_engine() {
  const char* wanted = std::getenv("ATTNC_INSTRUCTION_SET");
#if defined(__x86_64__)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("f16c");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl");
  const bool asks_less = wanted && std::strcmp(wanted, "avx512") != 0;
  if (wanted && std::strcmp(wanted, "baseline") == 0) return baseline_engine;
  if (has_avx512 && !asks_less) return avx512_engine;
  if (has_avx2) return avx2_engine;
#else
  (void)wanted;
#endif
  return baseline_engine;
}

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kKeptBlocks = 8;

}  // namespace

Pool::Block Pool::take(size_t floats) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t best = free_.size();
    for (size_t i = 0; i < free_.size(); i++)
      if (free_[i].floats >= floats && (best == free_.size() || free_[i].floats < free_[best].floats))
        best = i;
    // A block far larger than asked for waits for one who needs it.
    if (best < free_.size() && free_[best].floats <= 4 * floats + 4096) {
      const Block block = free_[best];
      free_.erase(free_.begin() + (std::ptrdiff_t)best);
      return block;
    }
  }
  const size_t bytes = (floats * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, bytes ? bytes : kAlignment);
  if (!data) throw std::bad_alloc();
  return {(float*)data, floats};
}

void Pool::give_back(Block block) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.size() < kKeptBlocks) return free_.push_back(block);
  // The smallest makes room: it is the cheapest to get again.
  size_t smallest = 0;
  for (size_t i = 1; i < free_.size(); i++)
    if (free_[i].floats < free_[smallest].floats) smallest = i;
  if (free_[smallest].floats < block.floats) std::swap(free_[smallest], block);
  std::free(block.data);
}

}  // namespace attnc
