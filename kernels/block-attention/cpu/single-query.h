// One query: keys and values are read where they lie, in splits that are merged by their log-sum-exp. Heads that
// share keys read them together.
#pragma once

#include "scores.h"
#include "tiles.h"

namespace {

// Keys of one part of a single query's work; fewer where many heads read them one after the other, so that
// they are still in the cache.
constexpr int64_t kSplitKeys = 1024;
constexpr int64_t kHeadsAtOnce = 4;
constexpr int64_t kCachedFloats = 1 << 17;

template <typename T>
struct SingleQuery : View<T> {
  using View<T>::p;
  using View<T>::key_blocks;
  using View<T>::padded_e;

  explicit SingleQuery(const Problem& problem) : View<T>{problem} {}

  // Splits of [largest, sum, context], for each head.
  int64_t splits = 1;
  float* partial = nullptr;

  int64_t head_groups() const { return larger_of(p.L, p.K); }
  int64_t part_size() const { return 2 + padded_e; }
  int64_t split_keys() const {
    if (p.H / head_groups() <= kHeadsAtOnce) return kSplitKeys;
    return larger_of(p.key_block, smaller_of(kSplitKeys, kCachedFloats / (p.d + p.e)));
  }

  // `index` is a split of a group of heads that read the same keys.
  void attend(size_t index) const {
    const int64_t split = (int64_t)index % splits;
    const int64_t at = (int64_t)index / splits;
    const int64_t groups = head_groups();
    const int64_t b = at / groups;
    const int64_t m = at % groups;
    const int64_t heads = p.H / groups;
    const int64_t h = m * heads;
    const int64_t k = h * p.K / p.H;
    float* part = partial + ((b * p.H + h) * splits + split) * part_size();
    const KeptBlocks kept = p.kept(b, h, p.first_row());
    const int64_t per_split = (kept.count + splits - 1) / splits;
    const int64_t last = smaller_of(kept.count, (split + 1) * per_split);
    // As many heads at once as have their sums in registers.
    for (int64_t done = 0; done < heads;) {
      const int64_t left = heads - done;
      float* to = part + done * splits * part_size();
      const int64_t step = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      if (step == 4)
        walk<4>(b, h + done, k, kept, split * per_split, last, to);
      else if (step == 2)
        walk<2>(b, h + done, k, kept, split * per_split, last, to);
      else
        walk<1>(b, h + done, k, kept, split * per_split, last, to);
      done += step;
    }
  }

  template <int Heads>
  void walk(int64_t b, int64_t h, int64_t k, const KeptBlocks& kept, int64_t first, int64_t last,
            float* part) const {
    alignas(64) float queries[Heads * (kLargestHead + kWidth)];
    alignas(64) float turned[Heads * (kLargestHead + kWidth)];
    alignas(64) float context[Heads * (kLargestHead + kWidth)];
    alignas(64) float scores[Heads * kLargestBlock];
    alignas(64) float sums[Heads * kWidth];
    float maxima[Heads];
    this->read_queries(b, h, 0, Heads, false, queries);
    if (p.turned_query) this->read_queries(b, h, 0, Heads, true, turned);
    for (int r = 0; r < Heads; r++) {
      maxima[r] = -INFINITY;
      for (int64_t i = 0; i < padded_e; i++) context[r * padded_e + i] = 0.0f;
      for (int64_t i = 0; i < kWidth; i++) sums[r * kWidth + i] = 0.0f;
    }
    const int64_t keys = this->keys_of(b);
    const Visible seen = visible_keys(p, p.start, keys);
    const T* all_keys = this->key_at(b, k);
    const T* all_values = this->value_at(b, k);
    for (int64_t i = first; i < last; i++) {
      const int64_t column = kept.columns[i];
      if (column < 0 || column >= key_blocks) continue;
      const int64_t base = column * p.key_block;
      const int64_t from = base < seen.sinks ? base : larger_of(base, seen.first);
      int64_t end = smaller_of(larger_of(seen.end, seen.sinks), base + p.key_block);
      if (base < seen.sinks && seen.first >= base + p.key_block) end = smaller_of(end, seen.sinks);
      if (from >= end) continue;
      const int64_t count = end - from;
      const T* rows = all_keys + from * p.d;
      // Sinks that see turned queries come first.
      int64_t t = 0;
      if (p.turned_query)
        for (; t < smaller_of(count, p.turned_keys - from); t++)
          score_keys<Heads, 1>(turned, p.d, rows + t * p.d, scores + t);
      constexpr int kKeys = kWidth / Heads;
      for (; t + kKeys <= count; t += kKeys)
        score_keys<Heads, kKeys>(queries, p.d, rows + t * p.d, scores + t);
      for (; t < count; t++) score_keys<Heads, 1>(queries, p.d, rows + t * p.d, scores + t);
      const int64_t rounded = round_up(count, kWidth);
      float decay[Heads];
      for (int r = 0; r < Heads; r++) {
        float* line = scores + r * kLargestBlock;
        this->adjust(line, count, b, h + r, 0, from, keys, false);
        if (from < seen.first || end > seen.end) hide_scalar(line, count, from, seen);
        if (p.raw_scores)
          std::memcpy(p.raw_scores + (b * p.H + h + r) * p.T + from, line, (size_t)count * sizeof(float));
        for (int64_t t = count; t < rounded; t++) line[t] = -INFINITY;
        decay[r] = soften(line, rounded, maxima[r], sums + r * kWidth);
      }
      const T* values = all_values + from * p.e;
      int64_t j = 0;
      for (; j + 4 * kWidth <= p.e; j += 4 * kWidth)
        context_tile<Heads, 4>(scores, kLargestBlock, count, values + j, p.e, decay, context + j,
                               padded_e);
      for (; j + kWidth <= p.e; j += kWidth)
        context_tile<Heads, 1>(scores, kLargestBlock, count, values + j, p.e, decay, context + j,
                               padded_e);
      for (; j < p.e; j++)
        for (int r = 0; r < Heads; r++) {
          float total = context[r * padded_e + j] * decay[r];
          for (int64_t t = 0; t < count; t++)
            total += scores[r * kLargestBlock + t] * to_float(values[t * p.e + j]);
          context[r * padded_e + j] = total;
        }
    }
    for (int r = 0; r < Heads; r++) {
      float* to = part + r * splits * part_size();
      to[0] = maxima[r];
      to[1] = sum(load(sums + r * kWidth));
      for (int64_t i = 0; i < p.e; i++) to[2 + i] = context[r * padded_e + i];
    }
  }

  // Products of `Heads` queries with `Keys` rows of keys: scores[r][t].
  template <int Heads, int Keys>
  static void score_keys(const float* queries, int64_t d, const T* rows, float* scores) {
    const int64_t whole = d / kWidth * kWidth;
    Vector products[Heads * Keys];
    // Row after row, as they lie in memory: that is what the processor fetches ahead.
    for (int t = 0; t < Keys; t++) {
      Vector totals[Heads];
#pragma GCC unroll 4
      for (int r = 0; r < Heads; r++) totals[r] = Vector{};
      for (int64_t j = 0; j < whole; j += kWidth) {
        const Vector each = load(rows + t * d + j);
#pragma GCC unroll 4
        for (int r = 0; r < Heads; r++) totals[r] += each * load(queries + r * d + j);
      }
#pragma GCC unroll 4
      for (int r = 0; r < Heads; r++) products[r * Keys + t] = totals[r];
    }
    alignas(64) float results[kWidth];
    if constexpr (Heads * Keys == kWidth)
      store(results, sums_of(products));
    else
      for (int i = 0; i < Heads * Keys; i++) results[i] = sum(products[i]);
    for (int r = 0; r < Heads; r++)
      for (int t = 0; t < Keys; t++) {
        float product = results[r * Keys + t];
        for (int64_t j = whole; j < d; j++) product += to_float(rows[t * d + j]) * queries[r * d + j];
        scores[r * kLargestBlock + t] = product;
      }
  }

  static void hide_scalar(float* line, int64_t count, int64_t key, const Visible& seen) {
    for (int64_t t = 0; t < count; t++) {
      const int64_t at = key + t;
      const bool shown = (at >= seen.first && at < seen.end) || at < seen.sinks;
      if (!shown) line[t] = -INFINITY;
    }
  }

  // Splits of one head become one: each decays to the largest maximum of all.
  void merge(size_t index) const {
    const float* part = partial + (int64_t)index * splits * part_size();
    float maximum = -INFINITY;
    for (int64_t s = 0; s < splits; s++)
      if (part[s * part_size()] > maximum) maximum = part[s * part_size()];
    float total = 0.0f;
    alignas(64) float context[kLargestHead];
    for (int64_t i = 0; i < p.e; i++) context[i] = 0.0f;
    for (int64_t s = 0; s < splits; s++) {
      const float* each = part + s * part_size();
      // NaN scores have no maximum; their sum carries the NaN on.
      const float decay = each[0] == maximum ? 1.0f : exponential1(each[0] - maximum);
      total += each[1] * decay;
      for (int64_t i = 0; i < p.e; i++) context[i] += each[2 + i] * decay;
    }
    const float factor = total == 0.0f ? 0.0f : 1.0f / total;
    T* output = (T*)p.output + (int64_t)index * p.e;
    for (int64_t i = 0; i < p.e; i++) from_float(context[i] * factor, output + i);
    if (p.log_sum_exp) p.log_sum_exp[index] = total == 0.0f ? -INFINITY : maximum + logf(total);
  }
};

}  // namespace
