#include "tensor-bytes.h"

#include <ggml-backend.h>

#include <cstring>

namespace zayascope {
namespace {

// A tensor's memory on the host, from its first byte to its last.
class HostBytes {
 public:
  explicit HostBytes(const ggml_tensor* tensor) {
    if (tensor->buffer != nullptr && ggml_backend_buffer_is_host(tensor->buffer)) {
      data_ = static_cast<const uint8_t*>(tensor->data);
      return;
    }
    copy_.resize(ggml_nbytes(tensor));
    ggml_backend_tensor_get(tensor, copy_.data(), 0, copy_.size());
    data_ = copy_.data();
  }
  const uint8_t* data() const { return data_; }

 private:
  std::vector<uint8_t> copy_;
  const uint8_t* data_;
};

}  // namespace

Block packed(const ggml_tensor* tensor) {
  Block bytes(ggml_row_size(tensor->type, tensor->ne[0]) * static_cast<size_t>(ggml_nrows(tensor)));
  if (bytes.size == 0) return bytes;
  const HostBytes memory(tensor);
  uint8_t* out = bytes.data.get();
  eachPiece(tensor, [&](size_t from, size_t size) {
    std::memcpy(out, memory.data() + from, size);
    out += size;
  });
  return bytes;
}

std::vector<int64_t> rowNumbers(const ggml_tensor* tensor) {
  const Block block = packed(tensor);
  const uint8_t* bytes = block.data.get();
  std::vector<int64_t> numbers(static_cast<size_t>(ggml_nelements(tensor)));
  for (size_t k = 0; k < numbers.size(); k++)
    if (tensor->type == GGML_TYPE_I64)
      std::memcpy(&numbers[k], bytes + 8 * k, 8);
    else {
      int32_t number = 0;
      std::memcpy(&number, bytes + 4 * k, 4);
      numbers[k] = number;
    }
  return numbers;
}

Block writtenRows(const ggml_tensor* tensor, const std::vector<int64_t>& numbers) {
  Block bytes(ggml_row_size(tensor->type, tensor->ne[0]) * static_cast<size_t>(ggml_nrows(tensor->src[0])));
  const HostBytes memory(tensor);
  uint8_t* out = bytes.data.get();
  eachWrittenRow(tensor, numbers, [&](size_t from, size_t size) {
    std::memcpy(out, memory.data() + from, size);
    out += size;
  });
  return bytes;
}

std::string paramsHex(const int32_t* params) {
  static constexpr char digits[] = "0123456789abcdef";
  const auto* bytes = reinterpret_cast<const uint8_t*>(params);
  size_t size = GGML_MAX_OP_PARAMS;
  while (size > 0 && bytes[size - 1] == 0) size--;
  std::string text;
  for (size_t k = 0; k < size; k++) {
    text += digits[bytes[k] >> 4];
    text += digits[bytes[k] & 15];
  }
  return text;
}

}  // namespace zayascope
