import { basename, dirname, resolve } from 'node:path';
import type { DumpModel, TapSpec } from '../dump/format.js';
import { parseConfig } from '../models/architectures.js';
import { readSmallFile } from '../weights/file-access.js';
import { configSha256 } from '../weights/identity.js';
import { parseJsonObject, withoutNonFinite } from '../weights/json-object.js';
import { select, tapSpecs } from './selection.js';

const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/** What a model's config says about an import; these are options of `importDump`. */
export interface ImportTarget {
  /** The model for the manifest: weights and dtype stay unknown. */
  model: Partial<DumpModel>;
  /**
   * All taps of the model in execution order, states included: shapes are checked against them, axes take
   * their names.
   */
  targets: readonly TapSpec[];
}

/**
 * Reads the `config.json` of the model that another program ran. Throws `IO` for a file that cannot be read,
 * `BAD_CONFIG` for one of no known architecture.
 */
export async function importTarget(configFile: string): Promise<ImportTarget> {
  const bytes = await readSmallFile('importDump', configFile, MAX_CONFIG_BYTES);
  const json = parseJsonObject(bytes, { code: 'BAD_CONFIG', op: 'importDump', where: configFile });
  const config = parseConfig(json, configFile);
  return {
    model: {
      type: config.model_type,
      name: basename(dirname(resolve(configFile))),
      config: withoutNonFinite(json) as Record<string, unknown>,
      configSha256: await configSha256(configFile),
    },
    targets: tapSpecs(config, select(config, '**', 'all', true)),
  };
}
