import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describePart } from '../../describe-place.js';
import { openRegularFile } from '../../regular-file.js';
import { ioError } from '../../weights/file-access.js';
import { type SniffedFile, sniffFile, wrongKind } from '../../weights/formats/file-kind.js';
import { isPytorchArchive } from '../../weights/formats/pytorch.js';
import { readZipDirectory } from '../../weights/formats/zip.js';
import { type ForeignSource, importError } from './foreign.js';
import type { RawDtype } from './raw-dtype.js';
import { LLAMACPP_INDEX, openLlamacppSource } from './source-llamacpp.js';
import { type NumpyOptions, openNpy, openNpyFolder, openNpz } from './source-numpy.js';
import { openPytorchSource } from './source-pytorch.js';
import { openRawLogits, openTextLogits } from './source-raw.js';
import { openSafetensorsSource } from './source-safetensors.js';

const OP = 'importDump';
const EXPECTED =
  "a safetensors, .npy, .npz or PyTorch file, raw F32 logits (.bin) or the scripts' text of them, or a folder";

/** How a source is read. */
export interface OpenSourceOptions extends NumpyOptions {
  /** Logits of one token in a raw file that holds several tokens'. Default: the file is one token's. */
  vocabulary?: number;
  /** What a raw file holds. Default: F32, unless its bits show something else, which is refused. */
  rawDtype?: RawDtype;
  /**
   * Tokens of each sequence of the only batch of a llama.cpp folder, where the header did not record
   * sequences. Default: one sequence.
   */
  sequences?: readonly number[];
}

/**
 * Opens values of another program, by what the path holds, whatever its name: a safetensors, `.npy` or `.npz`
 * file, one of `torch.save`, raw F32 logits (which nothing marks) or the text that llama.cpp's scripts write
 * beside them; a folder that a llama.cpp port wrote (`index.jsonl`), or a folder of `.npy` files. Throws
 * `BAD_ARGUMENT` for anything else, saying what it is, and what the readers of each throw.
 */
export async function openForeignSource(
  path: string,
  options: OpenSourceOptions = {},
): Promise<ForeignSource> {
  const found = await stat(path).catch((cause: unknown) => {
    throw ioError(OP, 'a file or folder', path, cause);
  });
  if (found.isDirectory()) {
    const isLlamacpp = await stat(join(path, LLAMACPP_INDEX)).then(
      () => true,
      () => false,
    );
    if (isLlamacpp) return openLlamacppSource(path, options.sequences);
    refuseSequences(options, path);
    return openNpyFolder(path, options);
  }
  const part = await describePart(path);
  if (part !== undefined) throw importError('BAD_ARGUMENT', EXPECTED, part, path);
  refuseSequences(options, path);
  const file = await sniffFile(OP, path);
  switch (file.kind) {
    case 'safetensors':
      return openSafetensorsSource(path);
    case 'npy':
      return openNpy(path, options);
    case 'zip':
      return (await isPytorch(path, file)) ? openPytorchSource(path) : openNpz(path, options);
    case 'logits text':
      return openTextLogits(path);
    case 'binary':
      refuseName(path, file);
      return openRawLogits(path, file.sizeBytes, options.vocabulary, options.rawDtype);
    case 'llama-perplexity':
      throw wrongKind(
        'BAD_ARGUMENT',
        OP,
        EXPECTED,
        { ...file, advice: 'they are no logits; verify-logits compares them' },
        path,
      );
    case 'gguf':
      throw wrongKind(
        'BAD_ARGUMENT',
        OP,
        EXPECTED,
        { ...file, advice: 'diff-weights and inspect read a model' },
        path,
      );
    default:
      throw wrongKind('BAD_ARGUMENT', OP, EXPECTED, file, path);
  }
}

function refuseSequences({ sequences }: OpenSourceOptions, path: string): void {
  if (sequences !== undefined)
    throw importError(
      'BAD_ARGUMENT',
      'a folder of a llama.cpp port with --sequences',
      'another source',
      path,
    );
}

/** A file without a mark cannot be what a name with a marked format says. */
function refuseName(path: string, file: SniffedFile): void {
  if (/\.(safetensors|npy|npz|pt|pth|gguf|arrow|json|txt|zip|gz|pkl|pickle)$/i.test(path))
    throw wrongKind(
      'BAD_ARGUMENT',
      OP,
      `what its name says, ${path.slice(path.lastIndexOf('.'))}`,
      file,
      path,
    );
}

async function isPytorch(path: string, { sizeBytes }: SniffedFile): Promise<boolean> {
  const handle = await openRegularFile(path).catch((cause: unknown) => {
    throw ioError(OP, 'a readable file', path, cause);
  });
  try {
    return isPytorchArchive(
      await readZipDirectory({ op: OP, code: 'BAD_DUMP', handle, fileBytes: sizeBytes, file: path }),
    );
  } finally {
    await handle.close();
  }
}
