#include "ggml-guard.h"

#include <dlfcn.h>
#include <ggml.h>

#include <cstdio>
#include <mutex>

#include "failure.h"

namespace zayascope {
namespace {

thread_local int assertionScopes = 0;
thread_local std::string lastMessage;

void onAssertion(const char* message) {
  if (assertionScopes > 0) throw AssertionFailure{message};
  // ggml calls abort() next; without this the reason would be lost.
  std::fprintf(stderr, "%s\n", message);
}

void onLog(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) lastMessage = text;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

void pinAddon() {
  Dl_info self{};
  if (dladdr(reinterpret_cast<void*>(&onAssertion), &self) != 0 && self.dli_fname != nullptr)
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);  // the handle is never closed on purpose
}

}  // namespace

void installGgmlHandlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    pinAddon();
    ggml_set_abort_callback(onAssertion);
    ggml_log_set(onLog, nullptr);
  });
}

std::string lastGgmlMessage() {
  const std::string text = trimmed(lastMessage);
  return text.empty() ? "no reason given" : text;
}

void clearGgmlMessage() { lastMessage.clear(); }

AssertionScope::AssertionScope() { assertionScopes++; }
AssertionScope::~AssertionScope() { assertionScopes--; }

void failOnAssertion(const char* op, const AssertionFailure& failure) {
  // The message starts with the path on the machine that built ggml; its last part is enough to find the
  // line.
  const size_t colon = failure.message.find(':');
  const size_t slash = failure.message.rfind('/', colon);
  const std::string text = slash == std::string::npos ? failure.message : failure.message.substr(slash + 1);
  fail("BACKEND", op, "ggml rejected the operands (" + trimmed(text) + ")");
}

}  // namespace zayascope
