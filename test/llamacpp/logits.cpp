// Logits of every token of a prompt by libllama. Arguments: a GGUF file, token ids. Output: F32 [tokens, vocabulary] as numbers, a token a line.
#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char ** argv) {
    if (argc < 3) {
        return 2;
    }
    llama_backend_init();
    ggml_backend_load(std::getenv("GGML_BACKEND_PATH"));
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == nullptr) {
        return 1;
    }
    const int count = argc - 2;
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_batch = 512;
    params.n_threads = 1;
    params.type_k = GGML_TYPE_F32;
    params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (context == nullptr) {
        return 3;
    }
    llama_batch batch = llama_batch_init(count, 0, 1);
    batch.n_tokens = count;
    for (int at = 0; at < count; at++) {
        batch.token[at] = std::atoi(argv[at + 2]);
        batch.pos[at] = at;
        batch.n_seq_id[at] = 1;
        batch.seq_id[at][0] = 0;
        batch.logits[at] = 1;
    }
    if (llama_decode(context, batch) != 0) {
        return 4;
    }
    const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int at = 0; at < count; at++) {
        const float * logits = llama_get_logits_ith(context, at);
        for (int id = 0; id < vocabulary; id++) {
            std::printf(id == 0 ? "%.9g" : " %.9g", logits[id]);
        }
        std::printf("\n");
    }
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
    return 0;
}
