#include "source.h"

#include "expressions.h"
#include "prelude.h"

#include <algorithm>

namespace attnc::rows {

namespace {

constexpr int64_t kLargestGroup = 1024;

bool same(const Port& a, const Port& b) { return a.kind == b.kind && a.number == b.number; }

class Writer {
 public:
  Writer(const Program& program, Element element, Launch& launch)
      : p(program), element(element), launch(launch) {}

  std::string write() {
    choose_shape();
    find_ports();
    text = kPrelude;
    const char* narrow = element == Element::float32   ? "float"
                         : element == Element::float16 ? "Float16"
                                                       : "Bfloat16";
    text += std::string("typedef ") + narrow + " Narrow;\n";
    text += "constexpr int N = " + std::to_string(width) + ", kLanes = " + std::to_string(lanes) +
            ";\nconstexpr i64 kColumns = " + std::to_string(columns) +
            ", kRows = " + std::to_string(rows) + ";\n";
    text += "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(launch.threads) +
            ") row_program(";
    for (size_t i = 0; i < launch.inputs.size(); i++)
      text += std::string(i ? ", " : "") + "const " + type_of(launch.inputs[i]) +
              "* __restrict__ " + name_of(launch.inputs[i]);
    for (const Port& port : launch.outputs)
      text += std::string(", ") + type_of(port) + "* __restrict__ to_" + name_of(port);
    text += ") {\n";
    text += "  const i64 row = (i64)blockIdx.x * (blockDim.x / kLanes) + threadIdx.x / kLanes;\n";
    text += "  const int lane = threadIdx.x % kLanes;\n";
    text += "  const i64 first = ((i64)blockIdx.y * kLanes + lane) * N;\n";
    text += "  const i64 stride = (i64)gridDim.y * kLanes * N;\n";
    // Groups of a warp sum up together, so those beyond the end come along, and write nothing.
    text += "  const bool exists = row < kRows;\n  const i64 r = exists ? row : kRows - 1;\n";
    write_body();
    text += "}\n";
    return text;
  }

 private:
  const Program& p;
  const Element element;
  Launch& launch;
  std::string text;
  int64_t rows = 1, columns = 1;
  int width = 1, lanes = 32, loops = 0;

  void choose_shape() {
    rows = p.rows(), columns = p.columns();
    const auto fits = [&](int64_t size) {
      return columns % size == 0 &&
             std::all_of(p.steps.begin(), p.steps.end(),
                         [&](const Step& step) { return step.shift % size == 0; });
    };
    while (width < 8 && fits(2 * width)) width *= 2;
    const int64_t vectors = columns / width;
    const bool has_sums = std::any_of(p.steps.begin(), p.steps.end(),
                                      [](const Step& step) { return step.reduces(); });
    if (!has_sums && vectors > 512) {
      lanes = 256;
      launch.parts = std::min<int64_t>((vectors + lanes - 1) / lanes, 65535);
    } else if (vectors > 512) {
      lanes = vectors >= 2 * kLargestGroup ? (int)kLargestGroup : 256;
    } else {
      lanes = 1;
      while (lanes < 32 && lanes < vectors) lanes *= 2;
    }
    launch.threads = (unsigned)std::max(lanes, 256);
    launch.blocks = (rows + launch.threads / lanes - 1) / (launch.threads / lanes);
  }

  static const char* kind_of(const Port& port) {
    constexpr const char* kNames[] = {"n", "w", "i", "t"};
    return kNames[(int)port.kind];
  }
  static std::string name_of(const Port& port) { return kind_of(port) + std::to_string(port.number); }
  static const char* type_of(const Port& port) {
    constexpr const char* kNames[] = {"Narrow", "float", "i64", "bool"};
    return kNames[(int)port.kind];
  }
  static std::string name_of(int step) { return "v" + std::to_string(step); }

  void find_ports() {
    const auto add = [](std::vector<Port>& to, const Port& port) {
      for (const Port& each : to)
        if (same(each, port)) return;
      to.push_back(port);
    };
    for (const Step& step : p.steps)
      if (step.op == Op::read) add(launch.inputs, step.port);
    for (const Write& write : p.writes) add(launch.outputs, write.port);
  }

  std::string row_of(const Step& step) const {
    if (step.count == 1) return "0";
    const std::string row =
        step.repeats == 1 ? "r" : "r / " + std::to_string(step.repeats);
    const bool is_all = step.count * step.repeats >= rows;
    return is_all ? row : "(" + row + ") % " + std::to_string(step.count);
  }

  // Pieces of `width` columns stay together when rows are turned.
  static std::string column_of(const Step& step) {
    if (step.shift == 0) return "column";
    const std::string shift = std::to_string(step.shift);
    return "(column + " + shift + " < kColumns ? column + " + shift + " : column + " + shift +
           " - kColumns)";
  }

  // The same for all of a row, it is divided by once.
  bool divides_rows(const Step& step) const {
    return step.op == Op::divide && step.varies && !p.steps[(size_t)step.of[1]].varies;
  }

  // The operand as it is named within the loop over columns, or outside of it.
  std::string operand(int step, bool is_inside) const {
    return name_of(step) + (is_inside && p.steps[(size_t)step].varies ? "[i]" : "");
  }

  void write_body() {
    int last = -1;  // the level at which all that is written along rows is there
    int levels = 0;
    for (const Write& write : p.writes) {
      const Step& step = p.steps[(size_t)write.step];
      if (step.varies) last = std::max(last, step.level);
      levels = std::max(levels, step.level);
    }
    for (int level = 0; level <= levels; level++) {
      for (size_t at = 0; at < p.steps.size(); at++) write_row_step((int)at, level);
      std::vector<int> sums, roots;
      for (size_t at = 0; at < p.steps.size(); at++) {
        const Step& step = p.steps[at];
        if (!step.reduces() || step.level != level + 1) continue;
        if (!p.steps[(size_t)step.of[0]].varies) continue;  // done with what rows have
        sums.push_back((int)at), roots.push_back(step.of[0]);
      }
      std::vector<Write> writes;
      if (level == last)
        for (const Write& write : p.writes)
          if (p.steps[(size_t)write.step].varies) writes.push_back(write), roots.push_back(write.step);
      if (!roots.empty()) write_loop(sums, writes, roots);
    }
    for (const Write& write : p.writes)
      if (!p.steps[(size_t)write.step].varies)
        text += "  if (exists && lane == 0 && blockIdx.y == 0) down(" + name_of(write.step) + ", to_" +
                name_of(write.port) + "[row]);\n";
  }

  // A step that is a number for each row.
  void write_row_step(int at, int level) {
    const Step& step = p.steps[(size_t)at];
    if (step.varies || step.level != level) return;
    const std::string head = "  const float " + name_of(at) + " = ";
    if (step.op == Op::number) {
      text += head + write_number(step.value) + ";\n";
    } else if (step.op == Op::read) {
      text += head + "up(" + name_of(step.port) + "[" + row_of(step) + "]);\n";
    } else if (step.reduces()) {
      if (p.steps[(size_t)step.of[0]].varies) return;  // a loop has made it
      text += head + name_of(step.of[0]) + (step.op == Op::sum ? " * (float)kColumns;\n" : ";\n");
    } else {
      text += head + write_work(step.op, name_of(step.of[0]), name_of(step.of[1]), name_of(step.of[2])) + ";\n";
    }
  }

  void write_loop(const std::vector<int>& sums, const std::vector<Write>& writes,
                  const std::vector<int>& roots) {
    std::vector<bool> is_needed(p.steps.size(), false);
    for (int root : roots) is_needed[(size_t)root] = true;
    for (size_t at = p.steps.size(); at-- > 0;) {
      const Step& step = p.steps[at];
      if (!is_needed[at] || !step.varies) continue;
      for (int i = 0; i < step.operands; i++) is_needed[(size_t)step.of[i]] = true;
    }
    for (size_t at = 0; at < p.steps.size(); at++)
      if (is_needed[at] && divides_rows(p.steps[at]))
        text += "  const float inverse_" + std::to_string(loops) + "_" + std::to_string(at) +
                " = __frcp_rn(" + name_of(p.steps[at].of[1]) + ");\n";
    for (int at : sums)
      text += "  float " + name_of(at) + " = " +
              (p.steps[(size_t)at].op == Op::sum ? "Sum" : "Largest") + "::none();\n";
    text += "  for (i64 column = first; column < kColumns; column += stride) {\n";
    for (size_t at = 0; at < p.steps.size(); at++) {
      const Step& step = p.steps[at];
      if (!is_needed[at] || !step.varies) continue;
      text += "    float " + name_of((int)at) + "[N];\n";
      if (step.op == Op::read)
        text += "    load(" + name_of((int)at) + ", " + name_of(step.port) + " + (" + row_of(step) +
                ") * kColumns + " + column_of(step) + ");\n";
    }
    text += "#pragma unroll\n    for (int i = 0; i < N; i++) {\n";
    for (size_t at = 0; at < p.steps.size(); at++) {
      const Step& step = p.steps[at];
      if (!is_needed[at] || !step.varies || step.op == Op::read) continue;
      text += "      " + name_of((int)at) + "[i] = " +
              (step.op == Op::column ? "(float)(column + i)"
               : divides_rows(step)  ? operand(step.of[0], true) + " * inverse_" +
                                           std::to_string(loops) + "_" + std::to_string(at)
                                     : write_work(step.op, operand(step.of[0], true),
                                            operand(step.of[1], true), operand(step.of[2], true))) +
              ";\n";
    }
    for (int at : sums) {
      const Step& step = p.steps[(size_t)at];
      text += "      " + name_of(at) + " = " + (step.op == Op::sum ? "Sum" : "Largest") +
              "::join(" + name_of(at) + ", " + operand(step.of[0], true) + ");\n";
    }
    text += "    }\n";
    for (const Write& write : writes)
      text += "    if (exists) store(" + name_of(write.step) + ", to_" + name_of(write.port) +
              " + row * kColumns + column);\n";
    text += "  }\n";
    loops++;
    for (int at : sums)
      text += "  " + name_of(at) + " = reduce<" +
              (p.steps[(size_t)at].op == Op::sum ? "Sum" : "Largest") + ", kLanes>(" +
              name_of(at) + ");\n";
  }

};

}  // namespace

std::string write_source(const Program& program, Element element, Launch& launch) {
  return Writer(program, element, launch).write();
}

}  // namespace attnc::rows
