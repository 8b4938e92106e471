// Single steps as C expressions.
#pragma once

#include <string>

#include "program.h"

namespace attnc::rows {

// Bit by bit, so that infinity is one too.
std::string write_number(double value);

// What an operation gives of `a`, `b` and `c`, of which it takes as many as it has operands.
std::string write_work(Op op, const std::string& a, const std::string& b, const std::string& c);

}  // namespace attnc::rows
