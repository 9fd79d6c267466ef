import type { Reporter, TestModule } from 'vitest/node';

/** How many files {@link SlowestFiles} names. */
const NAMED = 10;

/**
 * A vitest reporter for the end of a run: the ten slowest files, and what each folder below `test` took, so
 * that a suite that grows is seen. Times are of a file's tests and hooks, without the start of its process.
 */
export default class SlowestFiles implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const files = modules
      .map((module) => ({ file: module.relativeModuleId, seconds: module.diagnostic().duration / 1000 }))
      .sort((a, b) => b.seconds - a.seconds);
    const folders = new Map<string, number>();
    for (const { file, seconds } of files) {
      const folder = file.split('/').slice(0, 2).join('/');
      folders.set(folder, (folders.get(folder) ?? 0) + seconds);
    }
    const line = (name: string, seconds: number) => `${seconds.toFixed(1).padStart(8)} s  ${name}`;
    const byFolder = [...folders].sort((a, b) => b[1] - a[1]);
    console.log(
      [
        `\nThe ${Math.min(NAMED, files.length)} slowest of ${files.length} files:`,
        ...files.slice(0, NAMED).map(({ file, seconds }) => line(file, seconds)),
        '\nBy folder:',
        ...byFolder.map(([folder, seconds]) => line(folder, seconds)),
        line(
          'together',
          files.reduce((sum, { seconds }) => sum + seconds, 0),
        ),
      ].join('\n'),
    );
  }
}
