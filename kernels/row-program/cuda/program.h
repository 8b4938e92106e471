// A row program, read from its text (kernels/row-program/program.ts has the language) and checked to
// its last number: code is made of it, and it may come from a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace attnc::rows {

enum class Op {
  read, number, column,
  negate, absolute, root, exponential, logarithm, sigmoid, tanh, erf,
  add, subtract, multiply, divide, minimum, maximum, equal, less, choose,
  sum, largest,
};

// What a port holds: the operator's element type, float32, int64, bool.
enum class Kind { narrow, wide, index, truth };

struct Port {
  Kind kind = Kind::narrow;
  int number = 0;
};

struct Step {
  Op op;
  int of[3] = {};
  int operands = 0;
  double value = 0;  // of a number
  // Of a read: from a tensor [count, columns], row ⌊r / repeats⌋ mod count for row r, in column c
  // what stands in column (c + shift) mod columns.
  Port port;
  int64_t count = 0, repeats = 0, columns = 0, shift = 0;

  // Whether it differs along a row, and how many sums along the row lie before it.
  bool varies = false;
  int level = 0;

  bool reduces() const { return op == Op::sum || op == Op::largest; }
};

struct Write {
  Port port;
  int step;
};

struct Program {
  std::vector<int64_t> dims;  // [..., columns]
  std::vector<Step> steps;
  std::vector<Write> writes;

  int64_t columns() const { return dims.back(); }
  int64_t rows() const {
    int64_t product = 1;
    for (size_t i = 0; i + 1 < dims.size(); i++) product *= dims[i];
    return product;
  }
};

constexpr int kInputs[] = {12, 8, 2, 2}, kOutputs[] = {6, 4, 0, 0};  // by kind

// Throws std::invalid_argument that names the line.
Program read_program(const std::string& text);

}  // namespace attnc::rows
