// Evaluates tokens with libllama and records every node.
//
//     record MODEL.gguf FOLDER ID ID ID...
//
// Words among the ids, as requests to a server with slots: `,` begins another slot of the same batch, `.` another batch, `!` another batch that is not
// recorded, `~N` before a batch empties slot N. A slot goes on where it was. Prints the likeliest token after each slot of a batch, and its logit.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "zayascope_recording.h"

// Tokens of one call, each of a slot, and what happens before it.
struct call {
  std::vector<std::pair<llama_token, llama_seq_id>> tokens;
  std::vector<llama_seq_id> emptied;
  bool is_recorded = true;
};

static bool evaluate(llama_context *context, zayascope::recording &recording, const call &given, std::vector<llama_pos> &reached) {
  for (const llama_seq_id slot : given.emptied) {
    llama_memory_seq_rm(llama_get_memory(context), slot, -1, -1);
    reached[slot] = 0;
  }
  const int32_t count = static_cast<int32_t>(given.tokens.size());
  llama_batch batch = llama_batch_init(count, 0, 1);
  batch.n_tokens = count;
  for (int32_t i = 0; i < count; i++) {
    batch.token[i] = given.tokens[i].first;
    batch.pos[i] = reached[given.tokens[i].second]++;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = given.tokens[i].second;
    batch.logits[i] = i + 1 == count || given.tokens[i + 1].second != given.tokens[i].second;  // of the last token of each slot
  }
  if (given.is_recorded) recording.begin(batch);
  const bool succeeded = llama_decode(context, batch) == 0;
  const int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
  for (int32_t i = 0; succeeded && i < count; i++) {
    if (batch.logits[i] == 0) continue;
    const float *logits = llama_get_logits_ith(context, i);
    const auto best = std::max_element(logits, logits + vocabulary) - logits;
    std::printf("%d %.9g\n", static_cast<int>(best), logits[best]);
  }
  llama_batch_free(batch);
  return succeeded;
}

int main(int argc, char **argv) {
  std::vector<call> calls(1);
  llama_seq_id slot = 0, slots = 1;
  for (int i = 3; i < argc; i++) {
    if (std::strcmp(argv[i], ".") == 0 || std::strcmp(argv[i], "!") == 0) {
      calls.emplace_back();
      calls.back().is_recorded = argv[i][0] == '.';
      slot = 0;
    } else if (std::strcmp(argv[i], ",") == 0) {
      slots = std::max(slots, ++slot + 1);
    } else if (argv[i][0] == '~') {
      calls.back().emptied.push_back(std::atoi(argv[i] + 1));
    } else {
      calls.back().tokens.push_back({std::atoi(argv[i]), slot});
    }
  }
  if (argc < 4 || calls.back().tokens.empty()) {
    std::fprintf(stderr, "usage: record MODEL.gguf FOLDER ID ID...\n");
    return 2;
  }
  ggml_backend_load_all();
  llama_model_params model_params = llama_model_default_params();
  model_params.use_extra_bufts = false;  // a replay multiplies weights as the file has them
  llama_model *model = llama_model_load_from_file(argv[1], model_params);
  if (model == nullptr) return 1;
  zayascope::recording recording(argv[2]);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 64 * slots;
  params.n_seq_max = slots;
  params.kv_unified = true;  // as llama-server has it
  params.n_ubatch = 8;       // longer batches are computed as several graphs, each a step of the recording
  params.n_threads = params.n_threads_batch = 1;
  params.cb_eval = zayascope::recording::callback;
  params.cb_eval_user_data = &recording;
  llama_context *context = llama_init_from_model(model, params);
  if (context == nullptr) return 1;
  recording.about(context);
  std::vector<llama_pos> reached(slots, 0);
  bool succeeded = true;
  for (const call &each : calls) succeeded = succeeded && evaluate(context, recording, each, reached);
  if (!recording.finish()) std::fprintf(stderr, "%s\n", recording.error().c_str());
  succeeded = succeeded && recording.error().empty();
  llama_free(context);
  llama_model_free(model);
  return succeeded ? 0 : 1;
}
