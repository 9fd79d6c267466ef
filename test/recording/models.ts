/** Random models of architectures that libllama knows, made by libllama itself (`random-model.cpp`). */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileProgram, runProgram } from '../llamacpp/libllama.js';

/** Architectures whose nodes were all replayed bit for bit when issue and page were written, and one more. */
export const ARCHITECTURES = (
  'llama qwen3 qwen3moe qwen35 qwen35moe qwen3next deepseek2 gemma2 gemma3 gpt-oss mamba mamba2 lfm2 lfm2moe ' +
  'kimi-linear jamba nemotron_h falcon-h1 granitehybrid glm4 glm4moe olmo2 cohere2 minimax-m2 dots1 smollm3 ' +
  'hunyuan-moe bailingmoe2 starcoder2 mistral3'
).split(' ');

/** Those with experts, and more that the other tests leave out. */
export const MIXTURES = (
  'qwen3moe qwen35moe qwen3next deepseek2 gpt-oss lfm2moe kimi-linear granitehybrid glm4moe minimax-m2 dots1 ' +
  'hunyuan-moe bailingmoe2 mixtral olmoe granitemoe qwen2moe phimoe grok arctic'
).split(' ');

/** `llama_ftype`s that weights are quantised to. */
export const FILE_TYPES = { F16: 1, BF16: 32, Q8_0: 7, Q4_K_M: 15 } as const;

/** The tokens of a prompt of 24, below every vocabulary's size. */
export const PROMPT = Array.from({ length: 24 }, (_, k) => (k * 7 + 3) % 250);

/** A compiled `random-model`, in a folder of its own. */
export async function modelMaker(): Promise<{
  folder: string;
  make: (architecture: string, type?: keyof typeof FILE_TYPES, width?: number) => string;
}> {
  const folder = mkdtempSync(join(tmpdir(), 'zayascope-recording-'));
  const program = join(folder, 'random-model');
  await compileProgram(join(import.meta.dirname, 'random-model.cpp'), program);
  const make = (architecture: string, type?: keyof typeof FILE_TYPES, width?: number): string => {
    const file = join(folder, `${architecture}-${type ?? 'F32'}.gguf`);
    const args = [architecture, file, type === undefined ? '0' : String(FILE_TYPES[type])];
    if (width !== undefined) args.push(String(width));
    const { status, stderr } = runProgram(program, args);
    if (status !== 0) throw new Error(`random-model ${args.join(' ')} ended with ${status}: ${stderr}`);
    return file;
  };
  return { folder, make };
}

/** Runs Python that prints JSON. */
export function python<T>(interpreter: string, code: string, args: readonly string[]): T {
  return JSON.parse(execFileSync(interpreter, ['-c', code, ...args], { encoding: 'utf8' })) as T;
}
