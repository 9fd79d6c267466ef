/** The sampled cases of programs in single precision: see `sampled.ts`. */
import { sampledCases } from './sampled.js';

await sampledCases(({ kind }) => kind.plants.dtype === 'float32');
