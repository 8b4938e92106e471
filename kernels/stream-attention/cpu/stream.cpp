// A step of one token is stored first and attends to the cache where it lies. A longer step attends to a list in
// the order of positions, in which sinks and window are those of block attention, and is stored afterwards.
#include "stream.h"

#include "attend.h"
#include "tokens.h"

namespace attnc {

Step read_step(const StreamProblem& s, int64_t batch, WrongPosition& wrong) {
  const int64_t* positions = s.positions + batch * s.S;
  Step step;
  while (step.first < s.S && positions[step.first] < 0) step.first++;
  while (step.first + step.count < s.S && positions[step.first + step.count] >= 0) step.count++;
  if (step.count == 0) return step;
  step.position = positions[step.first];
  int64_t newest = 0;
  const int64_t* slots = s.slots_of(s.past_slots, batch, 0);
  for (int64_t slot = 0; slot < s.sinks + s.window; slot++) newest = std::max(newest, slots[slot]);
  if (newest > 0 && step.position != newest) wrong = {step.first, newest};
  for (int64_t i = 1; i < step.count && wrong.place < 0; i++)
    if (positions[step.first + i] != step.position + i) wrong = {step.first + i, step.position + i};
  for (int64_t i = step.first + step.count; i < s.S && wrong.place < 0; i++)
    if (positions[i] >= 0) wrong = {i, -1};
  return step;
}

namespace {

// The past of a batch into the present, unless they are one.
void carry_over(const StreamProblem& s, int64_t b, const Threads& threads) {
  const int64_t C = s.capacity();
  struct Copy {
    const StreamProblem& s;
    int64_t b;
  } copy{s, b};
  if (s.present_key != s.past_key || s.present_value != s.past_value)
    threads.run(
        threads.host,
        [](void* data, size_t k) {
          const auto& [s, b] = *(const Copy*)data;
          const size_t row = (size_t)(b * s.K + (int64_t)k) * (size_t)s.capacity();
          const auto move = [&](void* to, const void* from, size_t size) {
            if (to != from)
              std::memcpy((char*)to + row * size, (const char*)from + row * size, (size_t)s.capacity() * size);
          };
          move(s.present_key, s.past_key, s.key_row());
          move(s.present_value, s.past_value, s.value_row());
        },
        (size_t)s.K, &copy);
  if (s.present_slots != s.past_slots)
    std::memcpy(s.present_slots + b * s.P * C, s.past_slots + b * s.P * C, (size_t)(s.P * C) * sizeof(int64_t));
  if (s.present_scores && s.present_scores != s.past_scores)
    std::memcpy(s.present_scores + b * s.K * C, s.past_scores + b * s.K * C, (size_t)(s.K * C) * sizeof(float));
}

// Puts a new token of the step into its slot.
void store(const StreamProblem& s, int64_t b, const Step& step, int64_t token) {
  const int64_t C = s.capacity();
  const int64_t position = step.position + token;
  const int64_t slot = s.slot_of(position);
  for (int64_t k = 0; k < s.K; k++) {
    const size_t to = (size_t)((b * s.K + k) * C + slot);
    const size_t from = (size_t)((b * s.K + k) * s.S + step.first + token);
    std::memcpy((char*)s.present_key + to * s.key_row(), (const char*)s.key + from * s.key_row(), s.key_row());
    std::memcpy((char*)s.present_value + to * s.value_row(), (const char*)s.value + from * s.value_row(), s.value_row());
    if (s.present_scores) s.present_scores[to] = 0.0f;
  }
  for (int64_t head = 0; head < s.P; head++) s.present_slots[(b * s.P + head) * C + slot] = position + 1;
}

struct Surroundings {
  const Engine& engine;
  const Threads& threads;
  const Scratch& scratch;
};

void step_one(const StreamProblem& s, int64_t b, const Step& step, const Surroundings& around) {
  const Scratch& scratch = around.scratch;
  const int64_t C = s.capacity();
  // 1. What leaves the window is a candidate for the heavy hitters, and about to be overwritten.
  const int64_t slot = s.slot_of(step.position);
  const int64_t leaving = s.heavy > 0 && step.position >= s.sinks ? s.slots_of(s.past_slots, b, 0)[slot] - 1 : -1;
  std::vector<char> left_keys, left_values;
  std::vector<float> left_scores;
  if (leaving >= 0)
    for (int64_t k = 0; k < s.K; k++) {
      const size_t row = (size_t)((b * s.K + k) * C + slot);
      const char* key = (const char*)s.past_key + row * s.key_row();
      const char* value = (const char*)s.past_value + row * s.value_row();
      left_keys.insert(left_keys.end(), key, key + s.key_row());
      left_values.insert(left_values.end(), value, value + s.value_row());
      left_scores.push_back(s.past_scores[row]);
    }
  // 2. The new cache, all of which is seen.
  carry_over(s, b, around.threads);
  store(s, b, step, 0);
  const size_t row = (size_t)(b * s.K * C);
  float* mask = nullptr;
  for (int64_t k = 0; k < s.K; k++) {
    const int64_t* slots = s.slots_of(s.present_slots, b, k);
    for (int64_t i = 0; i < C; i++) {
      if (slots[i] > 0) continue;
      if (!mask) {
        mask = scratch.take(scratch.pool, (size_t)(s.K * C));
        std::fill_n(mask, s.K * C, 0.0f);
      }
      mask[k * C + i] = -INFINITY;
    }
  }
  const Attended cache{(const char*)s.present_key + row * s.key_row(), (const char*)s.present_value + row * s.value_row(),
                       C, mask, false, 0, 0, s.sinks};
  float* received = s.present_scores ? s.present_scores + row : nullptr;
  attend(s, b, step, cache, received, around.engine, around.threads, scratch);
  if (leaving < 0) return;
  // 3. Heavy hitters.
  for (int64_t k = 0; k < s.K; k++) {
    std::vector<Candidate> candidates;
    const int64_t* slots = s.slots_of(s.present_slots, b, k);
    for (int64_t i = s.sinks + s.window; i < C; i++) {
      const size_t at = row + (size_t)(k * C + i);
      if (slots[i] > 0)
        candidates.push_back({slots[i] - 1, s.present_scores[at], (const char*)s.present_key + at * s.key_row(),
                              (const char*)s.present_value + at * s.value_row()});
    }
    candidates.push_back({leaving, left_scores[(size_t)k], left_keys.data() + (size_t)k * s.key_row(),
                          left_values.data() + (size_t)k * s.value_row()});
    keep_heavy(s, b, k, std::move(candidates));
  }
}

void step_many(const StreamProblem& s, int64_t b, const Step& step, const Surroundings& around) {
  const int64_t C = s.capacity();
  const TokenList list = list_tokens(s, b, step, around.scratch);
  const Attended tokens{list.keys, list.values, list.count, list.mask, true, s.dense_step ? 0 : s.window,
                        s.heavy + list.sinks, list.sinks};
  attend(s, b, step, tokens, list.scores, around.engine, around.threads, around.scratch);
  carry_over(s, b, around.threads);
  for (int64_t i = 0; i < step.count; i++)
    if (step.position + i < s.sinks || step.position + i > step.last() - s.window) store(s, b, step, i);
  if (s.heavy == 0) return;
  for (int64_t k = 0; k < s.K; k++) {
    std::vector<Candidate> candidates;
    for (int64_t i = 0; i < list.count; i++) {
      const size_t at = (size_t)(k * list.count + i);
      const int64_t position = list.positions[at];
      if (position < 0) continue;
      const bool has_left = i < s.heavy || (position >= s.sinks && position <= step.last() - s.window);
      if (has_left)
        candidates.push_back({position, list.scores[at], list.keys + at * s.key_row(), list.values + at * s.value_row()});
      else
        s.present_scores[(b * s.K + k) * C + s.slot_of(position)] = list.scores[at];
    }
    keep_heavy(s, b, k, std::move(candidates));
  }
}

}  // namespace

void stream_attention(const StreamProblem& s, const Engine& engine, const Threads& threads,
                      const Scratch& scratch) {
  const Surroundings around{engine, threads, scratch};
  for (int64_t b = 0; b < s.B; b++) {
    WrongPosition none;
    const Step step = read_step(s, b, none);
    if (step.count < s.S)
      std::memset((char*)s.output + (size_t)(b * s.H * s.S) * s.value_row(), 0, (size_t)(s.H * s.S) * s.value_row());
    if (step.count == 0)
      carry_over(s, b, threads);
    else if (step.count == 1)
      step_one(s, b, step, around);
    else
      step_many(s, b, step, around);
  }
}

}  // namespace attnc
