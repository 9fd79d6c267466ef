// Formulas of an exported notebook: LaTeX between dollar signs becomes MathML, which browsers draw themselves, so
// that nothing is fetched. What the notebooks use is known here and no more: an unknown command is an error in the
// console, and its formula stays as it was written.
(() => {
  const SYMBOLS = {
    odot: '⊙',
    cdot: '·',
    le: '≤',
    ge: '≥',
    in: '∈',
    approx: '≈',
    sum: '∑',
    times: '×',
    lVert: '‖',
    rVert: '‖',
    alpha: 'α',
    beta: 'β',
    gamma: 'γ',
    epsilon: 'ϵ',
    varepsilon: 'ε',
    eta: 'η',
    theta: 'θ',
    mu: 'μ',
    pi: 'π',
    rho: 'ρ',
    sigma: 'σ',
    tau: 'τ',
    omega: 'ω',
  };
  const NAMES = { ln: 'ln', exp: 'exp', log: 'log' };
  const SPACES = { ',': 0.17, ';': 0.28, '!': -0.17, quad: 1, qquad: 2 };
  const ACCENTS = { bar: '¯', overline: '¯', hat: '^' };
  const element = (name, children = [], attributes = {}) => {
    const node = document.createElementNS('http://www.w3.org/1998/Math/MathML', name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...[children].flat());
    return node;
  };
  const row = (nodes) => (nodes.length === 1 ? nodes[0] : element('mrow', nodes));

  function formula(latex) {
    const tokens = latex.match(/\\[a-zA-Z]+|\\.|[0-9.]+|\s+|./gsu) ?? [];
    let at = 0;
    const skipBlanks = () => {
      while (/^\s+$/.test(tokens[at] ?? '')) at++;
    };
    /** Up to the token that ends it, which is taken. In roman letters words stand together. */
    function list(end, isRoman) {
      const nodes = [];
      for (skipBlanks(); tokens[at] !== end; skipBlanks()) {
        if (at >= tokens.length) throw new Error(`expected ${end} in ${latex}`);
        if (tokens[at] === '^' || tokens[at] === '_') {
          const marks = {};
          while (tokens[at] === '^' || tokens[at] === '_') {
            const mark = tokens[at++];
            marks[mark] = argument(isRoman, true);
            skipBlanks();
          }
          const base = nodes.pop() ?? element('mrow');
          const { _: below, '^': above } = marks;
          nodes.push(
            below && above
              ? element('msubsup', [base, below, above])
              : element(below ? 'msub' : 'msup', [base, below ?? above]),
          );
        } else nodes.push(atom(isRoman));
      }
      at++;
      return nodes;
    }
    /** A group in braces or one token; of a number after a command, one digit. */
    function argument(isRoman, isWhole = false) {
      skipBlanks();
      if (tokens[at] === '{') {
        at++;
        return row(list('}', isRoman));
      }
      if (!isWhole && /^\d\d/.test(tokens[at] ?? ''))
        tokens.splice(at, 1, tokens[at][0], tokens[at].slice(1));
      return atom(isRoman);
    }
    function atom(isRoman) {
      const token = tokens[at++];
      if (token === '{') return row(list('}', isRoman));
      if (token === "'") return element('mo', '′');
      if (/^[0-9.]+$/.test(token)) return element('mn', token);
      if (/^[A-Za-z]$/.test(token)) {
        if (!isRoman) return element('mi', token);
        let word = token;
        while (/^[A-Za-z]$/.test(tokens[at] ?? '')) word += tokens[at++];
        return element('mi', word, { mathvariant: 'normal' });
      }
      if (!token.startsWith('\\')) return element('mo', token === '-' ? '−' : token);
      const name = token.slice(1);
      if (name in SPACES) return element('mspace', [], { width: `${SPACES[name]}em` });
      if (name in SYMBOLS) return element(/^\p{L}$/u.test(SYMBOLS[name]) ? 'mi' : 'mo', SYMBOLS[name]);
      if (name in NAMES) return element('mi', NAMES[name]);
      if (name === 'mathrm') return argument(true);
      if (name === 'frac' || name === 'tfrac')
        return element('mfrac', [argument(isRoman), argument(isRoman)]);
      if (name === 'sqrt') return element('msqrt', argument(isRoman));
      if (name in ACCENTS)
        return element('mover', [argument(isRoman), element('mo', ACCENTS[name])], { accent: 'true' });
      if (name === 'left') {
        const open = tokens[at++];
        const inside = list('\\right', isRoman);
        return element('mrow', [element('mo', open), ...inside, element('mo', tokens[at++])]);
      }
      throw new Error(`unknown command ${token} in ${latex}`);
    }
    tokens.push('\0');
    return element('math', row(list('\0', false)), { title: latex });
  }

  function draw(text) {
    const parts = text.data.split(/\$([^$]+)\$/);
    if (parts.length < 3) return;
    text.replaceWith(
      ...parts.map((part, index) => {
        if (index % 2 === 0) return part;
        try {
          return formula(part);
        } catch (error) {
          console.error(`formula: ${error.message}`);
          return `$${part}$`;
        }
      }),
    );
  }

  document.addEventListener('DOMContentLoaded', () => {
    for (const cell of document.querySelectorAll('.jp-RenderedMarkdown')) {
      const texts = [];
      const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
      while (walker.nextNode())
        if (!walker.currentNode.parentElement.closest('pre, code')) texts.push(walker.currentNode);
      texts.forEach(draw);
    }
  });
})();
