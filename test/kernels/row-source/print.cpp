// Prints what row programs become, for a processor: a function for each, and a program that runs one of them.
// Lines of standard input are an element type (0 float32, 1 float16) and a row program.
#include <cstdio>
#include <iostream>
#include <string>

#include "../../../kernels/row-program/cuda/prelude.h"
#include "../../../kernels/row-program/cuda/source.h"

using namespace attnc::rows;

namespace {

void replace(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

int main() {
  std::string runs;
  std::puts("#include \"emulated.h\"");
  int number = 0;
  for (std::string line; std::getline(std::cin, line); number++) {
    const Program program = read_program(line.substr(2));
    Launch launch;
    std::string text =
        write_source(program, line[0] == '1' ? Element::float16 : Element::float32, launch);
    text.erase(0, std::string(kPrelude).size());
    replace(text, "extern \"C\" __global__ void", "static void");
    // A thread has a row by itself.
    const size_t lanes = text.find("kLanes = ") + 9;
    text.replace(lanes, text.find(';', lanes) - lanes, "1");
    const std::string name = "case_" + std::to_string(number);
    std::printf("namespace %s {\n%s}\n", name.c_str(), text.c_str());
    runs += "    case " + std::to_string(number) + ": for (blockIdx.x = 0; blockIdx.x < " + name +
            "::kRows; blockIdx.x++) " + name + "::row_program(";
    static const char* const kTypes[] = {"::Narrow*", "", "", ""};
    static const char* const kPlain[] = {"", "float*", "i64*", "bool*"};
    size_t at = 0;
    const auto add = [&](const Port& port) {
      const int kind = (int)port.kind;
      const std::string type = kind == 0 ? name + kTypes[0] : kPlain[kind];
      runs += std::string(at ? ", " : "") + "(" + type + ")data[" + std::to_string(at) + "]";
      at++;
    };
    for (const Port& port : launch.inputs) add(port);
    for (const Port& port : launch.outputs) add(port);
    runs += "); break;\n";
    std::string order;
    for (const Port& port : launch.inputs)
      order += " " + std::to_string((int)port.kind) + ":" + std::to_string(port.number);
    order += " >";
    for (const Port& port : launch.outputs)
      order += " " + std::to_string((int)port.kind) + ":" + std::to_string(port.number);
    std::fprintf(stderr, "%s\n", order.c_str());
  }
  std::printf("static void run(int number, char** data) {\n  switch (number) {\n%s  }\n}\n", runs.c_str());
  std::puts("#include \"main.h\"");
}
