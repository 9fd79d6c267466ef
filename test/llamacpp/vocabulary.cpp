// Tokenises with libllama's own vocabulary. Arguments: a GGUF file, of which only the vocabulary is loaded. Standard input: one text a line,
// its bytes in hexadecimal. Output, two lines a text: token ids with special tokens, and the bytes of their pieces in hexadecimal.
#include <llama.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

static std::string unhex(const std::string & digits) {
    std::string bytes;
    for (size_t at = 0; at + 1 < digits.size(); at += 2) {
        bytes.push_back(static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16)));
    }
    return bytes;
}

int main(int argc, char ** argv) {
    if (argc != 2) {
        return 2;
    }
    llama_backend_init();
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    llama_model * model = llama_model_load_from_file(argv[1], params);
    if (model == nullptr) {
        return 1;
    }
    const llama_vocab * vocab = llama_model_get_vocab(model);
    std::string line;
    while (std::getline(std::cin, line)) {
        const std::string text = unhex(line);
        std::vector<llama_token> ids(text.size() * 4 + 16);
        const int count = llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), ids.data(),
                                         static_cast<int32_t>(ids.size()), true, true);
        if (count < 0) {
            return 3;
        }
        std::string pieces;
        for (int at = 0; at < count; at++) {
            std::printf(at == 0 ? "%d" : " %d", ids[at]);
            std::vector<char> piece(256);
            const int size = llama_token_to_piece(vocab, ids[at], piece.data(), 256, 0, true);
            if (size < 0) {
                return 4;
            }
            pieces.append(piece.data(), static_cast<size_t>(size));
        }
        std::printf("\n");
        for (const char byte : pieces) {
            std::printf("%02x", static_cast<unsigned char>(byte));
        }
        std::printf("\n");
    }
    llama_model_free(model);
    return 0;
}
