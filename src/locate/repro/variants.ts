import { blockSize, type Dtype } from '../../dtype.js';
import { familyPolicies, type Setting, SITE_KINDS, siteKind } from '../../graph/policy.js';
import { architectureOf } from '../../models/architectures.js';
import { weightSite } from '../../models/runtime/loader.js';
import { settingOf } from '../../models/runtime/model-policy.js';
import { buildPiece, describeNodes, type Piece, type PieceSource } from './piece.js';

/** A piece under other settings. */
export interface Variant {
  /** What differs from the stored policy, e.g. `self_attn:k_cache#dtype=F16`, or `policy llamacpp`. */
  label: string;
  piece: Piece;
}

/**
 * Dtypes that matrices are tried in, besides `F32` and `stored`. Quantised ones need rows of whole blocks.
 */
const MATRIX_DTYPES: readonly Dtype[] = ['F16', 'BF16', 'Q8_0', 'Q4_K'];

/** What {@link pieceVariants} finds. */
export interface PieceVariants {
  /**
   * The policy's values at the sites that change the piece: with them it can be rebuilt without the policy.
   */
  settings: Record<string, string>;
  /** The policy itself first. */
  variants: Variant[];
}

/**
 * The ways to compute a piece that differ: the policy itself, then each of its sites in every other dtype or
 * form that changes anything, then the presets that differ from all of these. Equal graphs appear once.
 */
export function pieceVariants(source: PieceSource, setting: Setting, policyName: string): PieceVariants {
  const base = buildPiece(source, setting);
  const variants: Variant[] = [{ label: `policy ${policyName}`, piece: base }];
  const seen = new Set([fingerprint(base)]);
  const offer = (label: string, other: Setting) => {
    const piece = buildPiece(source, other);
    const key = fingerprint(piece);
    if (seen.has(key)) return;
    seen.add(key);
    variants.push({ label, piece });
  };
  const sites = sitesThatMatter(source, setting);
  for (const site of sites)
    for (const value of alternatives(source, site, setting(site)))
      offer(`${withoutBlock(site)}=${value}`, (each) => (each === site ? value : setting(each)));
  for (const preset of Object.values(familyPolicies(architectureOf(source.config).family)))
    offer(`policy ${preset.name}`, settingOf(preset, source.config));
  return { settings: Object.fromEntries(sites.map((site) => [site, setting(site)])), variants };
}

/**
 * Found by changing many sites at once and halving those among which one makes a difference: few of a block's
 * do.
 */
function sitesThatMatter(source: PieceSource, setting: Setting): string[] {
  const base = buildPiece(source, setting);
  const own = fingerprint(base);
  const differs = (group: readonly string[], end: 0 | -1) => {
    const changed = new Set(group);
    const other: Setting = (site) =>
      changed.has(site) ? alternatives(source, site, setting(site)).at(end)! : setting(site);
    return fingerprint(buildPiece(source, other)) !== own;
  };
  const search = (group: readonly string[]): readonly string[] => {
    if (group.length === 0 || !(differs(group, 0) || differs(group, -1))) return [];
    if (group.length === 1) return group;
    const half = group.length >> 1;
    return [...search(group.slice(0, half)), ...search(group.slice(half))];
  };
  return [...search([...base.sites])];
}

/** A text that is equal for pieces that compute the same from the same leaves. */
function fingerprint({ nodes }: Piece): string {
  return JSON.stringify(describeNodes(nodes));
}

/** What else a site can be set to; matrices also to dtypes that no policy has, but ports use. */
function alternatives({ config, required }: PieceSource, site: string, value: string): string[] {
  const kind = siteKind(site);
  const others = SITE_KINDS[kind].filter((each) => each !== value);
  if (kind !== 'weight') return others;
  // Types of whole files choose among the dtypes that are tried one by one.
  const kept = others.filter((each) => each === 'F32' || each === 'stored');
  const matrix = [...required.values()].find(({ name }) => weightSite(name) === site);
  const columns = matrix?.shape.at(-1) ?? config.hidden_size; // a head that the config ties
  return [...kept, ...MATRIX_DTYPES.filter((dtype) => columns % blockSize(dtype) === 0)];
}

function withoutBlock(site: string): string {
  return site.replace(/^layers\.\d+\.?/, '');
}
