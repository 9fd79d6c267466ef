#pragma once

#include <ggml.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace zayascope {

// Memory that is not cleared before it is written.
struct Block {
  std::unique_ptr<uint8_t[]> data;
  size_t size = 0;
  Block() = default;
  explicit Block(size_t bytes) : data(bytes == 0 ? nullptr : new uint8_t[bytes]), size(bytes) {}
};

// Calls for each run of bytes that lie together, with its place in memory and its size, in the order of the
// elements.
template <typename Each>
void eachPiece(const ggml_tensor* tensor, Each each) {
  const size_t row = ggml_row_size(tensor->type, tensor->ne[0]);
  const size_t item = ggml_type_size(tensor->type);
  if (row == 0 || ggml_nrows(tensor) == 0) return;
  if (ggml_is_contiguous(tensor)) return each(size_t{0}, row * static_cast<size_t>(ggml_nrows(tensor)));
  for (int64_t l = 0; l < tensor->ne[3]; l++)
    for (int64_t k = 0; k < tensor->ne[2]; k++)
      for (int64_t j = 0; j < tensor->ne[1]; j++) {
        const size_t from = l * tensor->nb[3] + k * tensor->nb[2] + j * tensor->nb[1];
        if (tensor->nb[0] == item)
          each(from, row);
        else
          for (int64_t i = 0; i < tensor->ne[0]; i++) each(from + i * tensor->nb[0], item);
      }
}

// Of a SET_ROWS: the rows that it writes, in the order of its source.
template <typename Each>
void eachWrittenRow(const ggml_tensor* tensor, const std::vector<int64_t>& numbers, Each each) {
  const ggml_tensor* from = tensor->src[0];
  const ggml_tensor* rows = tensor->src[1];
  const size_t size = ggml_row_size(tensor->type, tensor->ne[0]);
  for (int64_t l = 0; l < from->ne[3]; l++)
    for (int64_t k = 0; k < from->ne[2]; k++)
      for (int64_t j = 0; j < from->ne[1]; j++) {
        const int64_t at = (l % rows->ne[2] * rows->ne[1] + k % rows->ne[1]) * rows->ne[0] + j;
        each(l * tensor->nb[3] + k * tensor->nb[2] + static_cast<size_t>(numbers[static_cast<size_t>(at)]) * tensor->nb[1], size);
      }
}

// The elements in order, slowest axis last to move, without gaps.
Block packed(const ggml_tensor* tensor);
// The numbers that a SET_ROWS finds in its second source.
std::vector<int64_t> rowNumbers(const ggml_tensor* tensor);
// The rows that a SET_ROWS has written, in the shape of what it wrote: not the whole cache.
Block writtenRows(const ggml_tensor* tensor, const std::vector<int64_t>& numbers);
// `op_params` in hex, zero bytes at its end cut.
std::string paramsHex(const int32_t* params);

}  // namespace zayascope
