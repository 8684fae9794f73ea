// Webhooks of the cluster: what each gets, what waits for it, what failed last; removed.

import { call, withQuery } from './api.js';
import { chips, h, link, number, since, span, table } from './dom.js';
import { missing } from './overview.js';
import { changes, refresh } from './refresh.js';

export const title = 'Webhooks';

export function show(main, { after = '', id = '' }) {
  const list = h('div'), { note, change } = changes();
  main.replaceChildren(note, list);
  const end = refresh(list, 5000, async signal => {
    const webhooks = await call(withQuery('webhooks', { after, limit: 50 }), { signal });
    return [missing(webhooks), table('Webhooks', ['URL', 'Gets', 'State', 'Waiting', 'Oldest', 'Node', 'Registered', ''],
      webhooks.items.map(item => row(item, item.id === id, path => change(path, { method: 'DELETE' }, 'Removed.', end.again))),
      'No webhook is registered. POST a URL to /webhooks: it gets the messages of events, of rooms, or of a backend.'),
    webhooks.next ? h('p', {}, link('webhooks', { after: webhooks.next }, 'More webhooks')) : null];
  });
  return end;
}

function row(item, isChosen, remove) {
  const { delivery } = item;
  return h('tr', { class: isChosen ? 'chosen' : null },
    h('td', { class: 'name' }, item.url, h('div', { class: 'mono dim' }, item.id)),
    h('td', {}, gets('event', item.events), gets('room', item.rooms),
      item.backend ? ['backend ', link('backends', { id: item.backend }, item.backend.slice(0, 8))] : null),
    h('td', {}, state(delivery), ' ', link('dead', { webhook: item.id }, 'Dead letters')),
    h('td', { class: 'count' }, number(delivery?.messages ?? 0)),
    h('td', {}, delivery?.messages ? span(delivery.age_s) : '–'),
    h('td', { class: 'mono' }, delivery?.node ?? '–'), h('td', {}, since(item.created)),
    h('td', {}, h('button', { type: 'button', class: 'danger', 'aria-label': `Remove webhook ${item.id}`, onclick: () => {
      if (confirm(`Remove the webhook ${item.url}? What waits for it becomes dead letters.`)) { remove(`webhooks/${item.id}`); }
    } }, 'Remove')));
}

const gets = (what, names) => names.length ? [`${what} `, chips(names)] : null;

function state(delivery) {
  const failure = delivery?.failure;
  const [kind, word] = delivery?.breaker === 'open' ? ['bad', 'breaker open']
    : failure ? ['wait', 'failing']
      : delivery ? ['good', delivery.messages ? 'delivering' : 'delivered']
        : ['dim', 'nothing delivered yet'];
  return [h('b', { class: kind }, word), failure
    ? h('div', { class: 'dim name' },
      `${failure.reason}: ${failure.detail}, attempt ${number(failure.attempts)}, ${since(failure.time)} ago`)
    : null];
}
