// Loads a view's data now and then, and says in words what is in the way when it can't.

import { ApiError, call } from './api.js';
import { h } from './dom.js';

// Calls `load` at once and every `ms` after its end, and shows the elements that it gives. Returns what ends it; its
// `again` loads at once.
export function refresh(target, ms, load) {
  const ending = new AbortController();
  let timer = 0, runs = 0;
  const run = async () => {
    clearTimeout(timer);
    const mine = ++runs, isOver = () => ending.signal.aborted || mine !== runs;
    try {
      const elements = await load(ending.signal);
      if (!isOver() && !isBusy(target)) { replace(target, elements.filter(Boolean)); }
    } catch (error) {
      if (isOver()) { return; }
      target.replaceChildren(failure(error, run));
    }
    if (isOver()) { return; }
    timer = setTimeout(run, ms);
  };
  target.replaceChildren(h('p', { class: 'dim', role: 'status' }, 'Loading …'));
  run();
  return Object.assign(() => {
    ending.abort();
    clearTimeout(timer);
  }, { again: run });
}

// A person who is typing, or has a dialog open, is not interrupted by new content.
const isBusy = target => target.querySelector('dialog[open]') !== null
  || target.contains(document.activeElement) && document.activeElement.matches('input, textarea, select');

// New content keeps what a person has opened, and where the keyboard is.
function replace(target, elements) {
  const nameOf = element => `${element.localName} ${element.getAttribute('aria-label') ?? element.textContent}`;
  const open = new Set([...target.querySelectorAll('details[open][data-key]')].map(details => details.dataset.key));
  const focused = target.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  target.replaceChildren(...elements);
  for (const details of target.querySelectorAll('details[data-key]')) { details.open = open.has(details.dataset.key); }
  if (focused !== null) {
    [...target.querySelectorAll('a, button, summary')].find(element => nameOf(element) === focused)
      ?.focus({ preventScroll: true });
  }
}

// Changes by the operator: `note` says what became of the last one.
export function changes() {
  const note = h('p', { role: 'status', hidden: true });
  const say = (kind, text) => Object.assign(note, { className: kind, textContent: text, hidden: false });
  return { note, change: async (path, options, said, done) => {
    note.hidden = true;
    try {
      const answer = await call(path, options);
      say('good', typeof said === 'function' ? said(answer) : said);
    } catch (error) { say('bad', error.message); }
    done();
  } };
}

// What went wrong, and what to do next.
export function failure(error, again) {
  const next = !(error instanceof ApiError) ? 'The console failed; reload the page.'
    : error.status === 0 ? 'The console asks again by itself. Is the node running?'
      : error.status === 401 ? 'Enter a key with the scope admin at the top of the page.'
        : error.status === 403 ? 'This key lacks the scope admin. Enter another one at the top of the page.'
          : error.status === 404 && error.code === 'not_found' ? 'This node is older than the console.'
            : error.status === 503 ? 'The node drains, or Redis is away. The console asks again by itself.'
              : 'Try again; the log of the node says more.';
  if (error.status === 401 || error.status === 403) { document.dispatchEvent(new CustomEvent('key-wanted')); }
  return h('section', { class: 'failure', role: 'alert' },
    h('h2', {}, error.code ? `${error.code}` : 'Something went wrong'),
    h('p', {}, error.message), h('p', { class: 'dim' }, next),
    h('button', { type: 'button', onclick: again }, 'Try again'));
}
