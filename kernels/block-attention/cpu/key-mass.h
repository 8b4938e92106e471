// How much attention each key gets: the sum of its probabilities over the queries. Every query attends to
// all keys that the masks leave; blocks play no part. Two walks over the keys, so that no row of scores is ever kept.
#pragma once

#include "scores.h"
#include "tiles.h"

namespace {

template <typename T>
struct KeyMass : View<T> {
  using View<T>::p;

  explicit KeyMass(const Problem& problem) : View<T>{problem} {}

  float* mass = nullptr;  // [B, H, T]

  // One head of one batch, up to kLargestBlock queries at a time.
  void add(size_t index) const {
    const int64_t b = (int64_t)index / p.H;
    const int64_t h = (int64_t)index % p.H;
    float* to = mass + (int64_t)index * p.T;
    for (int64_t t = 0; t < p.T; t++) to[t] = 0.0f;
    for (int64_t query = 0; query < p.S; query += kLargestBlock)
      add_rows(b, h, query, smaller_of(kLargestBlock, p.S - query), to);
  }

 private:
  void add_rows(int64_t b, int64_t h, int64_t query, int64_t count, float* to) const {
    alignas(64) static thread_local float queries[(kLargestBlock + kRows) * kLargestHead];
    alignas(64) static thread_local float turned[(kLargestBlock + kRows) * kLargestHead];
    alignas(64) float sums[(kLargestBlock + kRows) * kWidth];
    float maxima[kLargestBlock + kRows];
    const int64_t padded = round_up(count, kRows);
    this->read_queries(b, h, query, count, false, queries);
    for (int64_t i = count * p.d; i < padded * p.d; i++) queries[i] = 0.0f;
    if (p.turned_query) {
      this->read_queries(b, h, query, count, true, turned);
      for (int64_t i = count * p.d; i < padded * p.d; i++) turned[i] = 0.0f;
    }
    for (int64_t i = 0; i < padded * kWidth; i++) sums[i] = 0.0f;
    for (int64_t i = 0; i < padded; i++) maxima[i] = -INFINITY;
    // 1. Largest score and sum of every row.
    walk(b, h, query, count, queries, turned, [&](int64_t row, int64_t, float* scores) {
      soften(scores, kWidth, maxima[row], sums + row * kWidth);
    });
    // 2. Shares of the sums.
    float shares[kLargestBlock + kRows];
    for (int64_t row = 0; row < count; row++) {
      const float total = sum(load(sums + row * kWidth));
      shares[row] = total > 0.0f ? 1.0f / total : 0.0f;
    }
    walk(b, h, query, count, queries, turned, [&](int64_t row, int64_t key, float* scores) {
      const float base = maxima[row] == -INFINITY ? 0.0f : maxima[row];
      alignas(64) float line[kWidth];
      store(line, exponential(load(scores) - base) * shares[row]);
      for (int64_t i = 0; i < smaller_of(kWidth, p.T - key); i++) to[key + i] += line[i];
    });
  }

  // Calls `visit(row, key, scores)` for every row and every kWidth keys that it may see.
  template <typename Visit>
  void walk(int64_t b, int64_t h, int64_t query, int64_t count, const float* queries,
            const float* turned, Visit visit) const {
    alignas(64) static thread_local float panel[kLargestHead * kWidth];
    alignas(64) float scores[kRows * kWidth];
    alignas(64) float tile[kRows * kWidth];
    const int64_t keys = this->keys_of(b);
    const T* all = this->key_at(b, this->key_head(h));
    const int64_t end = visible_keys(p, p.start + query + count - 1, keys).end;
    for (int64_t key = 0; key < end; key += kWidth) {
      for (int j = 0; j < kWidth; j++)
        for (int64_t i = 0; i < p.d; i++)
          panel[i * kWidth + j] = key + j < p.T ? to_float(all[(key + j) * p.d + i]) : 0.0f;
      for (int64_t row = 0; row < count; row += kRows) {
        score_tile<kRows, 1>(queries + row * p.d, p.d, panel, scores, kWidth);
        if (p.turned_query && key < p.turned_keys) {
          score_tile<kRows, 1>(turned + row * p.d, p.d, panel, tile, kWidth);
          for (int r = 0; r < kRows; r++)
            for (int64_t j = 0; j < smaller_of(kWidth, p.turned_keys - key); j++)
              scores[r * kWidth + j] = tile[r * kWidth + j];
        }
        for (int64_t r = 0; r < smaller_of(kRows, count - row); r++) {
          this->adjust(scores + r * kWidth, kWidth, b, h, query + row + r, key, keys, true);
          visit(row + r, key, scores + r * kWidth);
        }
      }
    }
  }
};

template <typename T>
void mass_of_keys(const Problem& p, const attnc::Threads& threads, float* mass) {
  KeyMass<T> work(p);
  work.mass = mass;
  threads.run(
      threads.host, [](void* data, size_t i) { ((KeyMass<T>*)data)->add(i); }, (size_t)(p.B * p.H),
      &work);
}

}  // namespace
