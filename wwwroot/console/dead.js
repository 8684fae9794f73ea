// What could not be delivered: filtered, read, delivered again, dropped.

import { call, withQuery } from './api.js';
import { address, h, link, number, pretty, since, table } from './dom.js';
import { changes, refresh } from './refresh.js';

export const title = 'Dead letters';

// What each reason means; docs/webhooks.md says more.
const reasons = {
  status: 'The receiver answered with a status that is no delivery.',
  redirect: 'The receiver answered with a redirect, which is not followed. Register the other URL.',
  timeout: 'The receiver did not answer in time.',
  no_answer: 'The receiver could not be reached, or broke the connection.',
  tls: 'The receiver’s certificate is not valid.',
  forbidden_address: 'The URL leads to this machine or a private network: DMB_WEBHOOK_PRIVATE.',
  queue_full: 'Too many messages waited for the webhook.',
  gone: 'The webhook was removed.',
  refused_input: 'A program published over Redis what is no message.',
};

export function show(main, { reason = '', webhook = '', after = '' }) {
  const list = h('div'), { note, change } = changes(), filter = { reason, webhook };
  const which = reason || webhook ? 'all that fit the filter' : 'all';
  const all = (label, kind, question, path, method, said) => h('button', { type: 'button', class: kind, onclick: () => {
    if (confirm(question)) { change(withQuery(path, filter), { method }, said, end.again); }
  } }, label);
  main.replaceChildren(
    h('form', { class: 'search', role: 'search', onsubmit: event => {
      event.preventDefault();
      const { reason, webhook } = event.target.elements;
      location.hash = address('dead', { reason: reason.value, webhook: webhook.value.trim() });
    } },
    h('span', { class: 'field' }, h('label', { for: 'reason' }, 'Reason'),
      h('select', { id: 'reason', name: 'reason' }, h('option', { value: '' }, 'any'),
        Object.keys(reasons).map(each => h('option', { value: each, selected: each === reason }, each)))),
    h('span', { class: 'field' }, h('label', { for: 'webhook' }, 'Webhook'),
      h('input', { id: 'webhook', name: 'webhook', value: webhook, autocomplete: 'off' })),
    h('button', {}, 'Filter')),
    h('p', { class: 'row' },
      all(`Replay ${which}`, null, `Deliver ${which} again?`, 'dead/replay', 'POST', answer => `Replayed ${number(answer.replayed)}.`),
      all(`Drop ${which}`, 'danger', `Delete ${which} for good?`, 'dead', 'DELETE', answer => `Dropped ${number(answer.deleted)}.`)),
    note, list);
  const end = refresh(list, 5000, async signal => {
    const letters = await call(withQuery('dead', { ...filter, after, limit: 50 }), { signal, isExact: true });
    return [table('Dead letters', ['When', 'Reason', 'Event', 'For', 'About', 'Attempts', 'Data', ''],
      letters.items.map(item => row(item, (path, method, said) => change(path, { method }, said, end.again))),
      reason || webhook ? 'No dead letter fits. Take a filter away.' : 'Nothing is dead: what had to be delivered was.'),
    letters.next ? h('p', {}, link('dead', { ...filter, after: letters.next }, 'More dead letters')) : null];
  });
  return end;
}

function row(item, change) {
  const data = JSON.stringify(item.data), path = `dead/${encodeURIComponent(item.id)}`;
  return h('tr', {},
    h('td', { title: item.time }, since(item.time), ' ago'),
    h('td', { title: reasons[item.reason] }, h('b', { class: 'bad' }, item.reason), h('div', { class: 'dim words' }, item.detail)),
    h('td', { class: 'name' }, item.event || '–'),
    h('td', { class: 'mono cut', title: item.webhook ?? item.channel },
      item.webhook ? link('webhooks', { id: item.webhook }, item.webhook) : item.channel ?? '–'),
    h('td', { class: 'name' }, item.subject ?? '–'), h('td', { class: 'count' }, number(item.attempts)),
    h('td', {}, h('details', { 'data-key': item.id }, h('summary', { class: 'mono cut' }, data),
      h('p', { class: 'dim' }, reasons[item.reason]), h('pre', {}, pretty(data)))),
    h('td', {}, h('span', { class: 'row' },
      h('button', { type: 'button', 'aria-label': `Replay ${item.id}`, onclick: () =>
        change(`${path}/replay`, 'POST', 'Replayed. What fails again comes back with a new id.') }, 'Replay'),
      h('button', { type: 'button', class: 'danger', 'aria-label': `Drop ${item.id}`, onclick: () => {
        if (confirm(`Delete dead letter ${item.id} for good?`)) { change(path, 'DELETE', 'Dropped.'); }
      } }, 'Drop'))));
}
