#include "mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace zayascope {
namespace {

[[noreturn]] void failIo(const char* op, const std::string& expected, const std::string& path) {
  fail("IO", op, "expected " + expected + ", got: " + std::strerror(errno) + " (" + path + ")");
}

}  // namespace

MappingState::MappingState(const std::string& path) : path_(path) {
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) failIo("Mapping", "a readable file", path);
  try {
    struct stat status{};
    if (fstat(file_, &status) != 0) failIo("Mapping", "a file", path);
    if (!S_ISREG(status.st_mode) || status.st_size == 0)
      fail("IO", "Mapping", "expected a file with bytes in it, got an empty or special one (" + path + ")");
    size_ = static_cast<size_t>(status.st_size);
    // NORESERVE: pages that nobody writes need no swap, so a file larger than memory may be mapped.
    data_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file_, 0);
    if (data_ == MAP_FAILED) failIo("Mapping", "address space for " + std::to_string(size_) + " bytes", path);
  } catch (const Failure&) {
    ::close(file_);
    throw;
  }
}

MappingState::~MappingState() {
  munmap(data_, size_);
  ::close(file_);
}

void MappingState::read(size_t offset, Bytes bytes) const {
  if (offset > size_ || bytes.size > size_ - offset)
    fail("BAD_ARGUMENT", "read",
         "expected a range within " + std::to_string(size_) + " bytes, got " + std::to_string(bytes.size) + " at " +
             std::to_string(offset) + " (" + path_ + ")");
  while (bytes.size > 0) {
    const ssize_t count = pread(file_, bytes.data, bytes.size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) failIo("read", "to read at " + std::to_string(offset), path_);
    if (count == 0) fail("IO", "read", "expected " + std::to_string(size_) + " bytes, got a file that has become shorter (" + path_ + ")");
    bytes.data += count;
    bytes.size -= static_cast<size_t>(count);
    offset += static_cast<size_t>(count);
  }
}

Napi::Function Mapping::define(Napi::Env env) {
  return withDispose(env, DefineClass(env, className,
                                      {
                                          getter<&Mapping::sizeBytes>("sizeBytes"),
                                          method<&Mapping::read>("read"),
                                          method<&Mapping::close>("close"),
                                      }));
}

Mapping::Mapping(const Napi::CallbackInfo& info) : Object(info) {
  protect(info.Env(), [&] {
    const Arguments arguments(info, "Mapping", 1);
    state_ = std::make_shared<MappingState>(arguments.text(0, "path"));
  });
}

Napi::Value Mapping::sizeBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(open("sizeBytes")->sizeBytes()));
}

Napi::Value Mapping::read(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "read", 2);
  const MappingState& state = *open(arguments.op());
  const size_t offset = arguments.size(0, "offsetBytes");
  state.read(offset, arguments.bytes(1, "bytes"));
  return info.Env().Undefined();
}

Napi::Value Mapping::close(const Napi::CallbackInfo& info) {
  state_.reset();
  return info.Env().Undefined();
}

}  // namespace zayascope
