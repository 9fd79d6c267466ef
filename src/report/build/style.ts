import { DARK, LIGHT, type Theme } from '../../plot/theme.js';

/** The page's style sheet: light or dark as the system prefers, readable from 320 pixels of width on. */
export function reportStyle(): string {
  return `:root{color-scheme:light dark;${variables(LIGHT)}--pass:#1a7f4b;--fail:#c4262b;--warn:#b8860b;--accent:#0b62a8;--soft:#f4f6f8}
@media(prefers-color-scheme:dark){:root{${variables(DARK)}--pass:#3fb77a;--fail:#ff7b72;--warn:#d9a83a;--accent:#6cb6ff;--soft:#1b2027}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main,header,footer{max-width:1240px;margin:0 auto;padding:0 20px}
header{padding-top:24px}
h1{font-size:24px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:19px;margin:40px 0 8px;overflow-wrap:anywhere;scroll-margin-top:8px}
h2:focus{outline:none}
h3{font-size:15px;margin:24px 0 6px}
.sides{margin:0 0 16px;opacity:.8;overflow-wrap:anywhere}
.verdict{display:flex;gap:16px;align-items:flex-start;border:1px solid var(--line);border-left:6px solid var(--line);border-radius:6px;padding:12px 16px;margin:0 0 12px;font-size:16px;overflow-wrap:anywhere}
.verdict strong{font-size:18px;white-space:nowrap}
.verdict.pass{border-left-color:var(--pass)}.verdict.pass strong{color:var(--pass)}
.verdict.fail{border-left-color:var(--fail)}.verdict.fail strong{color:var(--fail)}
.verdict button,.facts button{font-size:inherit}
.warnings{margin:0 0 12px;padding:10px 16px 10px 34px;border:1px solid var(--line);border-left:6px solid var(--warn);border-radius:6px;overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:10px;margin:0 0 8px}
.facts div{background:var(--soft);border-radius:6px;padding:8px 12px;min-width:0}
.facts dt{font-size:12.5px;opacity:.75}.facts dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin:12px 0 0}
a,button.link{color:var(--accent)}
button,input,select{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:5px;padding:3px 10px}
button{cursor:pointer}button:disabled{opacity:.4;cursor:default}
button.link{background:none;border:0;padding:0;text-align:left;overflow-wrap:anywhere;text-decoration:underline;text-decoration-color:transparent}
button.link:hover{text-decoration-color:currentColor}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
figure{margin:0 0 20px}
figcaption{font-size:13px;opacity:.75}
.plot{width:100%;min-height:300px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:0 20px}
.bar,.table-bar{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:center;margin:0 0 8px}
.count{font-size:13px;opacity:.75}
.table-scroll{overflow:auto;max-height:560px;border:1px solid var(--grid);border-radius:6px}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{position:sticky;top:0;background:var(--soft);text-align:left;padding:0}
th button{border:0;background:none;width:100%;padding:6px 10px;font-weight:600;text-align:inherit;white-space:nowrap}
th[aria-sort=ascending] button::after{content:" ↑"}th[aria-sort=descending] button::after{content:" ↓"}
td{padding:4px 10px;border-top:1px solid var(--grid);white-space:nowrap}
.number{text-align:right}td.bad{color:var(--fail);font-weight:600}
tr.current{background:var(--soft);box-shadow:inset 3px 0 var(--accent)}
button.more{margin:8px 0 0}
pre{background:var(--soft);border-radius:6px;padding:10px 12px;margin:0;overflow:auto;font-size:13px;max-height:420px}
.command{display:grid;grid-template-columns:1fr auto;gap:8px;align-items:start;margin:0 0 14px}
.command p{grid-column:1/-1;margin:0;font-size:13.5px;opacity:.8}
.command pre{white-space:pre-wrap;overflow-wrap:anywhere}
.manifests td,.manifests th{white-space:normal;overflow-wrap:anywhere;padding:5px 10px;vertical-align:top}
.manifests{table-layout:fixed}.manifests th{position:static;font-weight:600}
.manifests tr>:first-child{width:130px}
.manifests tr.differs td{font-weight:600}
details{margin:8px 0}summary{cursor:pointer}
footer{padding-top:24px;padding-bottom:40px;font-size:13px;opacity:.75}
@media(max-width:600px){main,header,footer{padding-left:12px;padding-right:12px}.verdict{display:block}.facts{grid-template-columns:repeat(auto-fill,minmax(130px,1fr))}}
@media print{.table-bar,.bar,nav,button.more{display:none}.table-scroll{max-height:none;overflow:visible}}
`;
}

function variables({ paper, text, grid, line }: Theme): string {
  return `--paper:${paper};--text:${text};--grid:${grid};--line:${line};`;
}
