// What the source of row programs finds on a device, for one thread at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

typedef uint16_t u16;
typedef uint32_t u32;
typedef long long i64;
typedef _Float16 Float16;

#define __launch_bounds__(threads)
#define __restrict__

struct Place {
  long long x, y;
};
static Place blockIdx{0, 0}, threadIdx{0, 0}, blockDim{1, 1}, gridDim{1, 1};

static inline float __uint_as_float(u32 bits) {
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}
static inline float __frcp_rn(float x) { return 1.0f / x; }

template <class T>
static inline float up(T x) {
  return (float)x;
}
template <class T>
static inline void down(float x, T& to) {
  to = (T)x;
}
template <int N, class T>
static inline void load(float (&to)[N], const T* from) {
  for (int i = 0; i < N; i++) to[i] = up(from[i]);
}
template <int N, class T>
static inline void store(const float (&from)[N], T* to) {
  for (int i = 0; i < N; i++) down(from[i], to[i]);
}

struct Sum {
  static float none() { return 0.0f; }
  static float join(float a, float b) { return a + b; }
};
struct Largest {
  static float none() { return -std::numeric_limits<float>::infinity(); }
  static float join(float a, float b) { return a > b || a != a ? a : b; }
};
template <class Way, int Lanes>
static inline float reduce(float x) {
  static_assert(Lanes == 1, "a thread has a row by itself");
  return x;
}
