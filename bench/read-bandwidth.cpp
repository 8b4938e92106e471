// How fast this machine reads memory: `threads` sum an array far larger than the caches, best of `rounds`.
// g++ -O3 -march=native -pthread bench/read-bandwidth.cpp -o FILE && FILE [threads] [MiB] [rounds]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : 2;
  const size_t floats = (count > 2 ? (size_t)std::atoi(arguments[2]) : 512) << 18;
  const int rounds = count > 3 ? std::atoi(arguments[3]) : 9;
  const std::vector<float> data(floats, 1.0f);
  std::vector<float> sums((size_t)threads * 64);
  double best = 0;
  for (int round = 0; round < rounds; round++) {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; t++)
      workers.emplace_back([&, t] {
        typedef float Vector __attribute__((vector_size(64)));
        Vector totals[4] = {};
        const size_t part = floats / (size_t)threads / 64 * 64;
        const Vector* from = (const Vector*)(((size_t)data.data() + 63) / 64 * 64 + t * part * sizeof(float));
        for (size_t i = 0; i + 8 < part / 16; i += 4)
          for (int j = 0; j < 4; j++) totals[j] += from[i + (size_t)j];
        sums[(size_t)t * 64] = (totals[0] + totals[1] + totals[2] + totals[3])[0];
      });
    for (auto& worker : workers) worker.join();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const double rate = (double)(floats * sizeof(float)) / seconds.count() / 1e9;
    if (rate > best) best = rate;
  }
  std::printf("%.1f GB/s read by %d threads\n", best, threads);
}
