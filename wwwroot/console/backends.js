// Backend services of the cluster: searched by name, paged, freed.

import { call, withQuery } from './api.js';
import { address, h, link, number, since, table } from './dom.js';
import { missing } from './overview.js';
import { changes, refresh } from './refresh.js';

export const title = 'Backends';

export function show(main, { prefix = '', after = '', id = '' }) {
  const list = h('div'), { note, change } = changes();
  main.replaceChildren(
    id ? h('p', {}, link('backends', {}, '← All backends'))
      : h('form', { class: 'search', role: 'search', onsubmit: event => {
        event.preventDefault();
        location.hash = address('backends', { prefix: event.target.elements.prefix.value.trim() });
      } },
      h('label', { for: 'prefix' }, 'Backends whose names begin with'),
      h('input', { id: 'prefix', name: 'prefix', value: prefix, placeholder: 'billing', autocomplete: 'off' }),
      h('button', {}, 'Search')),
    note, list);
  const end = refresh(list, 5000, async signal => {
    const backends = await call(withQuery('backends', { bkid: id, prefix, after, limit: 50 }), { signal });
    return [missing(backends), table('Backends',
      ['Name', 'Channel', 'Connections', 'Users', 'Sessions', 'Stored', 'Webhook', 'Last used', ''],
      backends.items.map(item => row(item, path => change(path, { method: 'DELETE' }, 'Freed.', end.again))),
      id ? 'This backend is not registered: it was freed, or has expired.'
        : prefix ? `No backend’s name begins with ${prefix}.`
          : 'No backend is registered. POST a name to /register/backend: users connect to the bkid in the answer.'),
    backends.next ? h('p', {}, link('backends', { prefix, after: backends.next }, 'More backends')) : null];
  });
  return end;
}

const sum = (nodes, member) => nodes.reduce((total, node) => total + node[member], 0);

function row(item, free) {
  return h('tr', {},
    h('td', { class: 'name' }, item.name || '–', h('div', { class: 'mono dim' }, item.bkid)),
    h('td', { class: 'mono name' }, item.channel),
    h('td', {}, places(item.nodes, 'connections')),
    h('td', { class: 'count' }, number(item.users)),
    h('td', { class: 'count', title: `${number(sum(item.nodes, 'sessions'))} on nodes that answered` }, number(item.sessions)),
    h('td', { class: 'count' }, number(item.stored)),
    h('td', { class: 'mono' }, item.webhook ? link('webhooks', { id: item.webhook }, item.webhook.slice(0, 8)) : '–'),
    h('td', { title: item.used }, since(item.used), ' ago'),
    h('td', {}, h('button', { type: 'button', class: 'danger', 'aria-label': `Free backend ${item.bkid}`, onclick: () => {
      if (confirm(`Free the backend ${item.name}? Its users are told, and what is stored for it is deleted.`)) {
        free(`register/backend/${item.bkid}`);
      }
    } }, 'Free')));
}

// How many, and on which nodes.
function places(nodes, member) {
  const there = nodes.filter(node => node[member] > 0);
  return [h('b', {}, number(sum(there, member))),
    there.map(node => h('div', { class: 'mono dim' }, there.length > 1 ? `${node.node} ${number(node[member])}` : node.node))];
}
