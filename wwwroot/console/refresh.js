// Loads a view's data now and then, and says in words what is in the way when it can't.

import { ApiError } from './api.js';
import { h } from './dom.js';

// Calls `load` at once and every `ms` after its end, and shows the elements that it gives. Returns what ends it.
export function refresh(target, ms, load) {
  const ending = new AbortController();
  let timer = 0;
  const run = async () => {
    clearTimeout(timer);
    try {
      const elements = await load(ending.signal);
      if (!ending.signal.aborted && !isBusy(target)) { target.replaceChildren(...elements.filter(Boolean)); }
    } catch (error) {
      if (ending.signal.aborted) { return; }
      target.replaceChildren(failure(error, run));
    }
    timer = setTimeout(run, ms);
  };
  target.replaceChildren(h('p', { class: 'dim', role: 'status' }, 'Loading …'));
  run();
  return () => {
    ending.abort();
    clearTimeout(timer);
  };
}

// A person who is typing, or has a dialog open, is not interrupted by new content.
const isBusy = target => target.querySelector('dialog[open]') !== null
  || target.contains(document.activeElement) && document.activeElement.matches('input, textarea, select');

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
