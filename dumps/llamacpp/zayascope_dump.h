// Writes the values of a llama.cpp graph into a folder that `zayascope import` reads. One header, C++17, no dependency beyond ggml and llama.h.
//
//     zayascope::dump dump("out/llamacpp");              // or: dump("out/llamacpp", {"Qcur-*", "*residual*"})
//     context_params.cb_eval = zayascope::dump::callback;
//     context_params.cb_eval_user_data = &dump;
//     ...
//     dump.begin(batch);                                 // before every llama_decode
//     llama_decode(context, batch);
//     ...
//     if (!dump.finish()) fprintf(stderr, "%s\n", dump.error().c_str());
//
// Each sequence begins at position 0. Values that are computed before the first `begin`, such as a warm-up run's, are not written. Ask for the
// logits of every token (`batch.logits`), or llama.cpp drops the other rows from the last block on. With several sequences set
// `context_params.kv_unified = false`, or their cache positions lie in one row and attention weights cannot be told apart.
//
// The folder gets two files:
//   tensors.bin   the values one after the other, contiguous, little-endian, dtypes kept; quantised values as F32
//   index.jsonl   a line of JSON per event: the format first, then a batch (tokens, positions, sequences, outputs), a graph (ubatch) with
//                 its rows and tokens, its positions once an op reads them, a value
//                 {"name", "graph", "type", "ne" (ggml's order: fastest first), "offset" in tensors.bin}, finally {"finished": true}
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"

namespace zayascope {

class dump {
 public:
  // Creates the folder and its files. `patterns`: globs of names to write, `*` standing for anything. Without any, every value that llama.cpp
  // names itself: not ggml's own `node_7`, nor views, `Qcur-0 (reshaped)`. A failure shows in `error()`, and nothing is written then.
  explicit dump(const std::string &folder, std::vector<std::string> patterns = {}) : patterns_(std::move(patterns)) {
    std::error_code code;
    std::filesystem::create_directories(folder, code);
    index_ = std::fopen((folder + "/index.jsonl").c_str(), "wb");
    data_ = std::fopen((folder + "/tensors.bin").c_str(), "wb");
    if (index_ == nullptr || data_ == nullptr) fail("cannot write into " + folder);
    line("{\"format\": \"zayascope-llamacpp\", \"version\": 1, \"system\": " + quoted(llama_print_system_info()) + "}");
  }

  ~dump() {
    if (index_ != nullptr) std::fclose(index_);
    if (data_ != nullptr) std::fclose(data_);
  }

  dump(const dump &) = delete;
  dump &operator=(const dump &) = delete;

  // The batch of the next `llama_decode`: tokens, positions, sequences, and which logits are asked for. A token belongs to one sequence.
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
    started_ = true;
    first_node_.clear();
  }

  // The same for a batch of one sequence with logits of every token. `position`: of the first one in the sequence; -1: after those of the batches before.
  void begin(const llama_token *tokens, size_t count, int64_t position = -1) {
    int64_t &next = next_positions_[0];
    if (position < 0) position = next;
    next = position + static_cast<int64_t>(count);
    std::string ids;
    for (size_t i = 0; i < count; i++) ids += (i == 0 ? "" : ", ") + std::to_string(tokens[i]);
    line("{\"position\": " + std::to_string(position) + ", \"tokens\": [" + ids + "]}");
    started_ = true;
    first_node_.clear();
  }

  // The callback: ggml asks for each node whether it is wanted (`ask`), then hands it over once it is computed.
  static bool callback(ggml_tensor *tensor, bool ask, void *user_data) {
    dump &self = *static_cast<dump *>(user_data);
    if (!self.started_ || !self.error_.empty()) return !ask;
    if (ask) {
      self.watch_graph(tensor);
      self.watch_positions(tensor);
      return self.wants(tensor->name);
    }
    self.write(tensor);
    return true;
  }

  // Completes the files. False if anything failed: see `error`.
  bool finish() {
    line("{\"finished\": true}");
    for (std::FILE **file : {&index_, &data_}) {
      if (*file != nullptr && std::fclose(*file) != 0) fail("cannot write: is the disk full?");
      *file = nullptr;
    }
    started_ = false;
    return error_.empty();
  }

  const std::string &error() const { return error_; }

 private:
  // A batch may be computed as several graphs, one per ubatch. A new one has begun when the node comes up that was asked for first.
  void watch_graph(const ggml_tensor *tensor) {
    if (first_node_.empty()) first_node_ = tensor->name;
    if (first_node_ != tensor->name) return;
    graph_++;
    rows_ = tensor->ne[1];
    knows_positions_ = false;
    // The first node looks up the rows of the token ids, in the order of this ubatch.
    const std::string tokens = tensor->op == GGML_OP_GET_ROWS ? integers(tensor->src[1]) : "";
    line("{\"graph\": " + std::to_string(graph_) + ", \"rows\": " + std::to_string(rows_) +
         (tokens.empty() ? "" : ", \"tokens\": " + tokens) + "}");
  }

  // RoPE reads the positions of the ubatch, which tell its sequences apart.
  void watch_positions(const ggml_tensor *tensor) {
    if (knows_positions_ || tensor->op != GGML_OP_ROPE) return;
    const std::string positions = integers(tensor->src[1]);
    if (positions.empty()) return;
    knows_positions_ = true;
    line("{\"graph\": " + std::to_string(graph_) + ", \"positions\": " + positions + "}");
  }

  // An input of one integer a row as JSON; empty for anything else.
  std::string integers(const ggml_tensor *tensor) {
    if (tensor == nullptr || tensor->type != GGML_TYPE_I32 || tensor->ne[0] != rows_ || ggml_nelements(tensor) != rows_ ||
        !ggml_is_contiguous(tensor) || (tensor->buffer == nullptr && tensor->data == nullptr))
      return "";
    std::vector<int32_t> values(static_cast<size_t>(rows_));
    ggml_backend_tensor_get(tensor, values.data(), 0, values.size() * sizeof(int32_t));
    std::string text = "[";
    for (size_t i = 0; i < values.size(); i++) text += (i == 0 ? "" : ", ") + std::to_string(values[i]);
    return text + "]";
  }

  bool wants(const std::string &name) const {
    if (name.empty()) return false;
    if (patterns_.empty()) {
      // ggml cuts long names: a view of a view may have lost its closing bracket.
      const bool is_view = name.back() == ')' || (name.size() == GGML_MAX_NAME - 1 && name.find(" (") != std::string::npos);
      return name.compare(0, 5, "node_") != 0 && name.compare(0, 5, "leaf_") != 0 && !is_view;
    }
    return std::any_of(patterns_.begin(), patterns_.end(),
                       [&](const std::string &pattern) { return matches(pattern.c_str(), name.c_str()); });
  }

  static bool matches(const char *pattern, const char *name) {
    if (*pattern == '*') return matches(pattern + 1, name) || (*name != '\0' && matches(pattern, name + 1));
    if (*pattern == '\0' || *name == '\0') return *pattern == *name;
    return *pattern == *name && matches(pattern + 1, name + 1);
  }

  void write(const ggml_tensor *tensor) {
    if (ggml_nelements(tensor) == 0) return;
    const char *type = type_name(tensor->type);
    const ggml_to_float_t to_float = ggml_get_type_traits(tensor->type)->to_float;
    const bool quantized = ggml_is_quantized(tensor->type);
    if (type == nullptr && !(quantized && to_float != nullptr)) {
      line("{\"skipped\": " + quoted(tensor->name) + ", \"note\": \"no reader for " + ggml_type_name(tensor->type) + "\"}");
      return;
    }
    // The span of a view may be larger than its elements: it is fetched whole, from whatever device, and read by its strides.
    span_.resize(ggml_nbytes(tensor));
    ggml_backend_tensor_get(tensor, span_.data(), 0, span_.size());
    const int64_t *ne = tensor->ne;
    const size_t *nb = tensor->nb;
    const size_t element = quantized ? sizeof(float) : ggml_type_size(tensor->type);
    packed_.resize(static_cast<size_t>(ggml_nelements(tensor)) * element);
    uint8_t *out = packed_.data();
    for (int64_t i3 = 0; i3 < ne[3]; i3++)
      for (int64_t i2 = 0; i2 < ne[2]; i2++)
        for (int64_t i1 = 0; i1 < ne[1]; i1++, out += static_cast<size_t>(ne[0]) * element) {
          const uint8_t *row = span_.data() + i1 * nb[1] + i2 * nb[2] + i3 * nb[3];
          if (quantized)
            to_float(row, reinterpret_cast<float *>(out), ne[0]);
          else if (nb[0] == element)
            std::memcpy(out, row, static_cast<size_t>(ne[0]) * element);
          else
            for (int64_t i0 = 0; i0 < ne[0]; i0++) std::memcpy(out + i0 * element, row + i0 * nb[0], element);
        }
    if (std::fwrite(packed_.data(), 1, packed_.size(), data_) != packed_.size()) return fail("cannot write: is the disk full?");
    std::string sizes;
    for (int axis = 0; axis < GGML_MAX_DIMS; axis++) sizes += (axis == 0 ? "" : ", ") + std::to_string(ne[axis]);
    const std::string note = quantized ? std::string(", \"note\": \"dequantised from ") + ggml_type_name(tensor->type) + "\"" : "";
    line("{\"name\": " + quoted(tensor->name) + ", \"graph\": " + std::to_string(graph_) + ", \"type\": \"" + (quantized ? "F32" : type) +
         "\", \"ne\": [" + sizes + "], \"offset\": " + std::to_string(offset_) + note + "}");
    offset_ += packed_.size();
  }

  static const char *type_name(ggml_type type) {
    switch (type) {
      case GGML_TYPE_F32: return "F32";
      case GGML_TYPE_F16: return "F16";
      case GGML_TYPE_BF16: return "BF16";
      case GGML_TYPE_F64: return "F64";
      case GGML_TYPE_I8: return "I8";
      case GGML_TYPE_I16: return "I16";
      case GGML_TYPE_I32: return "I32";
      case GGML_TYPE_I64: return "I64";
      default: return nullptr;
    }
  }

  // Every line is flushed: what a run that crashes has computed can be imported.
  void line(const std::string &text) {
    if (index_ == nullptr || data_ == nullptr) return;
    if (std::fflush(data_) != 0 || std::fprintf(index_, "%s\n", text.c_str()) < 0 || std::fflush(index_) != 0)
      fail("cannot write: is the disk full?");
  }

  void fail(const std::string &what) {
    if (error_.empty()) error_ = "zayascope_dump: " + what;
  }

  static std::string quoted(const std::string &text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return out + "\"";
  }

  std::vector<std::string> patterns_;
  std::FILE *index_ = nullptr;
  std::FILE *data_ = nullptr;
  std::string error_;
  std::string first_node_;
  bool started_ = false;
  std::map<llama_seq_id, int64_t> next_positions_;
  int64_t graph_ = -1;
  int64_t rows_ = 0;
  bool knows_positions_ = false;
  uint64_t offset_ = 0;
  std::vector<uint8_t> span_;
  std::vector<uint8_t> packed_;
};

}  // namespace zayascope
