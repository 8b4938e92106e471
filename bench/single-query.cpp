// A decode step of the kernel beside plain reading of the same keys and values, in turns, one thread, both by processor
// time: so the share of the read bandwidth holds on a machine that others use too.
// g++ -std=c++17 -O3 -fno-exceptions -fno-rtti -Wno-psabi -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma -mf16c -I. -DATTNC_ENGINE=avx512
//   kernels/block-attention/cpu/attention.cpp bench/single-query.cpp -o FILE
// FILE [heads] [key-value heads] [head size] [keys] [float32|float16|bfloat16] [rounds]
// The flags are those of kernels/native/build.mjs; `-mavx2 -mfma -mf16c -DATTNC_ENGINE=avx2` builds the narrower kernel.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kernels/block-attention/cpu/problem.h"

#define ATTNC_JOIN(name) name##_engine
#define ATTNC_VARIABLE(name) ATTNC_JOIN(name)

static double milliseconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Memory {
  std::vector<std::vector<float>> taken;
  size_t next = 0;
};

int main(int count, char** arguments) {
  const auto number = [&](int index, int64_t other) { return count > index ? (int64_t)std::atoll(arguments[index]) : other; };
  const int64_t H = number(1, 32), K = number(2, 8), d = number(3, 128), T = number(4, 16384), rounds = number(6, 25);
  const std::string type = count > 5 ? arguments[5] : "float32";
  const size_t element = type == "float32" ? 4 : 2;
  const size_t bytes = (size_t)(2 * K * T * d) * element;  // keys, then values
  constexpr int64_t kBlock = 64;

  // Bits of small numbers of any of the types.
  std::vector<uint32_t> cache(bytes / 4 + 16), query((size_t)(H * d));
  std::vector<float> output((size_t)(H * d));
  uint32_t state = 1;
  const auto small = [&] { return 0x3c003c00u | ((state = state * 1664525u + 1013904223u) & 0x83ff83ffu); };
  for (uint32_t& each : cache) each = small();
  for (uint32_t& each : query) each = small();

  const int64_t blocks = (T + kBlock - 1) / kBlock;
  std::vector<int32_t> rows((size_t)blocks + 1, 0), columns((size_t)blocks);
  for (int64_t i = 0; i < blocks; i++) columns[(size_t)i] = (int32_t)i;
  rows.back() = (int32_t)blocks;
  attnc::Problem p{};
  p.B = 1, p.H = H, p.K = K, p.S = 1, p.T = T, p.d = d, p.e = d, p.L = 1, p.start = T - 1;
  p.storage = type == "float32" ? attnc::Storage::float32 : type == "float16" ? attnc::Storage::float16 : attnc::Storage::bfloat16;
  p.query = query.data(), p.output = output.data();
  p.key = cache.data(), p.value = (const char*)cache.data() + bytes / 2;
  p.rows = rows.data(), p.columns = columns.data(), p.row_count = blocks, p.width = blocks;
  p.causal = true, p.scale = 1.0f / std::sqrt((float)d), p.query_block = p.key_block = kBlock;

  Memory memory;
  const attnc::Threads threads{nullptr, [](void*, void (*work)(void*, size_t), size_t parts, void* data) {
                                 for (size_t i = 0; i < parts; i++) work(data, i);
                               }};
  const attnc::Scratch scratch{&memory, [](void* pool, size_t floats) {
                                 Memory& own = *(Memory*)pool;
                                 if (own.next == own.taken.size()) own.taken.emplace_back();
                                 std::vector<float>& block = own.taken[own.next++];
                                 block.resize(floats + 16);
                                 return (float*)(((size_t)block.data() + 63) / 64 * 64);
                               }};
  std::vector<double> times, reads, shares;
  float sum = 0;
  for (int64_t round = 0; round <= rounds; round++) {
    memory.next = 0;
    const double begin = milliseconds();
    attnc::ATTNC_VARIABLE(ATTNC_ENGINE).attention(p, threads, scratch);
    const double middle = milliseconds();
    typedef float Vector __attribute__((vector_size(64), aligned(4)));
    Vector totals[4] = {};
    const Vector* from = (const Vector*)cache.data();
    for (size_t i = 0; i + 4 <= bytes / 64; i += 4)
      for (size_t j = 0; j < 4; j++) totals[j] += from[i + j];
    sum += (totals[0] + totals[1] + totals[2] + totals[3])[0];
    const double end = milliseconds();
    if (round == 0) continue;
    times.push_back(middle - begin), reads.push_back(end - middle), shares.push_back((end - middle) / (middle - begin));
  }
  std::sort(shares.begin(), shares.end());
  std::printf("%.2f ms, %.1f GB/s; reading %.2f ms, %.1f GB/s; share of the read bandwidth %.2f (%.2f-%.2f)%s\n", median(times),
              (double)bytes / median(times) / 1e6, median(reads), (double)bytes / median(reads) / 1e6,
              shares[shares.size() / 2], shares[shares.size() / 10], shares[shares.size() * 9 / 10], sum == 1.5f ? " " : "");
}
