/// <reference lib="dom" />

/**
 * Attributes in which a page or an editor says which theme it has; a change of one of them redraws the
 * figures.
 */
export const THEME_ATTRIBUTES: readonly string[] = [
  'data-jp-theme-light',
  'data-vscode-theme-kind',
  'data-theme',
];

/** What of an element says which theme it has. */
type Themed = Pick<Element, 'getAttribute'>;

/**
 * True where JupyterLab says that it is dark (`data-jp-theme-light`), else where VS Code does
 * (`data-vscode-theme-kind`), else where the page does (`data-theme`), else where the system prefers it.
 *
 * @param body null before the page has one. @param systemIsDark of the media query `prefers-color-scheme`.
 */
export function isDark(root: Themed, body: Themed | null, systemIsDark: boolean): boolean {
  const jupyter = body?.getAttribute('data-jp-theme-light');
  if (jupyter) return jupyter === 'false';
  const code = body?.getAttribute('data-vscode-theme-kind');
  if (code) return code.includes('dark') || code === 'vscode-high-contrast';
  const own = root.getAttribute('data-theme');
  if (own) return own === 'dark';
  return systemIsDark;
}
