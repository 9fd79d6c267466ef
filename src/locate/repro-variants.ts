import { blockSize, type Dtype } from '../dtype.js';
import { POLICIES, resolvePolicy, type Setting, SITE_KINDS, siteKind } from '../graph/policy.js';
import { weightSite } from '../models/zaya-loader.js';
import { requiredTensors } from '../models/zaya-weights.js';
import { buildPiece, describeNodes, type Piece, type PieceSource } from './repro-piece.js';

/** A piece under other settings. */
export interface Variant {
  /** What differs from the stored policy, e.g. `self_attn.qkv_proj.conv_qk_grouped#patches=F16`, or `policy llamacpp`. */
  label: string;
  setting: Setting;
  piece: Piece;
}

/** Dtypes that matrices are tried in, besides `F32` and `stored`. Quantised ones need rows of whole blocks. */
const MATRIX_DTYPES: readonly Dtype[] = ['F16', 'BF16', 'Q8_0', 'Q4_K'];

/** The settings of a policy at the sites that change the piece: with them it can be rebuilt without the policy. */
export function settingsOf(source: PieceSource, setting: Setting): Record<string, string> {
  const base = buildPiece(source, setting);
  const own = fingerprint(base);
  const matters = (site: string) =>
    alternatives(source, site, setting(site)).some(
      (value) => fingerprint(buildPiece(source, changed(setting, site, value))) !== own,
    );
  return Object.fromEntries([...base.sites].filter(matters).map((site) => [site, setting(site)]));
}

/**
 * The ways to compute a piece that differ: the policy itself, then each of its sites in every other dtype or form that changes anything, then the presets that differ from all of
 * these. Equal graphs appear once.
 */
export function pieceVariants(source: PieceSource, setting: Setting, policyName: string): Variant[] {
  const base = buildPiece(source, setting);
  const variants: Variant[] = [{ label: `policy ${policyName}`, setting, piece: base }];
  const seen = new Set([fingerprint(base)]);
  const offer = (label: string, other: Setting) => {
    const piece = buildPiece(source, other);
    const key = fingerprint(piece);
    if (seen.has(key)) return;
    seen.add(key);
    variants.push({ label, setting: other, piece });
  };
  for (const site of base.sites)
    for (const value of alternatives(source, site, setting(site)))
      offer(`${withoutBlock(site)}=${value}`, changed(setting, site, value));
  for (const preset of Object.values(POLICIES)) offer(`policy ${preset.name}`, resolvePolicy(preset));
  return variants;
}

/** A text that is equal for pieces that compute the same from the same leaves. */
export function fingerprint({ nodes }: Piece): string {
  return JSON.stringify(describeNodes(nodes));
}

/** What else a site can be set to; matrices also to dtypes that no policy has, but ports use. */
function alternatives({ config }: PieceSource, site: string, value: string): string[] {
  const kind = siteKind(site);
  const others = SITE_KINDS[kind].filter((each) => each !== value);
  if (kind !== 'weight') return others;
  const matrix = requiredTensors(config).find(({ name }) => weightSite(name) === site);
  const columns = matrix?.shape.at(-1) ?? config.hidden_size; // a head that the config ties
  return [...others, ...MATRIX_DTYPES.filter((dtype) => columns % blockSize(dtype) === 0)];
}

function changed(setting: Setting, site: string, value: string): Setting {
  return (each) => (each === site ? value : setting(each));
}

function withoutBlock(site: string): string {
  return site.replace(/^layers\.\d+\.?/, '');
}
