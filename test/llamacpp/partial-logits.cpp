// Evaluates batches of several sequences, asks for the logits of some tokens only, and dumps.
//
//     partial-logits MODEL.gguf FOLDER
//
// Standard input has lines of `SEQUENCE TOKEN WANTED`, an empty one after each batch. Prints `SEQUENCE POSITION
// LOGIT...` of each wanted token, as libllama gives them.
#include <cstdio>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "zayascope_dump.h"

struct fed {
  llama_seq_id sequence;
  llama_token token;
  bool wanted;
};

static bool evaluate(llama_context *context, zayascope::dump &dump, const std::vector<fed> &tokens,
                     std::map<llama_seq_id, llama_pos> &reached) {
  const int32_t count = static_cast<int32_t>(tokens.size());
  llama_batch batch = llama_batch_init(count, 0, 1);
  batch.n_tokens = count;
  for (int32_t i = 0; i < count; i++) {
    batch.token[i] = tokens[i].token;
    batch.pos[i] = reached[tokens[i].sequence]++;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = tokens[i].sequence;
    batch.logits[i] = tokens[i].wanted;
  }
  dump.begin(batch);
  const bool succeeded = llama_decode(context, batch) == 0;
  const int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
  for (int32_t i = 0; succeeded && i < count; i++) {
    if (!tokens[i].wanted) continue;
    std::printf("%d %d", tokens[i].sequence, batch.pos[i]);
    const float *logits = llama_get_logits_ith(context, i);
    for (int32_t k = 0; k < vocabulary; k++) std::printf(" %.9g", logits[k]);
    std::printf("\n");
  }
  llama_batch_free(batch);
  return succeeded;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  std::vector<std::vector<fed>> batches(1);
  for (std::string line; std::getline(std::cin, line);) {
    if (line.empty()) {
      batches.emplace_back();
      continue;
    }
    fed next{};
    std::istringstream(line) >> next.sequence >> next.token >> next.wanted;
    batches.back().push_back(next);
  }
  ggml_backend_load_all();
  llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) return 1;
  zayascope::dump dump(argv[2]);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 512 * 3;
  params.n_seq_max = 3;
  params.kv_unified = false;
  params.n_ubatch = 8;
  params.n_threads = params.n_threads_batch = 1;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.cb_eval = zayascope::dump::callback;
  params.cb_eval_user_data = &dump;
  llama_context *context = llama_init_from_model(model, params);
  if (context == nullptr) return 1;
  std::map<llama_seq_id, llama_pos> reached;
  bool succeeded = true;
  for (const std::vector<fed> &batch : batches)
    if (!batch.empty()) succeeded = succeeded && evaluate(context, dump, batch, reached);
  if (!dump.finish()) std::fprintf(stderr, "%s\n", dump.error().c_str());
  succeeded = succeeded && dump.error().empty();
  llama_free(context);
  llama_model_free(model);
  return succeeded ? 0 : 1;
}
