#pragma once

#include <string>

namespace zayascope {

// An error on its way to JavaScript, free of Node-API so that worker threads can carry it. `code` is one of
// src/errors.ts.
struct Failure {
  const char* code;
  std::string op;
  std::string message;
};

[[noreturn]] inline void fail(const char* code, const char* op, const std::string& message) {
  throw Failure{code, op, std::string(op) + ": " + message};
}

}  // namespace zayascope
