#include "llama-library.h"

#include <dlfcn.h>

#include "failure.h"

namespace zayascope {
namespace {

template <class Function>
void find(const char* op, void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) fail("BACKEND", op, std::string("expected a libllama with ") + name + ", got one without");
}

// libllama says what is wrong first, and then, level by level, that something was.
thread_local std::string firstError;

void keepFirstError(ggml_log_level level, const char* text, void*) {
  if (level != GGML_LOG_LEVEL_ERROR || !firstError.empty()) return;
  firstError = text;
  while (!firstError.empty() && (firstError.back() == '\n' || firstError.back() == ' ')) firstError.pop_back();
}

}  // namespace

std::string llamaError() { return firstError.empty() ? "no reason given" : firstError; }

void clearLlamaError() { firstError.clear(); }

const LlamaLibrary& llamaLibrary(const char* op, const std::string& file) {
  static LlamaLibrary functions{};
  static bool loaded = false;
  if (loaded) return functions;
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays until the process ends
  if (library == nullptr) fail("BACKEND", op, std::string("expected a libllama that loads, got ") + dlerror());
#define ZAYASCOPE_FIND(name) find(op, library, "llama_" #name, functions.name);
  ZAYASCOPE_LLAMA_FUNCTIONS(ZAYASCOPE_FIND)
#undef ZAYASCOPE_FIND
  functions.log_set(keepFirstError, nullptr);
  loaded = true;
  return functions;
}

}  // namespace zayascope
