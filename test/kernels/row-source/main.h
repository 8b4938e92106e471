// run NUMBER SIZE… < INPUTS > OUTPUTS: bytes of each tensor, a minus before those that are written.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int count, char** words) {
  std::vector<std::vector<char>> tensors;
  std::vector<char*> data;
  for (int i = 2; i < count; i++) {
    const long size = std::atol(words[i]);
    tensors.emplace_back((size_t)std::labs(size));
    if (size > 0 && std::fread(tensors.back().data(), 1, tensors.back().size(), stdin) == 0) return 1;
  }
  for (auto& tensor : tensors) data.push_back(tensor.data());
  run(std::atoi(words[1]), data.data());
  for (int i = 2; i < count; i++)
    if (std::atol(words[i]) < 0) std::fwrite(data[(size_t)i - 2], 1, tensors[(size_t)i - 2].size(), stdout);
}
