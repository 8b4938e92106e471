// JavaScript values in short, handles of C++ objects, and work on libuv's pool whose end settles a promise.
#pragma once

#include <node_api.h>

#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "crash.h"

namespace attnc {

using Values = std::vector<napi_value>;

// A JavaScript exception is already waiting.
struct Pending {};

inline void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) {
    const napi_extended_error_info* info = nullptr;
    napi_get_last_error_info(env, &info);
    napi_throw_type_error(env, nullptr, info && info->error_message ? info->error_message : "wrong argument");
  }
  throw Pending{};
}

inline std::string text(napi_env env, napi_value value) {
  size_t length = 0;
  check(env, napi_get_value_string_utf8(env, value, nullptr, 0, &length));
  std::string result(length, '\0');
  check(env, napi_get_value_string_utf8(env, value, result.data(), length + 1, &length));
  return result;
}

inline napi_value text(napi_env env, const std::string& value) {
  napi_value result;
  check(env, napi_create_string_utf8(env, value.c_str(), value.size(), &result));
  return result;
}

inline napi_value property(napi_env env, napi_value object, const char* name) {
  napi_value result;
  check(env, napi_get_named_property(env, object, name, &result));
  return result;
}

inline void set(napi_env env, napi_value object, const char* name, napi_value value) {
  check(env, napi_set_named_property(env, object, name, value));
}

inline napi_value number(napi_env env, double value) {
  napi_value result;
  check(env, napi_create_double(env, value, &result));
  return result;
}

inline int64_t whole(napi_env env, napi_value value) {
  int64_t result = 0;
  check(env, napi_get_value_int64(env, value, &result));
  return result;
}

inline bool is_true(napi_env env, napi_value value) {
  bool result = false;
  check(env, napi_get_value_bool(env, value, &result));
  return result;
}

inline Values elements(napi_env env, napi_value array) {
  uint32_t length = 0;
  check(env, napi_get_array_length(env, array, &length));
  Values values(length);
  for (uint32_t i = 0; i < length; i++) check(env, napi_get_element(env, array, i, &values[i]));
  return values;
}

inline napi_value list(napi_env env, const Values& values) {
  napi_value array;
  check(env, napi_create_array_with_length(env, values.size(), &array));
  for (uint32_t i = 0; i < values.size(); i++) check(env, napi_set_element(env, array, i, values[i]));
  return array;
}

inline std::map<std::string, std::string> pairs(napi_env env, napi_value array) {
  std::map<std::string, std::string> result;
  for (napi_value pair : elements(env, array)) {
    const Values both = elements(env, pair);
    if (both.size() == 2) result[text(env, both[0])] = text(env, both[1]);
  }
  return result;
}

// Handles of C++ objects in JavaScript, told apart by their tags.
template <typename T>
napi_value wrap_shared(napi_env env, std::shared_ptr<T> object, const napi_type_tag& tag) {
  napi_value result;
  auto* holder = new std::shared_ptr<T>(std::move(object));
  check(env, napi_create_external(
                 env, holder, [](napi_env, void* data, void*) { delete (std::shared_ptr<T>*)data; },
                 nullptr, &result));
  check(env, napi_type_tag_object(env, result, &tag));
  return result;
}

template <typename T>
std::shared_ptr<T>& unwrap_shared(napi_env env, napi_value value, const napi_type_tag& tag) {
  bool fits = false;
  check(env, napi_check_object_type_tag(env, value, &tag, &fits));
  if (!fits) check(env, napi_invalid_arg);
  void* data = nullptr;
  check(env, napi_get_value_external(env, value, &data));
  return *(std::shared_ptr<T>*)data;
}

// Work on libuv's pool, and what JavaScript gets of it.
struct Job {
  std::function<void()> work;
  std::function<napi_value(napi_env)> result;
  std::vector<napi_ref> kept;  // buffers that the work reads
  std::string error;
  napi_deferred deferred = nullptr;
  napi_async_work handle = nullptr;
};

inline napi_value start(napi_env env, std::unique_ptr<Job> job) {
  napi_value promise, name;
  check(env, napi_create_promise(env, &job->deferred, &promise));
  check(env, napi_create_string_utf8(env, "attnc", NAPI_AUTO_LENGTH, &name));
  const auto execute = [](napi_env, void* data) {
    Job& each = *(Job*)data;
    try {
      const Work counted;
      each.work();
    } catch (const std::exception& error) {
      each.error = error.what();
      if (each.error.empty()) each.error = "unknown error";
    }
  };
  const auto complete = [](napi_env env, napi_status status, void* data) {
    const std::unique_ptr<Job> each((Job*)data);
    for (napi_ref reference : each->kept) napi_delete_reference(env, reference);
    napi_value outcome = nullptr;
    if (status == napi_ok && each->error.empty()) {
      try {
        outcome = each->result(env);
        napi_resolve_deferred(env, each->deferred, outcome);
      } catch (const Pending&) {
        napi_get_and_clear_last_exception(env, &outcome);
        napi_reject_deferred(env, each->deferred, outcome);
      }
    } else {
      napi_value message;
      const std::string& text = each->error.empty() ? "the work was cancelled" : each->error;
      napi_create_string_utf8(env, text.c_str(), text.size(), &message);
      napi_create_error(env, nullptr, message, &outcome);
      napi_reject_deferred(env, each->deferred, outcome);
    }
    napi_delete_async_work(env, each->handle);
  };
  check(env, napi_create_async_work(env, nullptr, name, execute, complete, job.get(), &job->handle));
  check(env, napi_queue_async_work(env, job->handle));
  job.release();
  return promise;
}

template <napi_value (*Body)(napi_env, const Values&), size_t Count>
napi_value entry(napi_env env, napi_callback_info info) {
  Values arguments(Count);
  size_t count = Count;
  try {
    check(env, napi_get_cb_info(env, info, &count, arguments.data(), nullptr, nullptr));
    return Body(env, arguments);
  } catch (const Pending&) {
    return nullptr;
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

}  // namespace attnc
