// Tokens as lists: what the cache held before a longer step and the step's own, in the order of positions, and the
// heavy hitters among those that have left the window.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "stream.h"

namespace attnc {

// Heavy hitters' slots, sinks, window, new tokens: [K, count] of each. Positions of the heavy ones differ from head to
// head; those of the others are one for all.
struct TokenList {
  int64_t count = 0;
  int64_t sinks = 0;  // with new ones
  char* keys = nullptr;
  char* values = nullptr;
  std::vector<int64_t> positions;  // [K, count]; −1 is none
  float* scores = nullptr;         // null without heavy
  float* mask = nullptr;           // null where all are seen
};

inline TokenList list_tokens(const StreamProblem& s, int64_t b, const Step& step,
                             const Scratch& scratch) {
  const int64_t C = s.capacity();
  const int64_t* slots = s.slots_of(s.past_slots, b, 0);
  std::vector<std::pair<int64_t, int64_t>> cached;  // position, slot
  for (int64_t slot = 0; slot < s.sinks + s.window; slot++)
    if (slots[slot] > 0 && slots[slot] <= step.position) cached.emplace_back(slots[slot] - 1, slot);
  std::sort(cached.begin(), cached.end());
  TokenList list;
  const int64_t held = (int64_t)cached.size();
  const int64_t n = s.heavy + held + step.count;
  list.count = n;
  const auto floats = [&](size_t bytes) { return (bytes + 3) / 4; };
  list.keys = (char*)scratch.take(scratch.pool, floats((size_t)(s.K * n) * s.key_row()));
  list.values = (char*)scratch.take(scratch.pool, floats((size_t)(s.K * n) * s.value_row()));
  list.positions.assign((size_t)(s.K * n), -1);
  if (s.heavy > 0) list.scores = scratch.take(scratch.pool, (size_t)(s.K * n));
  bool hides = false;
  for (int64_t k = 0; k < s.K; k++) {
    char* keys = list.keys + (size_t)(k * n) * s.key_row();
    char* values = list.values + (size_t)(k * n) * s.value_row();
    int64_t* positions = list.positions.data() + k * n;
    float* scores = list.scores ? list.scores + k * n : nullptr;
    int64_t to = 0;
    const auto take = [&](int64_t position, const void* key, const void* value, int64_t row,
                          float score) {
      std::memcpy(keys + (size_t)to * s.key_row(), (const char*)key + (size_t)row * s.key_row(), s.key_row());
      std::memcpy(values + (size_t)to * s.value_row(), (const char*)value + (size_t)row * s.value_row(), s.value_row());
      if (scores) scores[to] = score;
      positions[to++] = position;
    };
    const int64_t* own = s.slots_of(s.past_slots, b, k);
    const int64_t row = (b * s.K + k) * C;
    const auto score = [&](int64_t slot) { return s.past_scores ? s.past_scores[row + slot] : 0.0f; };
    for (int64_t slot = s.sinks + s.window; slot < C; slot++) {
      take(own[slot] - 1, s.past_key, s.past_value, row + slot, score(slot));
      hides = hides || own[slot] <= 0;
    }
    for (const auto& [position, slot] : cached)
      take(position, s.past_key, s.past_value, row + slot, score(slot));
    for (int64_t i = 0; i < step.count; i++)
      take(step.position + i, s.key, s.value, (b * s.K + k) * s.S + step.first + i, 0.0f);
  }
  for (int64_t i = s.heavy; i < n; i++) list.sinks += list.positions[(size_t)i] < s.sinks;
  // In a dense step there is no window that would hide what the first query doesn't see any more.
  const auto is_hidden = [&](int64_t position, int64_t place) {
    if (position < 0) return true;
    return s.dense_step && place >= s.heavy && position >= s.sinks && position <= step.position - s.window;
  };
  for (int64_t i = s.heavy; i < n; i++) hides = hides || is_hidden(list.positions[(size_t)i], i);
  if (!hides) return list;
  list.mask = scratch.take(scratch.pool, (size_t)(s.K * n));
  for (int64_t i = 0; i < s.K * n; i++)
    list.mask[i] = is_hidden(list.positions[(size_t)i], i % n) ? -INFINITY : 0.0f;
  return list;
}

// A token that may stay beyond the window.
struct Candidate {
  int64_t position;
  float score;
  const char* key;
  const char* value;
};

// Puts the best of the candidates, which come by rising position, into the slots of heavy hitters.
inline void keep_heavy(const StreamProblem& s, int64_t b, int64_t k,
                       std::vector<Candidate> candidates) {
  // Of equal scores the older one stays.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& c) { return a.score > c.score; });
  if ((int64_t)candidates.size() > s.heavy) candidates.resize((size_t)s.heavy);
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& c) { return a.position < c.position; });
  // Candidates may lie in the slots that are written: all are read before.
  std::vector<char> keys((size_t)s.heavy * s.key_row()), values((size_t)s.heavy * s.value_row());
  const int64_t slot = s.sinks + s.window;
  const int64_t row = (b * s.K + k) * s.capacity() + slot;
  int64_t* slots = s.present_slots + (b * s.P + (s.P == 1 ? 0 : k)) * s.capacity() + slot;
  for (int64_t i = 0; i < s.heavy; i++) {
    const bool is_taken = i < (int64_t)candidates.size();
    slots[i] = is_taken ? candidates[(size_t)i].position + 1 : 0;
    s.present_scores[row + i] = is_taken ? candidates[(size_t)i].score : 0.0f;
    if (!is_taken) continue;
    std::memcpy(keys.data() + (size_t)i * s.key_row(), candidates[(size_t)i].key, s.key_row());
    std::memcpy(values.data() + (size_t)i * s.value_row(), candidates[(size_t)i].value, s.value_row());
  }
  std::memcpy((char*)s.present_key + (size_t)row * s.key_row(), keys.data(), keys.size());
  std::memcpy((char*)s.present_value + (size_t)row * s.value_row(), values.data(), values.size());
}

}  // namespace attnc
