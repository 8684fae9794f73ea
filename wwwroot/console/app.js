// The console's frame: which view is shown, the key, the state of the node, and the theme.

import { ApiError, hasKey, setKey, url } from './api.js';
import * as backends from './backends.js';
import * as dead from './dead.js';
import { h } from './dom.js';
import * as overview from './overview.js';
import * as rooms from './rooms.js';
import * as sessions from './sessions.js';
import * as tail from './tail.js';
import * as watch from './watch.js';
import * as webhooks from './webhooks.js';

const views = { overview, rooms, sessions, tail, watch, backends, webhooks, dead };
const first = 'watch';
const $ = id => document.getElementById(id);
const readyMs = 5000;
let end = () => {}, shown = 'wait', isProbed = false;

// The view and its parameters are the part of the address behind #: `#/rooms?prefix=endpoint:`.
function route() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const name = Object.hasOwn(views, path) ? path : first;
  end();
  const main = $('view');
  main.replaceChildren();
  $('title').textContent = views[name].title;
  document.title = name === first ? 'DMB console' : `${views[name].title} · DMB console`;
  for (const anchor of $('views').querySelectorAll('a')) {
    const isHere = anchor.hash === `#/${name}`;
    anchor.toggleAttribute('aria-current', isHere);
    if (isHere) {
      anchor.setAttribute('aria-current', 'page');
      anchor.scrollIntoView({ block: 'nearest', inline: 'center' });
    }
  }
  end = views[name].show(main, Object.fromEntries(new URLSearchParams(query)), frame) ?? (() => {});
}

// What the views may use of the frame.
const frame = {
  // Shows how the connection or the node is. Kind is good, wait, bad or dim.
  state(kind, text) {
    shown = kind;
    $('state').textContent = text;
    paint();
  },
  askForKey(isWanted) {
    $('enter').hidden = !isWanted;
    paint();
  },
  toggle: $('toggle'),
};

// Nothing is green while a key is asked for, or while it is not known whether one is needed.
function paint() {
  $('state').className = shown === 'good' && (!isProbed || !$('enter').hidden) ? 'wait' : shown;
}

// A room that every caller may look at, but for one without a key where keys are needed.
async function probe() {
  const answer = await fetch(url('rooms/everyone'), { cache: 'no-store' }).catch(() => null);
  isProbed = answer !== null;
  if (answer?.status === 401 && !hasKey()) { frame.askForKey(true); }
  paint();
}

// Without a session, the state in the header is the node's own.
async function ready() {
  if (!isProbed) { await probe(); }
  if (document.hidden || !$('toggle').hidden) { return; }
  try {
    const answer = await (await fetch(url('readyz'), { cache: 'no-store' })).json();
    if ($('toggle').hidden) {
      const kind = { ready: 'good', degraded: 'wait' }[answer.status] ?? 'bad';
      frame.state(kind, answer.reason ? `${answer.status}: ${answer.reason}` : answer.status ?? 'no state');
    }
  } catch {
    if ($('toggle').hidden) { frame.state('bad', 'the node does not answer'); }
  }
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  $('theme').textContent = name === 'dark' ? 'Light' : 'Dark';
}

$('enter').addEventListener('submit', async event => {
  event.preventDefault();
  setKey($('token').value);
  $('token').value = '';
  frame.askForKey(false);
  $('leave').hidden = !hasKey();
  route();
});
$('leave').addEventListener('click', () => {
  setKey('');
  $('leave').hidden = true;
  isProbed = false;
  route();
  ready();
});
document.addEventListener('key-wanted', () => frame.askForKey(true));
$('theme').addEventListener('click', () => theme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
theme(matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
// Not by its address, which says which view is shown.
document.querySelector('.skip').addEventListener('click', event => {
  event.preventDefault();
  $('view').focus();
});
addEventListener('hashchange', route);
addEventListener('unhandledrejection', event => {
  if (event.reason instanceof ApiError) {
    event.preventDefault();
    const note = h('p', { class: 'bad toast', role: 'alert' }, event.reason.message);
    document.body.append(note);
    setTimeout(() => note.remove(), 8000);
  }
});
route();
ready();
setInterval(ready, readyMs);
