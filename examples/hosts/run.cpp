// Runs a model of attnc's operators in C++, by their bodies and by the kernels of attnc's library.
// g++ -std=c++17 run.cpp -I… -L… -lonnxruntime -o run && ./run model.onnx libattnc_kernels.so
#include <onnxruntime_c_api.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

const OrtApi* api = OrtGetApiBase()->GetApi(17);

void check(OrtStatus* status) {
  if (!status) return;
  std::fprintf(stderr, "%s\n", api->GetErrorMessage(status));
  std::exit(1);
}

// What the model gives for one sine as query, key and value.
std::vector<float> run(OrtEnv* env, const char* model, const char* library) {
  OrtSessionOptions* options;
  check(api->CreateSessionOptions(&options));
  if (library) check(api->RegisterCustomOpsLibrary_V2(options, library));
  OrtSession* session;
  check(api->CreateSession(env, model, options, &session));
  OrtMemoryInfo* memory;
  check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  const int64_t dims[] = {1, 4, 256, 64};
  std::vector<float> data(4 * 256 * 64);
  for (size_t i = 0; i < data.size(); i++) data[i] = std::sin((float)i);
  const char* inputs[] = {"query", "key", "value"};
  OrtValue* values[3];
  for (OrtValue*& value : values)
    check(api->CreateTensorWithDataAsOrtValue(memory, data.data(), data.size() * sizeof(float), dims, 4,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value));
  const char* outputs[] = {"attention/output"};
  OrtValue* output = nullptr;
  check(api->Run(session, nullptr, inputs, values, 3, outputs, 1, &output));
  float* numbers;
  check(api->GetTensorMutableData(output, (void**)&numbers));
  return std::vector<float>(numbers, numbers + data.size());
}

int main(int, char** arguments) {
  OrtEnv* env;
  check(api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "host", &env));
  const auto body = run(env, arguments[1], nullptr), kernel = run(env, arguments[1], arguments[2]);
  float largest = 0;
  for (size_t i = 0; i < body.size(); i++) largest = std::fmax(largest, std::fabs(body[i] - kernel[i]));
  std::printf("largest difference %.2g\n", largest);
}
