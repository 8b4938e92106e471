// Masks and the online softmax of one tile of scores: which keys of a block a row sees, the running
// maximum and sum of each row, and the weights by which the context before has to decay.
#pragma once

#include "problem.h"
#include "vectors.h"

namespace {

using attnc::Problem;

// Keys [first, end) of the sequence, and of those before `first` the ones below `sinks`.
struct Visible {
  int64_t first, end, sinks;
};

ATTNC_INLINE int64_t smaller_of(int64_t a, int64_t b) { return a < b ? a : b; }
ATTNC_INLINE int64_t larger_of(int64_t a, int64_t b) { return a > b ? a : b; }

// What the query at `position` sees of `keys` keys.
ATTNC_INLINE Visible visible_keys(const Problem& p, int64_t position, int64_t keys) {
  Visible seen{0, keys, 0};
  if (p.causal) seen.end = smaller_of(keys, position + 1);
  if (p.window == 0) return seen;
  seen.sinks = smaller_of(p.sinks, seen.end);
  seen.first = larger_of(0, position - p.window + 1);
  if (!p.causal) seen.end = smaller_of(keys, position + p.window);
  // Sinks may lie after the window too.
  if (!p.causal) seen.sinks = smaller_of(p.sinks, keys);
  return seen;
}

// −∞ for the keys key … key+count that the row doesn't see.
ATTNC_INLINE void hide(float* scores, int64_t count, int64_t key, const Visible& seen) {
  Integers lane;
  for (int i = 0; i < kWidth; i++) lane[i] = i;
  for (int64_t j = 0; j < count; j += kWidth) {
    const Integers at = lane + (int32_t)(key + j);
    const Integers shown = ((at >= (int32_t)seen.first) & (at < (int32_t)seen.end)) | (at < (int32_t)seen.sinks);
    store(scores + j, shown ? load(scores + j) : all(-INFINITY));
  }
}

ATTNC_INLINE void soft_cap(float* scores, int64_t count, float cap) {
  for (int64_t j = 0; j < count; j += kWidth)
    store(scores + j, hyperbolic_tangent(load(scores + j) * (1.0f / cap)) * cap);
}

// Turns scores into weights; returns by how much what was summed before has to decay.
ATTNC_INLINE float soften(float* scores, int64_t count, float& maximum, float* sums) {
  Vector top = load(scores);
  for (int64_t j = kWidth; j < count; j += kWidth) top = larger(top, load(scores + j));
  const float highest = largest(top);
  float decay = 1.0f;
  Vector total = load(sums);
  if (highest > maximum) {
    decay = maximum == -INFINITY ? 0.0f : exponential1(maximum - highest);
    maximum = highest;
    total *= decay;
  }
  // A row that has seen nothing yet: its scores are all −∞ and its weights 0.
  const float base = maximum == -INFINITY ? 0.0f : maximum;
  for (int64_t j = 0; j < count; j += kWidth) {
    const Vector weight = exponential(load(scores + j) - base);
    store(scores + j, weight);
    total += weight;
  }
  store(sums, total);
  return decay;
}

}  // namespace
