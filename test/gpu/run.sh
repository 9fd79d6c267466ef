#!/usr/bin/env bash
# One call on a machine with an NVIDIA GPU does all that needs one: which ops run, conformance of each against double precision, the tiny model op by op against the CPU, the cost
# of capturing, prefill and decode of the full-size synthetic model. Needs what the README asks for, the NVIDIA driver, and either network or the CUDA toolkit. Prints the card's name
# first; ends with 0 if every part passed. Reports go to out/gpu.
#
#   test/gpu/run.sh [--backend cuda]        vulkan works too
set -euo pipefail
cd "$(dirname "$0")/../.."

backend=cuda
[ "${1:-}" = --backend ] && backend=$2
zayascope=(node dist/cli/main.js)
out=out/gpu
tiny=(--model dumps/tiny/model --tokens-file dumps/tiny/prompt.json)
mkdir -p "$out"

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || {
  echo "run.sh: expected an NVIDIA GPU and its driver (nvidia-smi), got none" >&2
  exit 2
}
[ -d node_modules ] || npm ci
npm run --silent prepare

has_device() {
  node --input-type=module -e '
    import { openBackend } from "./dist/graph/backend.js";
    try { openBackend(process.argv[1]).close(); } catch (error) { console.error(error.message); process.exit(1); }
  ' "$backend"
}
if ! has_device; then
  version=$(node -p 'require("./package.json").optionalDependencies["@node-llama-cpp/linux-x64"]')
  if ! npm install --no-save "@node-llama-cpp/linux-x64-$backend@$version" || ! has_device; then
    # The source that the addon's headers are from.
    ZAYASCOPE_GGML=source ZAYASCOPE_CMAKE_OPTIONS=GGML_CUDA=ON npm run build:native
    has_device
  fi
fi

failed=()
part() {
  echo
  echo "== $1"
  shift
  "$@" || failed+=("$*")
}
part 'ops of the model on the device' "${zayascope[@]}" doctor --model dumps/tiny/model --backend "$backend"
part 'conformance, as the device computes' "${zayascope[@]}" conformance --backend "$backend" --model dumps/tiny/model
part 'conformance, strict F32' "${zayascope[@]}" conformance --backend "$backend" --model dumps/tiny/model --strict-f32
part 'the tiny model against the CPU, strict F32' \
  "${zayascope[@]}" compare "${tiny[@]}" --backends "cpu,$backend" --strict-f32 --out "$out/strict"
part 'the tiny model against PyTorch' \
  "${zayascope[@]}" diff dumps/tiny/reference-float32 "$out/strict/$backend" --fail-above 1e-10
part 'where the device parts by itself (a report, no gate)' \
  "${zayascope[@]}" compare "${tiny[@]}" --backends "cpu,$backend" --fail-above 1e-3 --out "$out/loose"
part 'capturing changes no bit' "${zayascope[@]}" capture "${tiny[@]}" --backend "$backend" --prove
part 'what capturing costs' node test/bench/run.mjs device --backend "$backend" --tokens 128
part 'full size, BF16' node test/bench/run.mjs full-size --backend "$backend" --type bf16
part 'full size, Q8_0' node test/bench/run.mjs full-size --backend "$backend" --type q8_0

echo
if [ "${#failed[@]}" -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo 'all parts passed'
