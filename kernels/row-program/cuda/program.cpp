#include "program.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace attnc::rows {

namespace {

struct Named {
  const char* name;
  Op op;
  int operands;
};

constexpr Named kOperations[] = {
    {"negate", Op::negate, 1},       {"absolute", Op::absolute, 1}, {"root", Op::root, 1},
    {"exponential", Op::exponential, 1}, {"logarithm", Op::logarithm, 1},
    {"sigmoid", Op::sigmoid, 1},     {"tanh", Op::tanh, 1},         {"erf", Op::erf, 1},
    {"add", Op::add, 2},             {"subtract", Op::subtract, 2}, {"multiply", Op::multiply, 2},
    {"divide", Op::divide, 2},       {"minimum", Op::minimum, 2},   {"maximum", Op::maximum, 2},
    {"equal", Op::equal, 2},         {"less", Op::less, 2},         {"choose", Op::choose, 3},
    {"sum", Op::sum, 1},             {"largest", Op::largest, 1},
};
constexpr const char* kKinds[] = {"narrow", "wide", "index", "truth"};
constexpr int64_t kLargest = INT32_MAX;
constexpr int64_t kMostElements = (int64_t)1 << 40;
constexpr size_t kMostSteps = 512;

struct Line {
  int at;
  std::vector<std::string> words;

  [[noreturn]] void refuse(const std::string& expected) const {
    throw std::invalid_argument("line " + std::to_string(at) + " of the program: expected " +
                                expected + ".");
  }
  void expect(size_t count) const {
    if (words.size() != count + 1) refuse(std::to_string(count) + " words after the first");
  }
  int64_t whole(size_t word, int64_t least, int64_t most) const {
    const std::string& text = words[word];
    const bool is_digits = !text.empty() && text.size() <= 15 &&
                           std::all_of(text.begin(), text.end(),
                                       [](char c) { return c >= '0' && c <= '9'; });
    const int64_t value = is_digits ? std::strtoll(text.c_str(), nullptr, 10) : -1;
    if (value < least || value > most)
      refuse("a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    return value;
  }
  Port port(const int (&counts)[4]) const {
    for (int kind = 0; kind < 4; kind++)
      if (words[1] == kKinds[kind]) return {(Kind)kind, (int)whole(2, 0, counts[kind] - 1)};
    refuse("a port");
  }
};

void add_step(Program& program, const Line& line) {
  const std::string& word = line.words[0];
  const int64_t before = (int64_t)program.steps.size();
  Step step{};
  if (word == "read") {
    line.expect(6);
    step.op = Op::read;
    step.port = line.port(kInputs);
    step.count = line.whole(3, 1, kLargest);
    step.repeats = line.whole(4, 1, kLargest);
    step.columns = line.whole(5, 1, program.columns());
    if (step.columns != 1 && step.columns != program.columns()) line.refuse("one column, or all");
    step.shift = line.whole(6, 0, step.columns - 1);
    step.varies = step.columns > 1 || program.columns() == 1;
  } else if (word == "number") {
    line.expect(1);
    char* end = nullptr;
    step.op = Op::number;
    step.value = std::strtod(line.words[1].c_str(), &end);
    if (line.words[1] == "Infinity") step.value = INFINITY;
    else if (line.words[1] == "-Infinity") step.value = -INFINITY;
    else if (*end || line.words[1].empty() || std::isnan(step.value)) line.refuse("a number");
  } else if (word == "column") {
    line.expect(0);
    step.op = Op::column;
    step.varies = true;
  } else {
    const auto known = std::find_if(std::begin(kOperations), std::end(kOperations),
                                    [&](const Named& each) { return word == each.name; });
    if (known == std::end(kOperations)) line.refuse("an operation of the language");
    line.expect((size_t)known->operands);
    step.op = known->op;
    step.operands = known->operands;
    for (int i = 0; i < step.operands; i++) {
      const Step& of = program.steps[(size_t)(step.of[i] = (int)line.whole((size_t)i + 1, 0, before - 1))];
      step.varies |= of.varies;
      step.level = std::max(step.level, of.level);
    }
    if (step.reduces()) step.varies = false, step.level++;
  }
  program.steps.push_back(step);
}

}  // namespace

Program read_program(const std::string& text) {
  Program program;
  std::istringstream lines(text);
  int at = 0;
  for (std::string each; std::getline(lines, each, ';');) {
    Line line{++at, {}};
    std::istringstream words(each);
    for (std::string word; words >> word;) line.words.push_back(word);
    if (line.words.empty()) line.refuse("words");
    if (at == 1) {
      if (line.words[0] != "dims" || line.words.size() < 2 || line.words.size() > 8)
        line.refuse("\"dims\" and up to 7 sizes");
      int64_t elements = 1;
      for (size_t i = 1; i < line.words.size(); i++) {
        program.dims.push_back(line.whole(i, 1, kLargest));
        elements *= program.dims.back();
        if (elements > kMostElements) line.refuse("fewer than 2^40 elements");
      }
    } else if (line.words[0] == "write") {
      line.expect(3);
      const Port port = line.port(kOutputs);
      program.writes.push_back({port, (int)line.whole(3, 0, (int64_t)program.steps.size() - 1)});
    } else {
      if (program.steps.size() == kMostSteps) line.refuse("512 steps at most");
      add_step(program, line);
    }
  }
  if (program.writes.empty()) throw std::invalid_argument("the program writes nothing.");
  return program;
}

}  // namespace attnc::rows
