import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { JOURNEY_FILES, openJourneyFolder } from '../../src/cli/port-folder.js';
import { root } from '../reference/python.js';
import { temporaryFolder } from '../weights/fixtures.js';
import { runCommand } from './run-command.js';

describe('the folder of a journey', () => {
  it('is made, and taken again with all that a journey leaves', async () => {
    const out = join(await temporaryFolder(), 'a', 'b');
    await openJourneyFolder(out, []);
    for (const name of Object.values(JOURNEY_FILES)) await mkdir(join(out, name));
    await writeFile(join(out, 'dump.lock'), '');
    await openJourneyFolder(out, []);
  });

  it.each([
    ['a checkpoint', ['config.json', 'model.safetensors']],
    ['a report of something else', ['report.html']],
    ['an earlier journey and a file of its user', ['journey.json', 'notes.txt']],
  ])('is not taken with %s in it, which stays as it is', async (_, names) => {
    const out = await temporaryFolder();
    for (const name of names) await writeFile(join(out, name), 'mine');
    await expect(openJourneyFolder(out, [])).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringMatching(/^port: expected a new or empty folder as --out, .* got one with /),
    });
    expect((await readdir(out)).sort()).toEqual([...names].sort());
    for (const name of names) expect(await readFile(join(out, name), 'utf8')).toBe('mine');
  });

  it('is not taken where it would replace an input, through a link neither', async () => {
    const out = await temporaryFolder();
    await openJourneyFolder(out, []);
    await mkdir(join(out, 'dump'));
    const link = join(await temporaryFolder(), 'link');
    await symlink(out, link);
    for (const input of [out, join(out, 'dump'), join(link, 'dump'), join(out, 'report.html')])
      for (const folder of [out, link])
        await expect(openJourneyFolder(folder, [input])).rejects.toMatchObject({
          code: 'BAD_ARGUMENT',
          message: expect.stringContaining(`that would replace ${input}`),
        });
    // A reference that it does not make may lie in it.
    await openJourneyFolder(out, [join(out, 'reference')], ['dump', 'report.html']);
  });
});

it('port writes nothing where its folder is that of the reference', async () => {
  const folder = await temporaryFolder();
  const [port, checkpoint] = [join(folder, 'port'), join(folder, 'checkpoint')];
  const model = join(root, 'dumps', 'tiny', 'model');
  await mkdir(port);
  await mkdir(checkpoint);
  await writeFile(join(port, 'index.jsonl'), '');
  await writeFile(join(checkpoint, 'config.json'), '{"mine":1}');
  const args = ['port', port, '--model', model, '--reference', checkpoint, '--out'];
  for (const out of [checkpoint, port]) {
    const { code, stderr } = await runCommand([...args, out]);
    expect(code).toBe(2);
    expect(stderr).toContain('that would replace');
  }
  expect(await readdir(checkpoint)).toEqual(['config.json']);
  expect(await readFile(join(checkpoint, 'config.json'), 'utf8')).toBe('{"mine":1}');
  expect(await readdir(port)).toEqual(['index.jsonl']);
});
