import { ZayascopeError } from '../errors.js';
import { printableLine } from '../printable.js';

/** An error as the command line tells it: with `--json` as a document, else as a line. */
export interface DescribedError {
  /** That of a `ZayascopeError`; `IO` for what the system refused, `UNEXPECTED` for anything else. */
  code: string;
  message: string;
  op?: string | undefined;
  tensor?: string | undefined;
  shapes?: readonly (readonly number[])[] | undefined;
  dtypes?: readonly string[] | undefined;
}

/** Any error as a code and a sentence: no stack reaches the user. */
export function describeError(error: unknown): DescribedError {
  if (error instanceof ZayascopeError) {
    const { code, message, op, tensor, shapes, dtypes } = error;
    return { code, message, op, tensor, shapes, dtypes };
  }
  if (error instanceof RangeError && /call stack/i.test(error.message))
    return {
      code: 'UNEXPECTED',
      message: 'expected input that is nested less deeply, got one that exhausts the stack; please report it',
    };
  if (!(error instanceof Error))
    return { code: 'UNEXPECTED', message: `expected no failure, got ${String(error)}; please report it` };
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (typeof code === 'string' && typeof syscall === 'string') {
    const isFull = code === 'EMFILE' || code === 'ENFILE';
    return { code: 'IO', message: `${error.message}${isFull ? '; raise the limit (ulimit -n)' : ''}` };
  }
  return {
    code: 'UNEXPECTED',
    message: `expected no failure, got ${error.name}: ${error.message}; please report it`,
  };
}

/** The line, with its end. */
export function errorLine({ code, message }: DescribedError): string {
  const lines = message.split('\n').map((line) => line.trim());
  return `zayascope: ${code}: ${printableLine(lines.filter((line) => line !== '').join(' '))}\n`;
}
