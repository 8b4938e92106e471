// Summaries of key blocks and their products with queries, in vectors of the instruction set that this file is
// compiled for.
#pragma once

#include "../../block-attention/cpu/scores.h"

namespace {

// `count` keys → their mean [d], or their minima and maxima [2, d].
template <typename T>
void summarise_keys(const T* keys, int64_t count, int64_t d, bool bounds, float* to) {
  const float share = 1.0f / (float)count;
  int64_t i = 0;
  for (; i + kWidth <= d; i += kWidth) {
    Vector low = load(keys + i), high = low;
    for (int64_t t = 1; t < count; t++) {
      const Vector each = load(keys + t * d + i);
      if (bounds) {
        high = larger(high, each);
        low = -larger(-low, -each);
      } else
        low += each;
    }
    store(to + i, bounds ? low : low * share);
    if (bounds) store(to + d + i, high);
  }
  for (; i < d; i++) {
    float low = to_float(keys[i]), high = low;
    for (int64_t t = 1; t < count; t++) {
      const float each = to_float(keys[t * d + i]);
      if (bounds) {
        high = each > high ? each : high;
        low = each < low ? each : low;
      } else
        low += each;
    }
    to[i] = bounds ? low : low * share;
    if (bounds) to[d + i] = high;
  }
}

void summarise(attnc::Storage storage, const void* keys, int64_t count, int64_t d, bool bounds,
               float* to) {
  if (storage == attnc::Storage::float16) return summarise_keys((const Half*)keys, count, d, bounds, to);
  if (storage == attnc::Storage::bfloat16) return summarise_keys((const Brain*)keys, count, d, bounds, to);
  summarise_keys((const float*)keys, count, d, bounds, to);
}

// Product of a query with a block's summary; with bounds, of each element's better bound.
float score_summary(const float* query, const float* summary, int64_t d, bool bounds) {
  Vector total{};
  int64_t i = 0;
  for (; i + kWidth <= d; i += kWidth) {
    const Vector low = load(query + i) * load(summary + i);
    total += bounds ? larger(low, load(query + i) * load(summary + d + i)) : low;
  }
  float result = sum(total);
  for (; i < d; i++) {
    const float low = query[i] * summary[i];
    const float high = bounds ? query[i] * summary[d + i] : low;
    result += high > low ? high : low;
  }
  return result;
}

}  // namespace
