// Elements without markup: all text is a text node, so data from outside is never parsed as HTML.

const svgNames = new Set(['svg', 'path', 'line', 'text', 'g', 'circle', 'polyline', 'rect', 'title']);

// Makes an element. A property that begins with `on` is a listener; `class`, `aria-*` and SVG names are attributes.
export function h(name, properties = {}, ...children) {
  const element = svgNames.has(name)
    ? document.createElementNS('http://www.w3.org/2000/svg', name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith('on')) { element.addEventListener(key.slice(2), value); }
    else if (value === true) { element.setAttribute(key, ''); }
    else if (value !== false && value !== null && value !== undefined) { element.setAttribute(key, value); }
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return element;
}

// A table with a caption for screen readers, and a row that says what to do when there is nothing.
export function table(caption, columns, rows, empty) {
  // In a narrow window a row is a card whose cells show the names of their columns.
  rows.forEach(row => [...row.cells].forEach((cell, i) => { if (columns[i]) { cell.dataset.column = columns[i]; } }));
  const body = rows.length
    ? rows
    : [h('tr', {}, h('td', { colspan: columns.length, class: 'empty' }, empty))];
  return h('div', { class: 'scroll' }, h('table', {},
    h('caption', { class: 'hidden' }, caption),
    h('thead', {}, h('tr', {}, columns.map(column => h('th', { scope: 'col' }, column)))),
    h('tbody', {}, body)));
}

// A link to another view of the console.
export const link = (view, parameters, text) => h('a', { href: address(view, parameters) }, text);

export function address(view, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)).toString();
  return `#/${view}${query && '?' + query}`;
}

export const number = value => value === null || value === undefined ? '–' : Number(value).toLocaleString('en');

// "1 session", "2 sessions".
export const many = (count, what) => `${number(count)} ${what}${count === 1 ? '' : what.endsWith('sh') ? 'es' : 's'}`;

// Names in a row.
export const chips = names => h('ul', { class: 'chips' }, names.map(name => h('li', {}, name)));

// "3 min" since a time, as a person says it.
export const since = (time, now = Date.now()) => span((now - new Date(time)) / 1000);

export function span(exact) {
  const seconds = Math.max(0, Math.round(exact));
  if (seconds < 90) { return `${seconds} s`; }
  if (seconds < 5400) { return `${Math.round(seconds / 60)} min`; }
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

// JSON with line breaks between its tokens, which stay as they came: JSON.parse would round a large number.
export function pretty(text) {
  let out = '', indent = '\n';
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === '}' || token === ']') {
      indent = indent.slice(0, -2);
      out = /[{[]\s*$/.test(out) ? out.trimEnd() + token : out + indent + token;
    } else {
      out += token === ':' ? ': ' : token;
      if (token === '{' || token === '[') { indent += '  '; }
      if (token === '{' || token === '[' || token === ',') { out += indent; }
    }
  }
  return out;
}
