// What all forms of the kernel share: sizes in blocks, where a head's keys lie, and what happens to a row of
// scores before the softmax.
#pragma once

#include "problem.h"
#include "softmax.h"

namespace {

using attnc::KeptBlocks;
using attnc::Problem;

constexpr int64_t kLargestBlock = 128;
constexpr int64_t kLargestHead = 512;

ATTNC_INLINE int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

template <typename T>
struct View {
  const Problem& p;
  int64_t key_blocks = (p.T + p.key_block - 1) / p.key_block;
  int64_t padded_e = round_up(p.e, kWidth);

  int64_t keys_of(int64_t batch) const {
    if (!p.key_lengths) return p.T;
    return smaller_of(p.T, larger_of(0, p.key_lengths[batch]));
  }
  int64_t key_head(int64_t head) const { return head * p.K / p.H; }
  const T* query_at(int64_t batch, int64_t head, int64_t query) const {
    return (const T*)p.query + ((batch * p.H + head) * p.S + query) * p.d;
  }
  const T* key_at(int64_t batch, int64_t head) const {
    return (const T*)p.key + (batch * p.K + head) * p.T * p.d;
  }
  const T* value_at(int64_t batch, int64_t head) const {
    return (const T*)p.value + (batch * p.K + head) * p.T * p.e;
  }

  // `count` queries in float, scaled; with `turned` as the first keys see them.
  void read_queries(int64_t b, int64_t h, int64_t query, int64_t count, bool turned,
                    float* to) const {
    if (turned) {
      const float* from = p.turned_query + ((b * p.H + h) * p.S + query) * p.d;
      for (int64_t i = 0; i < count * p.d; i++) to[i] = from[i] * p.scale;
      return;
    }
    const T* from = query_at(b, h, query);
    for (int64_t i = 0; i < count * p.d; i++) to[i] = to_float(from[i]) * p.scale;
  }

  // Soft cap, bias, masks of `count` scores from `key` on.
  void adjust(float* line, int64_t count, int64_t b, int64_t h, int64_t query, int64_t key,
              int64_t keys, bool hides) const {
    if (p.softcap > 0.0f) soft_cap(line, count, p.softcap);
    const int64_t within = smaller_of(count, p.T - key);
    if (p.bias) {
      const int64_t batch = p.bias_batch == 1 ? 0 : b;
      const int64_t head = p.bias_heads == 1 ? 0 : h;
      const T* bias = (const T*)p.bias + ((batch * p.bias_heads + head) * p.S + query) * p.T + key;
      for (int64_t j = 0; j < within; j++) line[j] += to_float(bias[j]);
    }
    if (p.key_mask) {
      const float* mask = p.key_mask + (b * p.K + key_head(h)) * p.T + key;
      for (int64_t j = 0; j < within; j++) line[j] += mask[j];
    }
    if (hides) hide(line, count, key, visible_keys(p, p.start + query, keys));
  }
};

}  // namespace
