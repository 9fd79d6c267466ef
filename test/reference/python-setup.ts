import { ensurePython } from './python.js';

/** vitest globalSetup: the Python environment exists before any test file starts. */
export function setup(): void {
  ensurePython();
}
