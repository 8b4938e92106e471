#include "replay.h"

namespace attnc {

Replay::Replay(Session& session)
    : session_(session),
      memory_(session.device() != nullptr),
      arena_(session.runtime()),
      binding_(session.runtime()) {
  const Runtime& runtime = session.runtime();
  runtime.call<slot::CreateAllocator>((const ort::Session*)session.handle(),
                                      (const ort::MemoryInfo*)session.memory_info(), &arena_.handle);
  runtime.call<slot::CreateIoBinding>(session.handle(), &binding_.handle);
  for (const Port& port : session.inputs) {
    const HeldTensor tensor = make(port);
    inputs_.emplace(port.name, tensor);
    missing_.insert(port.name);
    runtime.call<slot::BindInput>(binding_.handle, port.name.c_str(), (const ort::Value*)tensor->value());
  }
  memory_.enter();
  for (const Port& port : session.outputs) {
    const auto stays = session.in_place.find(port.name);
    const HeldTensor tensor = stays == session.in_place.end() ? make(port) : start_empty(stays->second);
    outputs_.emplace(port.name, tensor);
    runtime.call<slot::BindOutput>(binding_.handle, port.name.c_str(), (const ort::Value*)tensor->value());
  }
}

HeldTensor Replay::start_empty(const std::string& input) {
  const HeldTensor& tensor = find(inputs_, input);
  memory_.clear(tensor->data(), tensor->bytes());
  missing_.erase(input);
  return tensor;
}

HeldTensor Replay::make(const Port& port) const {
  std::vector<int64_t> dims;
  for (const auto& dim : port.dims) {
    if (dim.index() != 0) throw std::runtime_error("\"" + port.name + "\" has a size that is not fixed");
    dims.push_back(std::get<0>(dim));
  }
  ort::Value* value = nullptr;
  session_.runtime().call<slot::CreateTensorAsOrtValue>(arena_.handle, (const int64_t*)dims.data(), dims.size(), port.type, &value);
  return std::make_shared<Held>(session_.runtime(), value);
}

std::vector<HeldTensor> Replay::run(const std::vector<Feed>& feeds,
                                    const std::vector<std::pair<std::string, std::string>>& carry,
                                    const std::vector<std::string>& fetches) {
  std::vector<HeldTensor> results;
  thread_.call([&] { results = run_here(feeds, carry, fetches); });
  return results;
}

std::vector<HeldTensor> Replay::run_here(const std::vector<Feed>& feeds,
                                         const std::vector<std::pair<std::string, std::string>>& carry,
                                         const std::vector<std::string>& fetches) {
  memory_.enter();
  for (const Feed& feed : feeds) {
    const HeldTensor& to = find(inputs_, feed.name);
    if (to->bytes() != feed.tensor->bytes())
      throw std::runtime_error("\"" + feed.name + "\" is fed with other sizes than before");
    memory_.write(to->data(), feed.tensor->data(), to->bytes());
    missing_.erase(feed.name);
  }
  if (!missing_.empty()) throw std::runtime_error("\"" + *missing_.begin() + "\" is not fed");
  memory_.wait();
  session_.run(binding_.handle);
  std::vector<HeldTensor> results;
  for (const std::string& name : fetches) {
    const HeldTensor& from = find(outputs_, name);
    results.push_back(from->alike(session_.runtime().allocator()));
    memory_.read(results.back()->data(), from->data(), from->bytes());
  }
  for (const auto& [output, input] : carry)
    memory_.copy(find(inputs_, input)->data(), find(outputs_, output)->data(), find(inputs_, input)->bytes());
  memory_.wait();
  return results;
}

HeldTensor& Replay::find(std::map<std::string, HeldTensor>& tensors, const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::runtime_error("there is no \"" + name + "\"");
  return found->second;
}

}  // namespace attnc
