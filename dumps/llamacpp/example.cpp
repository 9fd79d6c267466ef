// Evaluates tokens with libllama and dumps every named value.
//
//     example MODEL.gguf FOLDER ID ID ID...
//
// `,` among the ids begins another sequence, `.` another batch, which goes on with the first sequence. Prints the most likely next token of each token and its logit.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "zayascope_dump.h"

// A token of a batch, and its sequence.
struct fed {
  llama_token token;
  llama_seq_id sequence;
};

static bool evaluate(llama_context *context, zayascope::dump &dump, const std::vector<fed> &tokens, std::vector<llama_pos> &reached) {
  const int32_t count = static_cast<int32_t>(tokens.size());
  llama_batch batch = llama_batch_init(count, 0, 1);
  batch.n_tokens = count;
  for (int32_t i = 0; i < count; i++) {
    batch.token[i] = tokens[i].token;
    batch.pos[i] = reached[tokens[i].sequence]++;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = tokens[i].sequence;
    batch.logits[i] = true;  // or llama.cpp computes the last block for the last token only
  }
  dump.begin(batch);
  const bool succeeded = llama_decode(context, batch) == 0;
  const int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
  for (int32_t i = 0; succeeded && i < count; i++) {
    const float *logits = llama_get_logits_ith(context, i);
    const auto best = std::max_element(logits, logits + vocabulary) - logits;
    std::printf("%d %.9g\n", static_cast<int>(best), logits[best]);
  }
  llama_batch_free(batch);
  return succeeded;
}

int main(int argc, char **argv) {
  std::vector<std::vector<fed>> batches(1);
  llama_seq_id sequence = 0, sequences = 1;
  for (int i = 3; i < argc; i++) {
    if (std::strcmp(argv[i], ".") == 0) {
      batches.emplace_back();
      sequence = 0;
    } else if (std::strcmp(argv[i], ",") == 0) {
      sequences = std::max(sequences, ++sequence + 1);
    } else {
      batches.back().push_back({std::atoi(argv[i]), sequence});
    }
  }
  if (argc < 4 || batches.back().empty()) {
    std::fprintf(stderr, "usage: example MODEL.gguf FOLDER ID ID...\n");
    return 2;
  }
  ggml_backend_load_all();
  llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) return 1;
  zayascope::dump dump(argv[2]);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 512 * sequences;
  params.n_seq_max = sequences;
  params.kv_unified = false;                               // each sequence has cache positions of its own
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;  // a fused attention shows no attention weights
  // Threads that wait for each other at every node should have a core each.
  params.n_threads = params.n_threads_batch = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 2);
  params.cb_eval = zayascope::dump::callback;
  params.cb_eval_user_data = &dump;
  params.n_ubatch = 64;  // longer batches are computed as several graphs, each a step of the dump
  llama_context *context = llama_init_from_model(model, params);
  if (context == nullptr) return 1;
  std::vector<llama_pos> reached(sequences, 0);
  bool succeeded = true;
  for (const std::vector<fed> &batch : batches) succeeded = succeeded && evaluate(context, dump, batch, reached);
  if (!dump.finish()) std::fprintf(stderr, "%s\n", dump.error().c_str());
  succeeded = succeeded && dump.error().empty();
  llama_free(context);
  llama_model_free(model);
  return succeeded ? 0 : 1;
}
