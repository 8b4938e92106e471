// Products of a few queries with keys and values that are read where they lie, while the memory that comes next is
// fetched.
#pragma once

#include "scores.h"
#include "tiles.h"

namespace {

// Memory that is read next, fetched line after line while what is here is worked on, as many bytes as that has.
// Where it is more than what is here, the rest is left to the processor; where less, what follows is fetched too.
class Ahead {
 public:
  Ahead() = default;
  explicit Ahead(const void* from) : at_((const char*)from) {}

  template <int Bytes>
  ATTNC_INLINE void step() {
    if (!at_) return;
    // Read once: it needn't push anything else out of the larger caches.
    for (int i = 0; i < Bytes; i += 64) __builtin_prefetch(at_ + i, 0, 0);
    at_ += Bytes;
  }

 private:
  const char* at_ = nullptr;
};

// Scores of `Heads` queries and `Keys` keys, all rows of d: scores[r][t].
template <int Heads, int Keys, typename T>
ATTNC_INLINE void score_rows(const float* queries, int64_t d, const T* rows, float* scores, Ahead& ahead) {
  const int64_t whole = d / kWidth * kWidth;
  Vector sums[Heads * Keys];
#pragma GCC unroll 16
  for (int i = 0; i < Heads * Keys; i++) sums[i] = Vector{};
  for (int64_t j = 0; j < whole; j += kWidth) {
    ahead.step<Keys * kWidth * (int)sizeof(T)>();
    Vector query[Heads];
#pragma GCC unroll 4
    for (int r = 0; r < Heads; r++) query[r] = load(queries + r * d + j);
#pragma GCC unroll 16
    for (int t = 0; t < Keys; t++) {
      const Vector key = load(rows + t * d + j);
#pragma GCC unroll 4
      for (int r = 0; r < Heads; r++) sums[r * Keys + t] += key * query[r];
    }
  }
  alignas(64) float results[Heads * Keys];
  if constexpr (Heads * Keys == kWidth)
    store(results, sums_of(sums));
  else
    for (int i = 0; i < Heads * Keys; i++) results[i] = sum(sums[i]);
  for (int64_t j = whole; j < d; j++)
    for (int r = 0; r < Heads; r++)
      for (int t = 0; t < Keys; t++)
        results[r * Keys + t] += to_float(rows[t * d + j]) * queries[r * d + j];
  for (int r = 0; r < Heads; r++)
    std::memcpy(scores + r * kLargestBlock, results + r * Keys, Keys * sizeof(float));
}

// The same for `count` keys.
template <int Heads, typename T>
ATTNC_INLINE void score_all(const float* queries, int64_t d, const T* rows, int64_t count, float* scores,
                            Ahead ahead) {
  constexpr int64_t kKeys = kWidth / (Heads == 3 ? 4 : Heads);
  int64_t t = 0;
  for (; t + kKeys <= count; t += kKeys)
    score_rows<Heads, kKeys>(queries, d, rows + t * d, scores + t, ahead);
  for (; t < count; t++) score_rows<Heads, 1>(queries, d, rows + t * d, scores + t, ahead);
}

// context[r] = context[r] · decay[r] + Σ_t weights[r][t] · values[t]; values are rows of e.
template <int Heads, typename T>
ATTNC_INLINE void add_values(const float* weights, int64_t count, const T* values, int64_t e, const float* decay,
                             float* context, int64_t stride, Ahead ahead) {
  // As many sums as there are registers for.
  constexpr int kColumns = kWidth == 16 ? 4 : 2;
  int64_t j = 0;
  for (; j + kColumns * kWidth <= e; j += kColumns * kWidth)
    context_tile<Heads, kColumns>(weights, kLargestBlock, count, values + j, e, decay, context + j, stride, ahead);
  for (; j + kWidth <= e; j += kWidth)
    context_tile<Heads, 1>(weights, kLargestBlock, count, values + j, e, decay, context + j, stride, ahead);
  for (; j < e; j++)
    for (int r = 0; r < Heads; r++) {
      float total = context[r * stride + j] * decay[r];
      for (int64_t t = 0; t < count; t++) total += weights[r * kLargestBlock + t] * to_float(values[t * e + j]);
      context[r * stride + j] = total;
    }
}

}  // namespace
