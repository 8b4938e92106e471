// Block attention on Hopper. A block of threads takes tiles of 2 × 64 queries, one after the other,
// those with most work first. One warp copies queries, keys and values in; two warpgroups multiply:
// while the tensor cores compute the scores of the next keys, the weights of the last are applied,
// and one group's exponentials run beside the other's products.
// A stage of keys is made of chunks from anywhere in the sequence, so kept blocks of any size fill
// it, and only stages that hold a chunk on a border are masked.
#pragma once

#include "hopper-instructions.cuh"
#include "hopper-walk.cuh"
#include "parameters.h"
#include "softmax.cuh"

namespace attnc::cuda {

constexpr int kRows = 64;             // queries of a warpgroup
constexpr int kGroups = 2;            // warpgroups that multiply
constexpr int kPiece = 16;            // keys whose position is written down for the masks
constexpr int kNowhere = 1 << 30;     // position of keys that no query sees
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;
constexpr int kHopperThreads = (kGroups + 1) * 128;
// Sums are rescaled only when a maximum has grown by more than a factor of 2 to this.
constexpr float kSlack = 8.0f;

template <typename Type, int Size, bool Caps>
struct HopperTraits {
  using Element = Type;
  static constexpr int kSize = Size;             // of a head
  static constexpr int kKeys = 128;              // of a stage
  static constexpr int kStages = 2 * 128 / Size;  // each for keys and for values
  static constexpr bool kCaps = Caps;
};

struct HopperParameters {
  CUtensorMap query, key, value, output;
  Parameters p;
  // Two heads that share keys and layout side by side, or 128 queries of one head.
  int32_t pairs_heads;
  int32_t items_per_row;
  int32_t items;
  int32_t chunk;
};

// What a tile is about; head < 0 ends the work.
struct Tile {
  int32_t head;        // b · H + h, of the first warpgroup
  int32_t query, end;  // [query, end): of its block of the layout, those that exist
  int32_t keys;
};

enum StageFlags { kMasked = 1, kEnd = 2 };

template <class C>
struct HopperShared {
  using Element = typename C::Element;
  static constexpr int kHalves = C::kSize / 64;
  Element query[kGroups][kHalves][kRows * 64];
  Element key[C::kStages][kHalves][C::kKeys * 64];
  Element value[C::kStages][kHalves][C::kKeys * 64];
  Element output[kGroups][kHalves][kRows * 64];
  uint64_t query_full, query_empty;
  uint64_t key_full[C::kStages], key_empty[C::kStages];
  uint64_t value_full[C::kStages], value_empty[C::kStages];
  int32_t position[C::kStages][C::kKeys / kPiece];
  int32_t flags[C::kStages];
  Tile tile;
  volatile int32_t pin;
};

// A place in a ring of stages: which one, and how often the ring was passed.
template <int Stages>
struct Ring {
  int slot = 0;
  uint32_t parity = 0;
  __device__ void advance() {
    if (++slot == Stages) slot = 0, parity ^= 1;
  }
};

// --- the warp that copies --------------------------------------------------------------------

template <class C>
struct Producer {
  using Shared = HopperShared<C>;
  static constexpr int kHalves = Shared::kHalves;
  static constexpr uint32_t kStageBytes = C::kKeys * C::kSize * 2;

  const HopperParameters& h;
  Shared& shared;
  int32_t lane;
  Ring<C::kStages> keys, values;
  // Of the stage that is being filled: lane c holds chunk c.
  int32_t from = 0, position = 0;
  int32_t filled = 0, flags = 0;
  // Of the stage whose values are still to be copied.
  int32_t waiting_from = 0;
  bool waits = false;
  int32_t head = 0;

  __device__ void run() {
    const Parameters& p = h.p;
    uint32_t parity = 1;
    for (int32_t item = blockIdx.x; item < h.items;) {
      int32_t next = 0;
      if (lane == 0) next = gridDim.x + atomicAdd(p.counter, 1);
      next = __shfl_sync(~0u, next, 0);
      const int32_t unit = p.order[item / h.items_per_row];
      const int32_t within = item % h.items_per_row;
      const int32_t rows = p.block_rows();
      const int32_t layout = unit / rows;
      const int32_t row = p.first_row() + unit % rows;
      const int32_t heads = p.H / p.L;
      const int32_t heads_at_once = h.pairs_heads ? 2 : 1;
      const int32_t tiles = heads / heads_at_once;
      const int32_t batch = within / tiles;
      const int32_t first_head = layout * heads + within % tiles * heads_at_once;
      // The copy engine traps at coordinates below 0, and blocks may begin before the queries.
      const int32_t block = row * p.query_block - p.start;
      const int32_t query = larger_of(block, 0);
      const int32_t end = smaller_of(block + p.query_block, p.S);
      const int32_t key_count = keys_of(p, batch);

      barrier_wait(&shared.query_empty, parity);
      parity ^= 1;
      if (lane == 0) {
        shared.tile = {batch * p.H + first_head, query, end, key_count};
        barrier_expect(&shared.query_full, kGroups * kRows * C::kSize * 2);
      }
      __syncwarp();
      if (lane < kGroups * kHalves) {
        const int32_t group = lane / kHalves, half = lane % kHalves;
        copy_in(shared.query[group][half], &h.query, half * 64,
                smaller_of(query + (h.pairs_heads ? 0 : group * kRows), p.S - 1),
                batch * p.H + first_head + (h.pairs_heads ? group : 0), &shared.query_full);
      }

      head = batch * p.K + first_head / (p.H / p.K);
      Walk walk(p, kept_columns(p, batch, layout, row), p.start + query, p.start + end - 1,
                key_count, h.chunk);
      copy_row(walk);
      item = next;
    }
    barrier_wait(&shared.query_empty, parity);
    if (lane == 0) {
      shared.tile.head = -1;
      barrier_arrive(&shared.query_full);
    }
  }

  __device__ void copy_row(Walk& walk) {
    const int32_t chunks = C::kKeys / h.chunk;
    bool is_empty = true;
    int32_t key;
    bool is_masked;
    while (walk.next(lane, key, is_masked)) {
      is_empty = false;
      if (lane == filled) from = position = key;
      if (is_masked) flags |= kMasked;
      if (++filled == chunks) copy_stage();
    }
    if (is_empty) {
      from = 0;
      position = kNowhere;
      flags = kMasked;
      copy_stage();
    } else if (filled > 0) {
      // The rest of the stage repeats a chunk, out of sight: what is there has to be numbers.
      const int32_t first = __shfl_sync(~0u, from, 0);
      if (lane >= filled) from = first, position = kNowhere;
      flags |= kMasked;
      copy_stage();
    }
    // The row's end takes a stage of keys without any.
    barrier_wait(&shared.key_empty[keys.slot], keys.parity ^ 1);
    if (lane == 0) {
      shared.flags[keys.slot] = kEnd;
      barrier_arrive(&shared.key_full[keys.slot]);
    }
    keys.advance();
    copy_values();
  }

  // Keys of this stage, and values of the one before: in this order they are used.
  __device__ void copy_stage() {
    barrier_wait(&shared.key_empty[keys.slot], keys.parity ^ 1);
    const int32_t piece = lane * kPiece;
    const int32_t start = __shfl_sync(~0u, position, piece / h.chunk & 31);
    if (lane < C::kKeys / kPiece)
      shared.position[keys.slot][lane] = start + piece % h.chunk;
    if (lane == 0) shared.flags[keys.slot] = flags;
    // Lane 0's arrival releases what all lanes wrote before this.
    __syncwarp();
    if (lane == 0) barrier_expect(&shared.key_full[keys.slot], kStageBytes);
    __syncwarp();
    copy_chunks(&h.key, shared.key[keys.slot], from, &shared.key_full[keys.slot]);
    keys.advance();
    copy_values();
    waiting_from = from;
    waits = true;
    filled = 0;
    flags = 0;
  }

  __device__ void copy_values() {
    if (!waits) return;
    waits = false;
    barrier_wait(&shared.value_empty[values.slot], values.parity ^ 1);
    if (lane == 0) barrier_expect(&shared.value_full[values.slot], kStageBytes);
    __syncwarp();
    copy_chunks(&h.value, shared.value[values.slot], waiting_from,
                &shared.value_full[values.slot]);
    values.advance();
  }

  template <typename Element>
  __device__ void copy_chunks(const CUtensorMap* map, Element (*to)[C::kKeys * 64],
                              int32_t chunk_from, uint64_t* barrier) {
    const int32_t chunk = lane / kHalves, half = lane % kHalves;
    const int32_t key = __shfl_sync(~0u, chunk_from, chunk);
    if (chunk < C::kKeys / h.chunk)
      copy_in(to[half] + chunk * h.chunk * 64, map, half * 64, key, head, barrier);
  }
};

// --- the warpgroups that multiply ------------------------------------------------------------

// A thread holds two rows of a tile, `row` and `row + 8` of its warp's 16: of each group of four
// sums, the first two are of the upper row.
template <class C>
struct Consumer {
  using Element = typename C::Element;
  using Shared = HopperShared<C>;
  static constexpr int kHalves = Shared::kHalves;
  static constexpr int kScores = C::kKeys / 2;
  static constexpr int kSums = C::kSize / 2;

  const HopperParameters& h;
  Shared& shared;
  int32_t group, thread;
  Ring<C::kStages> keys, values;
  float factor;  // of scores, to powers of 2
  float cap_factor;

  __device__ int32_t lane() const { return thread & 31; }

  __device__ void scores(float (&s)[kScores]) {
    const uint64_t a = matrix_descriptor(shared_address(shared.query[group][0]), 0);
    const uint64_t b = matrix_descriptor(shared_address(shared.key[keys.slot][0]), 0);
    products_begin();
#pragma unroll
    for (int k = 0; k < C::kSize / 16; k++)
      product(s, a + (k / 4) * (kRows * 128 / 16) + (k % 4) * 2,
              b + (k / 4) * (C::kKeys * 128 / 16) + (k % 4) * 2, k > 0, Element{});
    products_commit();
  }

  __device__ void context(float (&o)[kSums], const uint32_t (&weights)[C::kKeys / 4], int adds) {
    const uint64_t b =
        matrix_descriptor(shared_address(shared.value[values.slot][0]), C::kKeys * 128);
    products_begin();
#pragma unroll
    for (int k = 0; k < C::kKeys / 16; k++)
      product(o, weights + 4 * k, b + k * (16 * 128 / 16), k > 0 ? 1 : adds, Element{});
    products_commit();
  }

  __device__ void release(uint64_t* barrier) {
    __syncwarp();
    if (lane() == 0) barrier_arrive(barrier);
  }

  // The two groups issue their products in turn, so that one's softmax meets the other's products.
  __device__ void wait_turn() {
    named_sync(3 + group, kGroups * 128);
  }
  __device__ void give_turn() {
    named_arrive(3 + (group ^ 1), kGroups * 128);
  }

  __device__ void cap(float (&s)[kScores]) {
    if constexpr (C::kCaps) {
#pragma unroll
      for (int i = 0; i < kScores; i++) s[i] = hyperbolic_tangent(s[i] * cap_factor);
    }
  }

  __device__ void mask(float (&s)[kScores], const Visible (&seen)[2]) {
    const int32_t* positions = shared.position[keys.slot];
#pragma unroll
    for (int piece = 0; piece < C::kKeys / kPiece; piece++) {
      const int32_t key = positions[piece] + (lane() & 3) * 2;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const int32_t at = key + (i / 4) * 8 + (i & 1);
        if (!seen[i / 2 & 1].shows(at)) s[piece * 8 + i] = -INFINITY;
      }
    }
  }

  // Scores to weights. Returns whether what was summed before has to decay.
  __device__ bool soften(float (&s)[kScores], float (&maximum)[2], float (&total)[2],
                         float (&decay)[2]) {
    float top[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (int i = 0; i < kScores; i += 4)
#pragma unroll
      for (int r = 0; r < 2; r++) top[r] = fmaxf(top[r], fmaxf(s[i + 2 * r], s[i + 2 * r + 1]));
    bool grows = false;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 1));
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 2));
      grows |= (top[r] - maximum[r]) * factor > kSlack;
    }
    grows = __any_sync(~0u, grows);
    if (grows) {
#pragma unroll
      for (int r = 0; r < 2; r++) {
        // A row that has seen nothing yet has nothing to decay.
        decay[r] = top[r] == -INFINITY ? 1.0f : power_of_2((maximum[r] - top[r]) * factor);
        maximum[r] = top[r];
        total[r] *= decay[r];
      }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float base = maximum[r] == -INFINITY ? 0.0f : maximum[r] * factor;
#pragma unroll
      for (int i = 0; i < kScores; i += 4)
#pragma unroll
        for (int j = 2 * r; j < 2 * r + 2; j++) {
          s[i + j] = power_of_2(s[i + j] * factor - base);
          total[r] += s[i + j];
        }
    }
    return grows;
  }

  __device__ void pack_weights(const float (&s)[kScores], uint32_t (&weights)[C::kKeys / 4]) {
#pragma unroll
    for (int i = 0; i < C::kKeys / 4; i++) weights[i] = pack(s[2 * i], s[2 * i + 1], Element{});
  }

  __device__ void run() {
    const Parameters& p = h.p;
    const int32_t row = thread / 32 * 16 + lane() / 4;
    uint32_t parity = 0;
    if (group == 1) give_turn();
    while (true) {
      barrier_wait(&shared.query_full, parity);
      parity ^= 1;
      Tile tile = shared.tile;
      if (tile.head < 0) break;
      if (h.pairs_heads)
        tile.head += group;
      else
        tile.query += group * kRows;
      const Visible seen[2] = {visible_keys(p, p.start + tile.query + row, tile.keys),
                               visible_keys(p, p.start + tile.query + row + 8, tile.keys)};

      float o[kSums], s[kScores];
      uint32_t weights[C::kKeys / 4];
      float maximum[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0}, decay[2] = {1, 1};

      barrier_wait(&shared.key_full[keys.slot], keys.parity);
      wait_turn();
      scores(s);
      give_turn();
      products_wait<0>();
      hold(s);
      cap(s);
      if (shared.flags[keys.slot] & kMasked) mask(s, seen);
      release(&shared.key_empty[keys.slot]);
      keys.advance();
      soften(s, maximum, total, decay);
      pack_weights(s, weights);
      int adds = 0;
      while (true) {
        barrier_wait(&shared.key_full[keys.slot], keys.parity);
        const int32_t flags = shared.flags[keys.slot];
        if (flags & kEnd) break;
        wait_turn();
        hold(s);
        scores(s);
        barrier_wait(&shared.value_full[values.slot], values.parity);
        hold(o);
        hold(weights);
        context(o, weights, adds);
        give_turn();
        products_wait<1>();
        hold(s);
        cap(s);
        if (flags & kMasked) mask(s, seen);
        release(&shared.key_empty[keys.slot]);
        keys.advance();
        const bool decays = soften(s, maximum, total, decay);
        // The softmax is to run beside the product of weights and values. ptxas would move it behind
        // the wait, but not past a store that depends on its end; sums are never negative.
        if (total[0] + total[1] < 0.0f) shared.pin = 1;
        products_wait<0>();
        hold(o);
        hold(weights);
        release(&shared.value_empty[values.slot]);
        values.advance();
        if (decays) {
#pragma unroll
          for (int i = 0; i < kSums; i++) o[i] *= decay[i / 2 & 1];
        }
        pack_weights(s, weights);
        adds = 1;
      }
      release(&shared.key_empty[keys.slot]);
      keys.advance();
      release(&shared.query_empty);
      barrier_wait(&shared.value_full[values.slot], values.parity);
      context(o, weights, adds);
      products_wait<0>();
      hold(o);
      release(&shared.value_empty[values.slot]);
      values.advance();
      finish(o, maximum, total, tile, row);
    }
    if (thread == 0) copy_out_wait();
  }

  // Weighted sums to averages, through shared memory, so that whole lines are written.
  __device__ void finish(float (&o)[kSums], float (&maximum)[2], float (&total)[2],
                         const Tile& tile, int32_t row) {
    const Parameters& p = h.p;
    float share[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      total[r] += __shfl_xor_sync(~0u, total[r], 1);
      total[r] += __shfl_xor_sync(~0u, total[r], 2);
      share[r] = total[r] == 0.0f ? 0.0f : 1.0f / total[r];
      const int32_t query = tile.query + row + 8 * r;
      if (p.log_sum_exp && (lane() & 3) == 0 && query < tile.end)
        p.log_sum_exp[(int64_t)tile.head * p.S + query] =
            total[r] == 0.0f ? -INFINITY : (maximum[r] * factor + __log2f(total[r])) / kLog2e;
    }
    if (thread == 0) copy_out_wait_read();
    named_sync(1 + group, 128);
    const int32_t line = thread / 32 * 16 + (lane() & 15);
#pragma unroll
    for (int j = 0; j < C::kSize / 8; j += 2) {
      const int32_t column = j + lane() / 16;
      const uint32_t to = shared_address(shared.output[group][j / 8]) + line * 128 +
                          ((column % 8) ^ (line % 8)) * 16;
      asm volatile(
          "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),
          "r"(pack(o[4 * j] * share[0], o[4 * j + 1] * share[0], Element{})),
          "r"(pack(o[4 * j + 2] * share[1], o[4 * j + 3] * share[1], Element{})),
          "r"(pack(o[4 * j + 4] * share[0], o[4 * j + 5] * share[0], Element{})),
          "r"(pack(o[4 * j + 6] * share[1], o[4 * j + 7] * share[1], Element{}))
          : "memory");
    }
    fence_async_proxy();
    named_sync(1 + group, 128);
    if (tile.query + kRows <= tile.end) {
      if (thread == 0) {
        for (int half = 0; half < kHalves; half++)
          copy_out(&h.output, shared.output[group][half], half * 64, tile.query, tile.head);
        copy_out_commit();
      }
    } else {
      write_rows(tile);
    }
  }

  // What the copy engine would do, but only for the rows that are the tile's.
  __device__ void write_rows(const Tile& tile) {
    constexpr int kPieces = C::kSize / 8;
    Element* first = (Element*)h.p.output + ((int64_t)tile.head * h.p.S + tile.query) * C::kSize;
    for (int32_t i = thread; i < (tile.end - tile.query) * kPieces; i += 128) {
      const int32_t line = i / kPieces, column = i % kPieces;
      const Element* from = shared.output[group][column / 8] + line * 64;
      *(uint4*)(first + i * 8) = *(const uint4*)(from + ((column % 8) ^ (line % 8)) * 8);
    }
  }
};

template <class C>
__global__ void __launch_bounds__(kHopperThreads, 1)
    hopper_attention(const __grid_constant__ HopperParameters h) {
  extern __shared__ unsigned char memory[];
  HopperShared<C>& shared =
      *(HopperShared<C>*)(memory + (1024 - shared_address(memory) % 1024) % 1024);
  const int32_t group = __shfl_sync(~0u, (int32_t)threadIdx.x / 128, 0);
  if (threadIdx.x == 0) {
    const uint32_t warps = kGroups * 4;
    barrier_init(&shared.query_full, 1);
    barrier_init(&shared.query_empty, warps);
    for (int i = 0; i < C::kStages; i++) {
      barrier_init(&shared.key_full[i], 1);
      barrier_init(&shared.key_empty[i], warps);
      barrier_init(&shared.value_full[i], 1);
      barrier_init(&shared.value_empty[i], warps);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    fence_async_proxy();
    prefetch_map(&h.query);
    prefetch_map(&h.key);
    prefetch_map(&h.value);
    prefetch_map(&h.output);
  }
  __syncthreads();
  if (group == 0) {
    give_registers<kProducerRegisters>();
    if (threadIdx.x < 32) {
      // The plan was made by the kernel before, which may still be at it.
      asm volatile("griddepcontrol.wait;" ::: "memory");
      Producer<C> producer{h, shared, (int32_t)threadIdx.x};
      producer.run();
    }
  } else {
    take_registers<kConsumerRegisters>();
    const Parameters& p = h.p;
    Consumer<C> consumer{h, shared, group - 1, (int32_t)threadIdx.x % 128};
    consumer.factor = (C::kCaps ? p.softcap : p.scale) * kLog2e;
    consumer.cap_factor = C::kCaps ? p.scale / p.softcap : 0.0f;
    consumer.run();
  }
}

}  // namespace attnc::cuda
