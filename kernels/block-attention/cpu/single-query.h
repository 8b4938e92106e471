// One query: keys and values are read where they lie, once for all heads that share them. Each head's keys are
// worked on in parts, which are merged by their largest scores.
#pragma once

#include "key-tiles.h"
#include "row-tiles.h"

namespace {

template <typename T>
struct SingleQuery : View<T> {
  using View<T>::p;
  using View<T>::padded_e;

  explicit SingleQuery(const Problem& problem) : View<T>{problem} {}

  float* queries = nullptr;  // [B, H, d], scaled
  float* turned = nullptr;   // the same as the first keys see them, or null
  int64_t parts = 1;
  float* partial = nullptr;  // [B, H, parts, part_size]

  // Heads of one layout that share keys are a group.
  int64_t head_groups() const { return larger_of(p.L, p.K); }
  // Context, sums of weights, largest score.
  int64_t part_size() const { return padded_e + 2 * kWidth; }

  // Parts long enough that merging them costs little, and so many that threads have equal shares.
  void choose_parts() {
    constexpr int64_t kLong = 1024, kShort = 128, kEnough = 16;
    int64_t most = 0;
    for (int64_t b = 0; b < p.B; b++)
      for (int64_t h = 0; h < p.H; h++) most = larger_of(most, p.kept(b, h, p.first_row()).count);
    const int64_t keys = most * p.key_block;
    const int64_t wanted = larger_of(keys / kLong, kEnough / (p.B * head_groups()));
    parts = larger_of(1, smaller_of(wanted, keys / kShort));
  }

  // `index` is a part of a group of heads.
  void attend(size_t index) const {
    const int64_t part = (int64_t)index % parts;
    const int64_t group = (int64_t)index / parts % head_groups();
    const int64_t heads = p.H / head_groups();
    Walk{*this, (int64_t)index / parts / head_groups(), group * heads, heads, part}.run();
  }

  // Parts of one head become one: each decays to the largest score of all.
  void merge(size_t index) const {
    const float* part = partial + (int64_t)index * parts * part_size();
    const auto highest = [&](int64_t s) { return part[s * part_size() + padded_e + kWidth]; };
    float maximum = -INFINITY;
    for (int64_t s = 0; s < parts; s++)
      if (highest(s) > maximum) maximum = highest(s);
    float total = 0.0f;
    alignas(64) float context[kLargestHead + kWidth];
    for (int64_t i = 0; i < padded_e; i++) context[i] = 0.0f;
    for (int64_t s = 0; s < parts; s++) {
      const float* each = part + s * part_size();
      // NaN scores have no maximum; their sum carries the NaN on.
      const float decay = highest(s) == maximum ? 1.0f : exponential1(highest(s) - maximum);
      total += sum(load(each + padded_e)) * decay;
      for (int64_t i = 0; i < padded_e; i += kWidth)
        store(context + i, load(context + i) + load(each + i) * decay);
    }
    const float factor = total == 0.0f ? 0.0f : 1.0f / total;
    T* output = (T*)p.output + (int64_t)index * p.e;
    for (int64_t i = 0; i < p.e; i++) from_float(context[i] * factor, output + i);
    if (p.log_sum_exp) p.log_sum_exp[index] = total == 0.0f ? -INFINITY : maximum + logf(total);
  }

 private:
  // Heads h … h+heads of batch b, on one part of their keys.
  struct Walk {
    const SingleQuery& work;
    const int64_t b, h, heads, part;

    const Problem& p = work.p;
    const int64_t stride = work.parts * work.part_size();
    float* const partial = work.partial + ((b * p.H + h) * work.parts + part) * work.part_size();
    const T* const keys = work.key_at(b, work.key_head(h));
    const T* const values = work.value_at(b, work.key_head(h));
    KeyTiles tiles{p, p.kept(b, h, p.first_row()), work.keys_of(b), part, work.parts, (int64_t)sizeof(T)};

    void run() {
      for (int64_t r = 0; r < heads; r++) {
        float* to = partial + r * stride;
        for (int64_t i = 0; i < work.padded_e + kWidth; i++) to[i] = 0.0f;
        to[work.padded_e + kWidth] = -INFINITY;
      }
      KeyTiles::Tile tile = tiles.next();
      while (tile.count > 0) {
        const KeyTiles::Tile after = tiles.next();
        // As many heads at once as have their sums in registers.
        for (int64_t r = 0; r < heads; r += 4) {
          switch (heads - r) {
            case 1: attend<1>(r, tile, after); break;
            case 2: attend<2>(r, tile, after); break;
            case 3: attend<3>(r, tile, after); break;
            default: attend<4>(r, tile, after);
          }
        }
        tile = after;
      }
    }

    template <int Heads>
    void attend(int64_t first, KeyTiles::Tile tile, KeyTiles::Tile after) const {
      alignas(64) float scores[Heads * kLargestBlock];
      const auto [from, count] = tile;
      const T* rows = values + from * p.e;
      const bool is_turned = p.turned_query && from < p.turned_keys;
      const float* query = (is_turned ? work.turned : work.queries) + (b * p.H + h + first) * p.d;
      // The first heads' scores bring the values, the last heads' values the next keys.
      score_all<Heads>(query, p.d, keys + from * p.d, count, scores, first == 0 ? Ahead(rows) : Ahead());
      float decay[Heads];
      for (int r = 0; r < Heads; r++)
        decay[r] = weigh(first + r, tile, scores + r * kLargestBlock);
      const bool is_last = first + Heads == heads && after.count > 0;
      add_values<Heads>(scores, count, rows, p.e, decay, partial + first * stride, stride,
                        is_last ? Ahead(keys + after.from * p.d) : Ahead());
    }

    // A head's scores to weights; returns by how much its context has to decay.
    float weigh(int64_t head, KeyTiles::Tile tile, float* line) const {
      const auto [from, count] = tile;
      const int64_t rounded = round_up(count, kWidth);
      float* sums = partial + head * stride + work.padded_e;
      work.adjust(line, count, b, h + head, 0, from, p.T, false);
      tiles.hide(tile, line);
      if (p.raw_scores)
        std::memcpy(p.raw_scores + (b * p.H + h + head) * p.T + from, line, (size_t)count * sizeof(float));
      for (int64_t t = count; t < rounded; t++) line[t] = -INFINITY;
      return soften(line, rounded, sums[kWidth], sums);
    }
  };
};

}  // namespace
