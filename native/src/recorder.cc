#include "recorder.h"

#include <ggml-backend.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "graph.h"

namespace zayascope {
namespace {

// Values that wait to be written, beyond which the model waits.
constexpr size_t maxWaiting = size_t{256} << 20;

const char* kindOf(const ggml_tensor* tensor) {
  if (computes(tensor)) return "node";
  if (tensor->op != GGML_OP_NONE || tensor->view_src != nullptr) return "view";
  if (tensor->buffer == nullptr) return "input";
  switch (ggml_backend_buffer_get_usage(tensor->buffer)) {
    case GGML_BACKEND_BUFFER_USAGE_WEIGHTS: return "weight";
    case GGML_BACKEND_BUFFER_USAGE_COMPUTE: return "input";
    default: return "state";
  }
}

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

// The rows that a SET_ROWS has written, in the shape of what it wrote: not the whole cache.
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

bool isZero(const Block& bytes) {
  return std::all_of(bytes.data.get(), bytes.data.get() + bytes.size, [](uint8_t byte) { return byte == 0; });
}

// Tokens and positions of a micro-batch: they say which rows it has.
bool isRowInput(const ggml_tensor* tensor) {
  return tensor->type == GGML_TYPE_I32 && tensor->ne[1] == 1 && tensor->ne[2] == 1 && tensor->ne[3] == 1;
}

}  // namespace

bool Recorder::callback(ggml_tensor* tensor, bool ask, void* recorder) {
  Recorder& self = *static_cast<Recorder*>(recorder);
  if (self.cancelled_.load()) return false;
  if (ask) return self.mode_ != Mode::off && self.ask(tensor);
  self.computed(tensor);
  return true;
}

void Recorder::begin(Mode mode) {
  mode_ = mode;
  graph_++;
  ids_.clear();
  asked_.clear();
}

void Recorder::forget() {
  graph_ = -1;
  nextId_ = 0;
  lasting_.clear();
  grafts_.clear();
  graftProblem_.clear();
  wantsAll_ = true;
  grafted_ = 0;
}

void Recorder::want(const std::vector<int64_t>& ids) {
  wantsAll_ = false;
  wanted_.clear();
  for (const int64_t id : ids) wanted_.insert(static_cast<int>(id));
}

void Recorder::release(size_t bytes) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_ -= std::min(bytes, waiting_);
  }
  room_.notify_all();
}

void Recorder::cancel() {
  cancelled_.store(true);
  room_.notify_all();
}

bool Recorder::ask(ggml_tensor* tensor) {
  if (!asked_.insert(tensor).second) {  // the same tensor again: libllama runs the next micro-batch
    begin(mode_);
    asked_.insert(tensor);
  }
  describe(tensor);
  const int id = ids_.at(tensor);
  if (!computes(tensor) || (!wants(id) && grafts_.count(id) == 0)) return false;
  if (tensor->op == GGML_OP_SET_ROWS) rows_ = rowNumbers(tensor->src[1]);
  return true;
}

void Recorder::computed(ggml_tensor* tensor) {
  const int id = ids_.at(tensor);
  const auto graft = grafts_.find(id);
  if (graft != grafts_.end()) {
    put(tensor, id, graft->second);
    grafts_.erase(graft);
  }
  if (!wants(id)) return;
  auto* recorded = new Recorded;
  recorded->id = id;
  recorded->graph = graph_;
  recorded->hasValue = true;
  const ggml_tensor* shape = tensor->op == GGML_OP_SET_ROWS ? tensor->src[0] : tensor;
  std::copy_n(shape->ne, GGML_MAX_DIMS, recorded->ne);
  recorded->value = tensor->op == GGML_OP_SET_ROWS ? writtenRows(tensor, rows_) : packed(tensor);
  send(recorded);
}

void Recorder::put(ggml_tensor* tensor, int id, const std::vector<uint8_t>& bytes) {
  const bool isRows = tensor->op == GGML_OP_SET_ROWS;
  const size_t expected = ggml_row_size(tensor->type, tensor->ne[0]) * static_cast<size_t>(ggml_nrows(isRows ? tensor->src[0] : tensor));
  if (bytes.size() != expected) {
    graftProblem_ = "expected " + std::to_string(expected) + " bytes for " + tensor->name + " (tensor " + std::to_string(id) + "), got " +
                    std::to_string(bytes.size());
    return;
  }
  const uint8_t* from = bytes.data();
  const auto write = [&](size_t at, size_t size) {
    ggml_backend_tensor_set(tensor, from, at, size);
    from += size;
  };
  if (isRows)
    eachWrittenRow(tensor, rows_, write);
  else
    eachPiece(tensor, write);
  grafted_++;
}

// Sources and the memory's owner first; a graph's chain of views is short, and nodes come in order.
int Recorder::describe(ggml_tensor* tensor) {
  const auto known = ids_.find(tensor);
  if (known != ids_.end()) return known->second;
  const char* kind = kindOf(tensor);
  const bool lasts = std::strcmp(kind, "weight") == 0 || std::strcmp(kind, "state") == 0;
  if (lasts) {
    const auto found = lasting_.find(tensor);
    if (found != lasting_.end()) return ids_[tensor] = found->second;
  }
  auto* recorded = new Recorded;
  for (int k = 0; k < GGML_MAX_SRC; k++) {
    if (tensor->src[k] == nullptr) continue;
    recorded->src.resize(static_cast<size_t>(k) + 1, -1);
    recorded->src.back() = describe(tensor->src[k]);
  }
  if (tensor->view_src != nullptr) recorded->viewSrc = describe(tensor->view_src);
  recorded->id = nextId_++;
  recorded->graph = graph_;
  recorded->kind = kind;
  recorded->name = tensor->name;
  recorded->op = ggml_op_name(tensor->op);
  recorded->type = tensor->type;
  std::copy_n(tensor->ne, GGML_MAX_DIMS, recorded->ne);
  std::copy_n(tensor->nb, GGML_MAX_DIMS, recorded->nb);
  std::copy(std::begin(tensor->op_params), std::end(tensor->op_params), std::begin(recorded->params));
  recorded->flags = tensor->flags;
  recorded->viewOffs = tensor->view_offs;
  if (tensor->buffer != nullptr) recorded->buffer = ggml_backend_buffer_name(tensor->buffer);
  const bool hasMemory = tensor->buffer != nullptr && tensor->data != nullptr;
  const bool isLeaf = tensor->op == GGML_OP_NONE && tensor->view_src == nullptr && std::strcmp(kind, "weight") != 0;
  const bool isTold = wants(recorded->id) || (mode_ == Mode::structure && !lasts && isRowInput(tensor));
  if (hasMemory && isLeaf && (isTold || lasts)) {
    recorded->value = packed(tensor);
    recorded->isZero = lasts && isZero(recorded->value);
    recorded->hasValue = isTold && !recorded->isZero;
    if (!recorded->hasValue) recorded->value = Block();
  }
  if (lasts) lasting_[tensor] = recorded->id;
  ids_[tensor] = recorded->id;
  const int id = recorded->id;
  send(recorded);
  return id;
}

void Recorder::send(Recorded* recorded) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    room_.wait(lock, [&] { return waiting_ < maxWaiting || cancelled_.load(); });
    waiting_ += recorded->value.size;
  }
  sent_++;
  send_(recorded);
}

}  // namespace zayascope
