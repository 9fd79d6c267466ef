// Records every node of the graphs that a llama.cpp program runs, with the graph, into a folder that `zayascope import` makes a recording of:
// `zayascope replay` runs each node of it again, `locate` judges it. One header, C++17, no dependency beyond ggml and llama.h.
//
//     zayascope::recording recording("out/recorded");
//     context_params.cb_eval = zayascope::recording::callback;
//     context_params.cb_eval_user_data = &recording;
//     ...
//     recording.begin(batch);                            // before a llama_decode that is to be recorded
//     llama_decode(context, batch);
//     ...
//     if (!recording.finish()) fprintf(stderr, "%s\n", recording.error().c_str());
//
// A recording is of one context, which may live as long as a server's does: sequences may end and begin again, a batch may have many of them, be
// cut into several ubatches, and calls without `begin` before them (a warm-up, requests of no interest) are not written. What such a call, or
// `llama_memory_*`, changes in a cache is noticed, and the cache is written again. Load the model with `use_extra_bufts = false`: repacked weights
// are multiplied by kernels that a replay does not have.
//
// Read are: a node's value when it has run; an input's, and that of a cache, right before the first node that reads it. Weights are named, and not
// written.
//
// The folder gets two files:
//   tensors.bin   values one after the other: elements in ggml's order, without gaps, in their own type; of a SET_ROWS the rows that it wrote
//   index.jsonl   a line of JSON per event: the format first, then a batch (tokens, positions, sequences, outputs), a graph, a tensor when a graph
//                 first meets it (`id`, `kind`, name, op, type, `ne`, `nb`, `params` in hex, flags, `src`, `view_src`; a leaf's value), a node's
//                 value ("value" its id, `ne`, `offset`), finally {"finished": true}
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"

namespace zayascope {

class recording {
 public:
  // Creates the folder and its files. A failure shows in `error()`, and nothing is written then.
  explicit recording(const std::string &folder) {
    std::error_code code;
    std::filesystem::create_directories(folder, code);
    index_ = std::fopen((folder + "/index.jsonl").c_str(), "wb");
    data_ = std::fopen((folder + "/tensors.bin").c_str(), "wb");
    if (index_ == nullptr || data_ == nullptr) fail("cannot write into " + folder);
    line("{\"format\": \"zayascope-llamacpp\", \"version\": 2, \"system\": " + quoted(llama_print_system_info()) + "}");
  }

  ~recording() {
    if (index_ != nullptr) std::fclose(index_);
    if (data_ != nullptr) std::fclose(data_);
  }

  recording(const recording &) = delete;
  recording &operator=(const recording &) = delete;

  // What runs, for whom it concerns: with how many threads (the bits of some ops depend on it), and which model.
  void about(const llama_context *context) {
    char text[256] = "";
    llama_model_desc(llama_get_model(context), text, sizeof text);
    // libllama's signatures differ in `const` from release to release.
    llama_context *own = const_cast<llama_context *>(context);
    line("{\"threads\": " + std::to_string(llama_n_threads(own)) + ", \"threads_batch\": " + std::to_string(llama_n_threads_batch(own)) +
         ", \"model\": " + quoted(text) + "}");
  }

  // The batch of the next `llama_decode`. A token belongs to one sequence.
  void begin(const llama_batch &batch) {
    if (batch.token == nullptr) return fail("expected a batch of tokens, got one of embeddings");
    std::string tokens, positions, sequences, outputs;
    for (int32_t i = 0; i < batch.n_tokens; i++) {
      if (batch.n_seq_id != nullptr && batch.n_seq_id[i] != 1) return fail("expected tokens of one sequence each, got one of several");
      const llama_seq_id sequence = batch.seq_id == nullptr ? 0 : batch.seq_id[i][0];
      int64_t &next = next_positions_[sequence];
      const int64_t position = batch.pos == nullptr ? next : batch.pos[i];
      next = position + 1;
      // Without `logits` llama.cpp computes those of the last token.
      const bool output = batch.logits == nullptr ? i == batch.n_tokens - 1 : batch.logits[i] != 0;
      const std::string comma = i == 0 ? "" : ", ";
      tokens += comma + std::to_string(batch.token[i]);
      positions += comma + std::to_string(position);
      sequences += comma + std::to_string(sequence);
      outputs += comma + (output ? "1" : "0");
    }
    line("{\"tokens\": [" + tokens + "], \"positions\": [" + positions + "], \"sequences\": [" + sequences + "], \"outputs\": [" + outputs + "]}");
    is_on_ = true;
    is_begun_ = false;
    left_ = batch.n_tokens;
  }

  // The callback: ggml asks for each node whether it is wanted (`ask`), then hands it over once it is computed.
  static bool callback(ggml_tensor *tensor, bool ask, void *user_data) {
    recording &self = *static_cast<recording *>(user_data);
    if (!self.is_on_ || !self.error_.empty()) return !ask;
    if (ask) return self.ask(tensor);
    self.computed(tensor);
    return true;
  }

  // Completes the files. False if anything failed: see `error`.
  bool finish() {
    line("{\"finished\": true}");
    for (std::FILE **file : {&index_, &data_}) {
      if (*file != nullptr && std::fclose(*file) != 0) fail("cannot write: is the disk full?");
      *file = nullptr;
    }
    is_on_ = false;
    return error_.empty();
  }

  const std::string &error() const { return error_; }

 private:
  // A state (a cache, a recurrent state) as it was when it was last read or written.
  struct state {
    int64_t id;
    uint64_t sum;
  };

  static bool is_view(const ggml_tensor *tensor) {
    return tensor->op == GGML_OP_RESHAPE || tensor->op == GGML_OP_VIEW || tensor->op == GGML_OP_PERMUTE || tensor->op == GGML_OP_TRANSPOSE;
  }

  static const char *kind_of(const ggml_tensor *tensor) {
    if (tensor->op != GGML_OP_NONE) return is_view(tensor) ? "view" : "node";
    if (tensor->view_src != nullptr) return "view";
    if (tensor->buffer == nullptr) return "input";
    switch (ggml_backend_buffer_get_usage(tensor->buffer)) {
      case GGML_BACKEND_BUFFER_USAGE_WEIGHTS: return "weight";
      case GGML_BACKEND_BUFFER_USAGE_COMPUTE: return "input";
      default: return "state";
    }
  }

  bool ask(const ggml_tensor *tensor) {
    // A batch may be computed as several graphs, one per ubatch, after others that move its cache.
    if (!is_begun_ || is_of_next_graph(tensor)) {
      if (left_ <= 0) is_on_ = false;  // of a call without `begin`
      if (!is_on_) return false;
      is_begun_ = true;
      ids_.clear();
      inputs_.clear();
      graph_++;
      line("{\"graph\": " + std::to_string(graph_) + "}");
    }
    describe(tensor);
    if (tensor->op == GGML_OP_NONE || is_view(tensor) || ggml_nelements(tensor) == 0) return false;
    if (tensor->op == GGML_OP_SET_ROWS) rows_ = row_numbers(tensor->src[1]);
    return true;
  }

  // A graph's nodes are all new to it, and it has one tensor for token ids and one for positions: what is known, or is there twice, tells that
  // another graph runs, in the memory of the one before or in other memory.
  bool is_of_next_graph(const ggml_tensor *tensor) const {
    if (ids_.count(tensor) > 0) return true;
    return std::any_of(std::begin(tensor->src), std::end(tensor->src), [&](const ggml_tensor *source) {
      return source != nullptr && is_row_input(source) && ids_.count(source) == 0 && inputs_.count(source->name) > 0;
    });
  }

  static bool is_row_input(const ggml_tensor *tensor) {
    static const char *const names[] = {"inp_tokens", "inp_pos", "inp_embd", "inp_out_ids"};
    return tensor->op == GGML_OP_NONE && std::any_of(std::begin(names), std::end(names), [&](const char *name) { return std::strcmp(name, tensor->name) == 0; });
  }

  void computed(const ggml_tensor *tensor) {
    const bool is_rows = tensor->op == GGML_OP_SET_ROWS;
    const ggml_tensor *shape = is_rows ? tensor->src[0] : tensor;
    is_rows ? pack_rows(tensor) : pack(tensor);
    const std::string at = stored();
    line("{\"value\": " + std::to_string(ids_.at(tensor)) + ", \"ne\": " + numbers(shape->ne) + at + "}");
    const auto owner = tensor->view_src == nullptr ? states_.end() : states_.find(tensor->view_src);
    if (owner != states_.end()) owner->second.sum = sum_of(owner->first);
  }

  // Sources and the owner of the memory first; a graph's chain of views is short, and nodes come in order.
  int64_t describe(const ggml_tensor *tensor) {
    const auto known = ids_.find(tensor);
    if (known != ids_.end()) return known->second;
    const char *kind = kind_of(tensor);
    const bool is_state = std::strcmp(kind, "state") == 0;
    if (std::strcmp(kind, "weight") == 0) {
      const auto found = weights_.find(tensor);
      if (found != weights_.end()) return ids_[tensor] = found->second;
    }
    uint64_t sum = 0;
    if (is_state) {
      sum = sum_of(tensor);
      const auto found = states_.find(tensor);
      if (found != states_.end() && found->second.sum == sum) return ids_[tensor] = found->second.id;
    }
    std::string sources;
    int last = -1;  // a cast has itself as its second source
    for (int k = 0; k < GGML_MAX_SRC; k++)
      if (tensor->src[k] != nullptr && tensor->src[k] != tensor) last = k;
    for (int k = 0; k <= last; k++) {
      const bool is_there = tensor->src[k] != nullptr && tensor->src[k] != tensor;
      sources += (k == 0 ? "" : ", ") + (is_there ? std::to_string(describe(tensor->src[k])) : std::string("null"));
    }
    std::string view;
    if (tensor->view_src != nullptr)
      view = ", \"view_src\": " + std::to_string(describe(tensor->view_src)) + ", \"view_offs\": " + std::to_string(tensor->view_offs);
    std::string value;
    const bool is_leaf = tensor->op == GGML_OP_NONE && tensor->view_src == nullptr && std::strcmp(kind, "weight") != 0;
    if (is_leaf && tensor->buffer != nullptr && tensor->data != nullptr && ggml_nelements(tensor) > 0) {
      pack(tensor);
      value = is_state && is_zero() ? ", \"zero\": true" : stored();
    }
    if (is_row_input(tensor)) inputs_.insert(tensor->name);
    if (std::strcmp(tensor->name, "inp_tokens") == 0 && is_leaf) left_ -= tensor->ne[0];
    const int64_t id = next_id_++;
    ids_[tensor] = id;
    if (std::strcmp(kind, "weight") == 0) weights_[tensor] = id;
    if (is_state) states_[tensor] = {id, sum};
    const char *buffer = tensor->buffer == nullptr ? "" : ggml_backend_buffer_name(tensor->buffer);
    int64_t nb[GGML_MAX_DIMS];
    for (int k = 0; k < GGML_MAX_DIMS; k++) nb[k] = static_cast<int64_t>(tensor->nb[k]);
    line("{\"id\": " + std::to_string(id) + ", \"kind\": \"" + kind + "\", \"name\": " + quoted(tensor->name) + ", \"op\": \"" + ggml_op_name(tensor->op) +
         "\", \"type\": " + quoted(ggml_type_name(tensor->type)) + ", \"ne\": " + numbers(tensor->ne) + ", \"nb\": " + numbers(nb) + ", \"params\": \"" +
         hex(tensor->op_params, sizeof tensor->op_params) + "\", \"flags\": " + std::to_string(tensor->flags) + ", \"src\": [" + sources + "]" + view +
         ", \"buffer\": " + quoted(buffer) + value + "}");
    return id;
  }

  // The memory of a tensor on the host, from its first byte to its last.
  const uint8_t *bytes_of(const ggml_tensor *tensor) {
    if (tensor->buffer != nullptr && ggml_backend_buffer_is_host(tensor->buffer)) return static_cast<const uint8_t *>(tensor->data);
    span_.resize(ggml_nbytes(tensor));
    ggml_backend_tensor_get(tensor, span_.data(), 0, span_.size());
    return span_.data();
  }

  // Puts the elements in order into `packed_`.
  void pack(const ggml_tensor *tensor) {
    const size_t row = ggml_row_size(tensor->type, tensor->ne[0]);
    const size_t item = ggml_type_size(tensor->type);
    packed_.resize(row * static_cast<size_t>(ggml_nrows(tensor)));
    if (packed_.empty()) return;
    const uint8_t *from = bytes_of(tensor);
    if (ggml_is_contiguous(tensor)) {
      std::memcpy(packed_.data(), from, packed_.size());
      return;
    }
    uint8_t *out = packed_.data();
    for (int64_t l = 0; l < tensor->ne[3]; l++)
      for (int64_t k = 0; k < tensor->ne[2]; k++)
        for (int64_t j = 0; j < tensor->ne[1]; j++, out += row) {
          const uint8_t *start = from + l * tensor->nb[3] + k * tensor->nb[2] + j * tensor->nb[1];
          if (tensor->nb[0] == item)
            std::memcpy(out, start, row);
          else
            for (int64_t i = 0; i < tensor->ne[0]; i++) std::memcpy(out + i * item, start + i * tensor->nb[0], item);
        }
  }

  // The same with the rows that a SET_ROWS has written, in the order of its source.
  void pack_rows(const ggml_tensor *tensor) {
    const ggml_tensor *source = tensor->src[0];
    const ggml_tensor *rows = tensor->src[1];
    const size_t size = ggml_row_size(tensor->type, tensor->ne[0]);
    packed_.resize(size * static_cast<size_t>(ggml_nrows(source)));
    const uint8_t *from = bytes_of(tensor);
    uint8_t *out = packed_.data();
    for (int64_t l = 0; l < source->ne[3]; l++)
      for (int64_t k = 0; k < source->ne[2]; k++)
        for (int64_t j = 0; j < source->ne[1]; j++, out += size) {
          const int64_t at = (l % rows->ne[2] * rows->ne[1] + k % rows->ne[1]) * rows->ne[0] + j;
          std::memcpy(out, from + l * tensor->nb[3] + k * tensor->nb[2] + static_cast<size_t>(rows_[static_cast<size_t>(at)]) * tensor->nb[1], size);
        }
  }

  // Before the node runs: the allocator may give the memory of the numbers to others.
  std::vector<int64_t> row_numbers(const ggml_tensor *tensor) {
    pack(tensor);
    std::vector<int64_t> found(static_cast<size_t>(ggml_nelements(tensor)));
    for (size_t k = 0; k < found.size(); k++)
      if (tensor->type == GGML_TYPE_I64)
        std::memcpy(&found[k], packed_.data() + 8 * k, 8);
      else {
        int32_t number = 0;
        std::memcpy(&number, packed_.data() + 4 * k, 4);
        found[k] = number;
      }
    return found;
  }

  bool is_zero() const {
    return std::all_of(packed_.begin(), packed_.end(), [](uint8_t byte) { return byte == 0; });
  }

  // Of all bytes of a state, so that what is written behind our back shows. Four lanes, as fast as memory is read.
  uint64_t sum_of(const ggml_tensor *tensor) {
    const size_t size = ggml_nbytes(tensor);
    const uint8_t *bytes = bytes_of(tensor);
    uint64_t lanes[4] = {1, 2, 3, 4};
    size_t at = 0;
    for (; at + 32 <= size; at += 32)
      for (int k = 0; k < 4; k++) {
        uint64_t word = 0;
        std::memcpy(&word, bytes + at + 8 * k, 8);
        lanes[k] = (lanes[k] ^ word) * 0x9e3779b97f4a7c15u;
        lanes[k] ^= lanes[k] >> 29;
      }
    for (; at < size; at++) lanes[0] = (lanes[0] ^ bytes[at]) * 0x100000001b3u;
    return lanes[0] ^ (lanes[1] * 3) ^ (lanes[2] * 5) ^ (lanes[3] * 7);
  }

  // Appends `packed_` to the values, and says where.
  std::string stored() {
    const std::string at = ", \"offset\": " + std::to_string(offset_) + ", \"bytes\": " + std::to_string(packed_.size());
    if (data_ != nullptr && std::fwrite(packed_.data(), 1, packed_.size(), data_) != packed_.size()) fail("cannot write: is the disk full?");
    offset_ += packed_.size();
    return at;
  }

  static std::string numbers(const int64_t *values) {
    std::string text = "[";
    for (int k = 0; k < GGML_MAX_DIMS; k++) text += (k == 0 ? "" : ", ") + std::to_string(values[k]);
    return text + "]";
  }

  static std::string hex(const void *bytes, size_t size) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = static_cast<const uint8_t *>(bytes);
    while (size > 0 && from[size - 1] == 0) size--;
    std::string text;
    for (size_t k = 0; k < size; k++) {
      text += digits[from[k] >> 4];
      text += digits[from[k] & 15];
    }
    return text;
  }

  // Values are flushed before the line that tells of them: what a run that crashes has computed can be imported.
  void line(const std::string &text) {
    if (index_ == nullptr || data_ == nullptr) return;
    if (std::fflush(data_) != 0 || std::fprintf(index_, "%s\n", text.c_str()) < 0 || std::fflush(index_) != 0)
      fail("cannot write: is the disk full?");
  }

  void fail(const std::string &what) {
    if (error_.empty()) error_ = "zayascope_recording: " + what;
  }

  static std::string quoted(const std::string &text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return out + "\"";
  }

  std::FILE *index_ = nullptr;
  std::FILE *data_ = nullptr;
  std::string error_;
  bool is_on_ = false;
  bool is_begun_ = false;
  int64_t left_ = 0;  // tokens of the batch that no graph has had
  std::map<llama_seq_id, int64_t> next_positions_;
  int64_t graph_ = -1;
  int64_t next_id_ = 0;
  std::unordered_map<const ggml_tensor *, int64_t> weights_;
  std::unordered_map<const ggml_tensor *, state> states_;
  std::unordered_map<const ggml_tensor *, int64_t> ids_;  // of this graph
  std::set<std::string> inputs_;                          // of this graph: those of token ids, positions
  std::vector<int64_t> rows_;                             // where a SET_ROWS writes
  uint64_t offset_ = 0;
  std::vector<uint8_t> span_;
  std::vector<uint8_t> packed_;
};

}  // namespace zayascope
