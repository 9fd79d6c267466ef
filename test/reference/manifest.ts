import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What these tests read of a manifest, which Python wrote. */
export interface ReferenceManifest {
  status: string;
  tier: string;
  steps: number;
  producer: Record<string, unknown>;
  model: {
    dtype: string;
    config: Record<string, number>;
    name: string;
    configSha256: string;
    weightsSha256: string;
  };
  policy: { name: string };
  sequences: { tokens: number[] }[];
  selection: { taps: string; positions: string };
  taps: {
    name: string;
    block: number | null;
    file: string;
    dtype: string;
    scope: string;
    axes: string[];
    shape: (number | null)[];
  }[];
}

/** Reads the manifest of a dump folder. */
export function readReferenceManifest(dump: string): ReferenceManifest {
  return JSON.parse(readFileSync(join(dump, 'manifest.json'), 'utf8')) as ReferenceManifest;
}
