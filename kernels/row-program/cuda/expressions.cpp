#include "expressions.h"

#include <cstdint>
#include <cstring>

namespace attnc::rows {

std::string write_number(double value) {
  const float single = (float)value;
  uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  return "__uint_as_float(" + std::to_string(bits) + "u)";
}

std::string write_work(Op op, const std::string& a, const std::string& b, const std::string& c) {
  switch (op) {
    case Op::negate: return "-" + a;
    case Op::absolute: return "fabsf(" + a + ")";
    case Op::root: return "sqrtf(" + a + ")";
    case Op::exponential: return "expf(" + a + ")";
    case Op::logarithm: return "logf(" + a + ")";
    case Op::sigmoid: return "1.0f / (1.0f + expf(-" + a + "))";
    case Op::tanh: return "tanhf(" + a + ")";
    case Op::erf: return "erff(" + a + ")";
    case Op::add: return a + " + " + b;
    case Op::subtract: return a + " - " + b;
    case Op::multiply: return a + " * " + b;
    case Op::divide: return a + " / " + b;
    case Op::minimum: return "fminf(" + a + ", " + b + ")";
    case Op::maximum: return "fmaxf(" + a + ", " + b + ")";
    case Op::equal: return a + " == " + b + " ? 1.0f : 0.0f";
    case Op::less: return a + " < " + b + " ? 1.0f : 0.0f";
    case Op::choose: return a + " != 0.0f ? " + b + " : " + c;
    default: return "0.0f";
  }
}

}  // namespace attnc::rows
