/** A node that `writeNodeRepro` wrote, on every device. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MANIFEST_FILE } from '../../dump/format.js';
import { ZayascopeError } from '../../errors.js';
import { listDevices } from '../../graph/backend.js';
import { formatError, rendered, textTable } from '../../text-table.js';
import { type ReplayedNode, replayRecording } from '../replay/replay.js';

/** Options of {@link runNodeRepro}. */
export interface NodeReproRunOptions {
  /** What `writeNodeRepro` wrote, or any recording that reads no weights. */
  folder: string;
  /** Devices or backends. Default: every device. */
  backends?: readonly string[];
  signal?: AbortSignal;
}

/** One node on one device. */
export interface NodeReproResult {
  device: string;
  op: string;
  name: string;
  /** Whether it gave the recorded bits. */
  isSame?: boolean;
  /** NMSE against what was recorded; 0 for the same bits. */
  nmse?: number;
  /**
   * NMSE of what was recorded against the node with its operands in F32; 0 where nothing is in fewer bits.
   */
  ownError?: number;
  /** Operand types that were widened. */
  widened: readonly string[];
  /** NaN and infinities in what was recorded. */
  nonFinite: number;
  /** Why the device did not run it. */
  error?: string;
}

/** Results of all devices. */
export interface NodeReproRuns {
  folder: string;
  results: NodeReproResult[];
}

/**
 * Whether a folder is a recording, as `repro` writes of a recording's node, or what it writes of a dump's
 * value.
 */
export async function isNodeRepro(folder: string): Promise<boolean> {
  return (await stat(join(folder, MANIFEST_FILE)).catch(() => undefined)) !== undefined;
}

/**
 * Runs the node of such a folder as it was and with its operands in F32. A device that cannot run it gets a
 * result that says why.
 * @throws `BAD_DUMP`, `BAD_ARGUMENT` for a recording that reads weights, `IO`, `CANCELLED`.
 */
export async function runNodeRepro({
  folder,
  backends = listDevices().map(({ name }) => name),
  signal,
}: NodeReproRunOptions): Promise<NodeReproRuns> {
  const results: NodeReproResult[] = [];
  for (const device of backends)
    try {
      const { nodes } = await replayRecording({
        recording: folder,
        backend: device,
        signal,
      });
      results.push(...nodes.map((node) => resultOf(device, node)));
    } catch (error) {
      if (!(error instanceof ZayascopeError) || error.code !== 'BACKEND') throw error;
      results.push({ device, op: '', name: '', widened: [], nonFinite: 0, error: error.message });
    }
  return { folder, results };
}

function resultOf(device: string, node: ReplayedNode): NodeReproResult {
  const { op, name, isSame, nmse, ownError, widened = [], nonFinite, problem } = node;
  return {
    device,
    op,
    name,
    ...(isSame !== undefined && { isSame, nmse: isSame ? 0 : (nmse ?? Number.POSITIVE_INFINITY) }),
    ownError,
    widened,
    nonFinite,
    error: problem,
  };
}

/** As text. */
export function formatNodeReproRuns({ folder, results }: NodeReproRuns): string {
  const [first] = results.filter(({ op }) => op !== '');
  const rows = results.map(({ device, isSame, nmse, ownError, widened, nonFinite, error }) => [
    device,
    isSame === undefined ? '' : isSame ? 'the same bits' : formatError(nmse!),
    ownError === undefined ? '' : formatError(ownError),
    error ??
      [
        ...(widened.length > 0 ? [`${widened.join(', ')} widened`] : []),
        ...(nonFinite > 0 ? [`NOT FINITE: ${nonFinite} recorded values`] : []),
      ].join('; '),
  ]);
  return rendered([
    [first === undefined ? folder : `${first.op} ${first.name} (${folder})`],
    textTable(
      [['device', 'NMSE to what was recorded', "recorded value's own error", ''], ...rows],
      'lrrl',
      false,
    ),
  ]);
}
