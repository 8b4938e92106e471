// The door to JavaScript: open, run and close return promises and do their work on libuv's pool, so
// that the thread of the event loop never waits. Tensors come and go without a copy: an input is
// read where JavaScript keeps it, an output is memory of ONNX Runtime until it is collected.
#include <chrono>

#include "crash.h"
#include "javascript.h"
#include "loader.h"
#include "replay.h"
#include "session.h"

namespace attnc {

namespace {

constexpr napi_type_tag kSessionTag{0x61747463'73657373, 0x1};
constexpr napi_type_tag kTensorTag{0x61747463'74656e73, 0x2};

napi_value describe(napi_env env, const std::vector<Port>& ports) {
  Values result;
  for (const Port& port : ports) {
    napi_value object;
    check(env, napi_create_object(env, &object));
    Values dims;
    for (const auto& dim : port.dims)
      dims.push_back(dim.index() == 0 ? number(env, (double)std::get<0>(dim))
                                      : text(env, std::get<1>(dim)));
    set(env, object, "name", text(env, port.name));
    set(env, object, "type", number(env, port.type));
    set(env, object, "dims", list(env, dims));
    result.push_back(object);
  }
  return list(env, result);
}

// open(runtime, options) → {handle, inputs, outputs}
napi_value open(napi_env env, const Values& arguments) {
  const std::string library = text(env, arguments[0]);
  const napi_value given = arguments[1];
  SessionOptions options;
  options.model = text(env, property(env, given, "model"));
  options.kernels = text(env, property(env, given, "kernels"));
  options.threads = (int)whole(env, property(env, given, "threads"));
  options.optimization = (int)whole(env, property(env, given, "optimization"));
  options.severity = (int)whole(env, property(env, given, "severity"));
  options.cuda = is_true(env, property(env, given, "cuda"));
  options.provider = pairs(env, property(env, given, "providerOptions"));
  options.config = pairs(env, property(env, given, "config"));
  options.profile = text(env, property(env, given, "profile"));
  options.memory_pattern = is_true(env, property(env, given, "memoryPattern"));
  options.in_place = pairs(env, property(env, given, "inPlace"));
  auto job = std::make_unique<Job>();
  const auto session = std::make_shared<std::shared_ptr<Session>>();
  job->work = [library, options, session] {
    *session = std::make_shared<Session>(Runtime::open(library), options);
  };
  job->result = [session](napi_env env) {
    napi_value object;
    check(env, napi_create_object(env, &object));
    set(env, object, "inputs", describe(env, (*session)->inputs));
    set(env, object, "outputs", describe(env, (*session)->outputs));
    set(env, object, "handle", wrap_shared(env, *session, kSessionTag));
    return object;
  };
  return start(env, std::move(job));
}

// An input of a run: {type, dims, data} in JavaScript's memory, or a tensor that stayed.
HeldTensor feed(napi_env env, const Session& session, napi_value value, Job& job) {
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  if (type == napi_external) {
    const HeldTensor held = unwrap_shared<Held>(env, value, kTensorTag);
    if (!held) throw std::runtime_error("a tensor that is fed was let go");
    return held;
  }
  std::vector<int64_t> dims;
  for (napi_value dim : elements(env, property(env, value, "dims"))) dims.push_back(whole(env, dim));
  const napi_value array = property(env, value, "data");
  napi_typedarray_type kind;
  size_t length = 0, offset = 0;
  void* data = nullptr;
  napi_value buffer;
  check(env, napi_get_typedarray_info(env, array, &kind, &length, &data, &buffer, &offset));
  napi_value size = property(env, array, "byteLength");
  napi_ref reference;
  check(env, napi_create_reference(env, array, 1, &reference));
  job.kept.push_back(reference);
  return session.wrap(data, (size_t)whole(env, size),
                      (int32_t)whole(env, property(env, value, "type")), dims);
}

napi_value result_of(napi_env env, const HeldTensor& tensor, bool stays) {
  napi_value object, buffer;
  check(env, napi_create_object(env, &object));
  const size_t bytes = tensor->bytes();
  Values sizes;
  for (int64_t dim : tensor->dims()) sizes.push_back(number(env, (double)dim));
  set(env, object, "type", number(env, tensor->type()));
  set(env, object, "dims", list(env, sizes));
  if (stays) {
    set(env, object, "handle", wrap_shared(env, tensor, kTensorTag));
    return object;
  }
  auto* holder = new HeldTensor(tensor);
  if (bytes == 0) {
    delete holder;
    check(env, napi_create_arraybuffer(env, 0, nullptr, &buffer));
  } else
    check(env, napi_create_external_arraybuffer(
                   env, tensor->data(), bytes,
                   [](napi_env, void*, void* hint) { delete (HeldTensor*)hint; }, holder, &buffer));
  set(env, object, "buffer", buffer);
  return object;
}

std::vector<Feed> feeds_of(napi_env env, const Session& session, napi_value list, Job& job) {
  std::vector<Feed> feeds;
  for (napi_value pair : elements(env, list)) {
    const Values both = elements(env, pair);
    feeds.push_back({text(env, both.at(0)), feed(env, session, both.at(1), job)});
  }
  return feeds;
}

// The promise of a run's outputs, some of which stay on the device, and of the time that it took.
napi_value start_run(napi_env env, std::unique_ptr<Job> job, const std::vector<bool>& stay,
                     std::function<std::vector<HeldTensor>()> run) {
  struct Outcome {
    std::vector<HeldTensor> tensors;
    double milliseconds;
  };
  const auto outcome = std::make_shared<Outcome>();
  job->work = [run = std::move(run), outcome] {
    const auto started = std::chrono::steady_clock::now();
    outcome->tensors = run();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - started;
    outcome->milliseconds = took.count();
  };
  job->result = [stay, outcome](napi_env env) {
    napi_value object;
    check(env, napi_create_object(env, &object));
    Values outputs;
    for (size_t i = 0; i < outcome->tensors.size(); i++)
      outputs.push_back(result_of(env, outcome->tensors[i], stay[i]));
    set(env, object, "outputs", list(env, outputs));
    set(env, object, "milliseconds", number(env, outcome->milliseconds));
    return object;
  };
  return start(env, std::move(job));
}

// run(handle, [[name, tensor]], [[name, stays]]) → {outputs, milliseconds}
napi_value run(napi_env env, const Values& arguments) {
  const std::shared_ptr<Session> session = unwrap_shared<Session>(env, arguments[0], kSessionTag);
  if (!session) throw std::runtime_error("the session is closed");
  auto job = std::make_unique<Job>();
  const std::vector<Feed> feeds = feeds_of(env, *session, arguments[1], *job);
  std::vector<Fetch> fetches;
  for (napi_value pair : elements(env, arguments[2])) {
    const Values both = elements(env, pair);
    fetches.push_back({text(env, both.at(0)), is_true(env, both.at(1))});
  }
  std::vector<bool> stay;
  for (const Fetch& fetch : fetches) stay.push_back(fetch.stays);
  return start_run(env, std::move(job), stay, [session, feeds, fetches] { return session->run(feeds, fetches); });
}

// replay(handle, [[name, tensor]], [[output, input]], [name]) → {outputs, milliseconds}
napi_value replay(napi_env env, const Values& arguments) {
  const std::shared_ptr<Session> session = unwrap_shared<Session>(env, arguments[0], kSessionTag);
  if (!session) throw std::runtime_error("the session is closed");
  auto job = std::make_unique<Job>();
  const std::vector<Feed> feeds = feeds_of(env, *session, arguments[1], *job);
  std::vector<std::pair<std::string, std::string>> carry;
  for (napi_value pair : elements(env, arguments[2])) {
    const Values both = elements(env, pair);
    carry.emplace_back(text(env, both.at(0)), text(env, both.at(1)));
  }
  std::vector<std::string> fetches;
  for (napi_value name : elements(env, arguments[3])) fetches.push_back(text(env, name));
  return start_run(env, std::move(job), std::vector<bool>(fetches.size(), false),
                   [session, feeds, carry, fetches] { return session->replay().run(feeds, carry, fetches); });
}

// close(handle): the session ends when the run that uses it does.
napi_value close(napi_env env, const Values& arguments) {
  unwrap_shared<Session>(env, arguments[0], kSessionTag).reset();
  return nullptr;
}

// release(tensor): its memory is free once no run reads it.
napi_value release(napi_env env, const Values& arguments) {
  unwrap_shared<Held>(env, arguments[0], kTensorTag).reset();
  return nullptr;
}

// detach(buffer): its memory is free now, whenever the garbage is collected; arrays over it are empty.
napi_value detach(napi_env env, const Values& arguments) {
  check(env, napi_detach_arraybuffer(env, arguments[0]));
  return nullptr;
}

// cancel(handle): ends the run in progress early; it rejects.
napi_value cancel(napi_env env, const Values& arguments) {
  const std::shared_ptr<Session> session = unwrap_shared<Session>(env, arguments[0], kSessionTag);
  if (session) session->cancel();
  return nullptr;
}

// endProfiling(handle) → path of the profile
napi_value end_profiling(napi_env env, const Values& arguments) {
  const std::shared_ptr<Session> session = unwrap_shared<Session>(env, arguments[0], kSessionTag);
  if (!session) throw std::runtime_error("the session is closed");
  return text(env, session->end_profiling());
}

// memory(handle) → {inUse, mostInUse, taken}
napi_value memory(napi_env env, const Values& arguments) {
  const std::shared_ptr<Session> session = unwrap_shared<Session>(env, arguments[0], kSessionTag);
  if (!session) throw std::runtime_error("the session is closed");
  const Memory found = session->memory();
  napi_value object;
  check(env, napi_create_object(env, &object));
  set(env, object, "inUse", number(env, found.in_use));
  set(env, object, "mostInUse", number(env, found.most_in_use));
  set(env, object, "taken", number(env, found.taken));
  return object;
}

// A function of the library of operators.
void* symbol(const std::string& library, const char* name) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* found = handle ? dlsym(handle, name) : nullptr;
  if (!found) throw std::runtime_error(dlerror());
  return found;
}

// instructionSet(library) → "avx512" …
napi_value instruction_set(napi_env env, const Values& arguments) {
  const auto name = (const char* (*)())symbol(text(env, arguments[0]), "attnc_instruction_set");
  return text(env, name());
}

// missingCompiler(library) → null, or why row programs can't be compiled here.
napi_value missing_compiler(napi_env env, const Values& arguments) {
  const auto why = (const char* (*)())symbol(text(env, arguments[0]), "attnc_missing_compiler");
  if (const char* reason = why()) return text(env, reason);
  napi_value nothing;
  check(env, napi_get_null(env, &nothing));
  return nothing;
}

// exponential(library, numbers): replaces them by their exponentials, as the kernels compute them.
napi_value exponential(napi_env env, const Values& arguments) {
  napi_typedarray_type kind;
  size_t length = 0, offset = 0;
  void* data = nullptr;
  napi_value buffer;
  check(env, napi_get_typedarray_info(env, arguments[1], &kind, &length, &data, &buffer, &offset));
  if (kind != napi_float32_array) check(env, napi_invalid_arg);
  const auto compute = (void (*)(const float*, float*, size_t))symbol(text(env, arguments[0]), "attnc_exponential");
  compute((const float*)data, (float*)data, length);
  return nullptr;
}

// watchForCrashes() → file descriptor out of which the number of a signal comes
napi_value watch(napi_env env, const Values&) { return number(env, watch_for_crashes()); }

// limitMemory(bytes)
napi_value limit(napi_env env, const Values& arguments) {
  double bytes = 0;
  check(env, napi_get_value_double(env, arguments[0], &bytes));
  limit_memory(bytes);
  return nullptr;
}

// leave(code)
napi_value leave_now(napi_env env, const Values& arguments) { leave((int)whole(env, arguments[0])); }

}  // namespace

}  // namespace attnc

NAPI_MODULE_INIT() {
  const auto add = [&](const char* name, napi_callback callback) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  };
  add("open", attnc::entry<attnc::open, 2>);
  add("run", attnc::entry<attnc::run, 3>);
  add("replay", attnc::entry<attnc::replay, 4>);
  add("close", attnc::entry<attnc::close, 1>);
  add("release", attnc::entry<attnc::release, 1>);
  add("detach", attnc::entry<attnc::detach, 1>);
  add("cancel", attnc::entry<attnc::cancel, 1>);
  add("endProfiling", attnc::entry<attnc::end_profiling, 1>);
  add("memory", attnc::entry<attnc::memory, 1>);
  add("instructionSet", attnc::entry<attnc::instruction_set, 1>);
  add("missingCompiler", attnc::entry<attnc::missing_compiler, 1>);
  add("exponential", attnc::entry<attnc::exponential, 2>);
  add("watchForCrashes", attnc::entry<attnc::watch, 0>);
  add("limitMemory", attnc::entry<attnc::limit, 1>);
  add("leave", attnc::entry<attnc::leave_now, 1>);
  return exports;
}
