#pragma once

#include <string>
#include <utility>

namespace zayascope {

// Takes over ggml's log and its assertion handler, once per process, and pins the addon in memory, because
// ggml keeps pointers into it.
void installGgmlHandlers();

// The last warning or error that ggml logged on this thread, or "no reason given".
std::string lastGgmlMessage();
void clearGgmlMessage();

// While one is alive, a failed ggml assertion on this thread throws AssertionFailure instead of ending the
// process. Only for single-threaded ggml calls: an exception cannot cross from ggml's compute threads.
class AssertionScope {
 public:
  AssertionScope();
  ~AssertionScope();
  AssertionScope(const AssertionScope&) = delete;
  AssertionScope& operator=(const AssertionScope&) = delete;
};

struct AssertionFailure {
  std::string message;
};

[[noreturn]] void failOnAssertion(const char* op, const AssertionFailure& failure);

// Runs ggml code; its failed assertions become Failures with code BACKEND.
template <class Function>
auto guardGgml(const char* op, Function&& function) {
  AssertionScope scope;
  clearGgmlMessage();
  try {
    return std::forward<Function>(function)();
  } catch (const AssertionFailure& failure) {
    failOnAssertion(op, failure);
  }
}

}  // namespace zayascope
