/** Runs notebooks with the real kernel. */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

const root = join(import.meta.dirname, '..', '..');

/** Folder of the notebooks: the working directory of their kernel. */
export const notebooksFolder = join(root, 'notebooks');

/** What came of a notebook. */
export interface NotebookRun {
  name: string;
  seconds: number;
  /** The error that stopped it, a TypeScript diagnostic included; null: it ran to its end. */
  error: string | null;
  stderr: string;
  /** All that it shows but figures, blanks made one. */
  text: string;
  /** Every figure that it showed, as plotly takes it. */
  figures: PlotlyFigure[];
  /** File of its export to HTML. */
  page: string;
}

/** A figure in plotly's own format. */
export interface PlotlyFigure {
  data: Record<string, unknown>[];
  layout: { title?: { text?: string } };
}

/** Names of the notebooks, without the ending. */
export function notebookNames(): string[] {
  return readdirSync(notebooksFolder)
    .filter((file) => /^\d\d-.*\.ipynb$/.test(file))
    .map((file) => file.slice(0, -'.ipynb'.length))
    .sort();
}

/** What came of notebooks, and of drafts: the error that stopped each, or null. */
export interface Executed {
  runs: NotebookRun[];
  errors: Record<string, string | null>;
}

/**
 * Executes the committed notebooks of these names, each in a kernel of its own, and drafts, lists of code
 * cells, in one kernel together. One Python process does it; the exports lie in `out`.
 */
export async function executeNotebooks(
  names: readonly string[],
  drafts: Readonly<Record<string, readonly string[]>>,
  out: string,
): Promise<Executed> {
  const notebooks = names.map((name) => join(notebooksFolder, `${name}.ipynb`));
  return JSON.parse(await python({ notebooks, drafts, cwd: notebooksFolder, out })) as Executed;
}

async function python(request: object): Promise<string> {
  const interpreter = join(root, '.venv-lab', 'bin', 'python');
  const child = spawn(interpreter, [join(import.meta.dirname, 'execute.py')], {
    env: { ...process.env, JUPYTER_PATH: notebooksFolder },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.end(JSON.stringify(request));
  const exited = new Promise<number | null>((resolve, reject) =>
    child.on('error', reject).on('close', resolve),
  );
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  if (status !== 0) throw new Error(`execute.py exited with ${status}: ${stderr}`);
  return stdout;
}

/** Points of a trace that can be seen: values that are not null, decoded lengths of packed ones. */
export function pointsOf(trace: Readonly<Record<string, unknown>>): number {
  const { z, y, x, values } = trace;
  return count(z ?? y ?? x ?? values);
}

function count(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, entry) => sum + count(entry), 0);
  if (typeof value === 'object' && value !== null && 'bdata' in value)
    return Buffer.from(String(value.bdata), 'base64').length;
  return value === null || value === undefined ? 0 : 1;
}
