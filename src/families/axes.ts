/** Axes that every family has, by the names that its model file gives them. */

/** Axes along which heads lie: query heads are shared among key heads; and what a head is made of. */
export const HEAD_AXES = { queries: 'nq', keys: 'nk', channels: 'd' } as const;

/** What entries of axes are called, one and several. */
export const AXIS_ENTRIES: Readonly<Record<string, readonly [one: string, many: string]>> = {
  nq: ['query head', 'query heads'],
  nk: ['KV head', 'KV heads'],
  d: ['channel', 'channels'],
  E: ['expert', 'experts'],
  S: ['key', 'keys'],
};
