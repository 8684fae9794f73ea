// Sessions of the cluster: searched, paged, and closed.

import { call, withQuery } from './api.js';
import { address, h, link, number, since, table } from './dom.js';
import { missing } from './overview.js';
import { changes, refresh } from './refresh.js';

export const title = 'Sessions';

export function show(main, { user = '', room = '', address: from = '', after = '', id = '' }) {
  const list = h('div'), { note, change } = changes();
  const field = (name, label, value) => h('span', { class: 'field' },
    h('label', { for: name }, label), h('input', { id: name, name, value, autocomplete: 'off' }));
  main.replaceChildren(
    h('form', { class: 'search', role: 'search', onsubmit: event => {
      event.preventDefault();
      const { user, room, address: from } = event.target.elements;
      location.hash = address('sessions', { user: user.value.trim(), room: room.value.trim(), address: from.value.trim() });
    } },
    field('user', 'User', user), field('room', 'In room', room), field('address', 'Address', from),
    h('button', {}, 'Search')), note, list);
  const end = refresh(list, 5000, async signal => {
    const sessions = await call(withQuery('sessions', { user, room, address: from, after, limit: 50 }), { signal });
    return [missing(sessions), table('Sessions',
      ['Session', 'User', 'Address', 'Transport', 'Since', 'Rooms', 'Queued', 'Delivered', 'Sent', ''],
      sessions.items.map(item => row(item, item.session === id, (path, said) => change(path, { method: 'DELETE' }, said, end.again))),
      user || room || from ? 'No session fits. Take a filter away.' : 'No session is open. A page that subscribes is one.'),
    sessions.next ? h('p', {}, link('sessions', { user, room, address: from, after: sessions.next }, 'More sessions')) : null];
  });
  return end;
}

function row(item, isChosen, change) {
  return h('tr', { class: isChosen ? 'chosen' : null },
    h('td', { class: 'mono cut', title: `${item.session} on node ${item.node}\n${item.agent ?? ''}` }, item.session),
    h('td', {}, item.user ?? '–'), h('td', { class: 'mono' }, item.address ?? '–'), h('td', {}, item.transport),
    h('td', {}, since(item.since)),
    h('td', {}, h('details', { 'data-key': item.session }, h('summary', {}, number(item.rooms.length)),
      h('ul', { class: 'chips' }, item.rooms.map(room => h('li', {}, link('rooms', { room }, room),
        h('button', { type: 'button', 'aria-label': `Take the session out of ${room}`, onclick: () =>
          change(`sessions/${item.session}/rooms/${encodeURIComponent(room)}`, `It has left ${room}.`) }, '×')))))),
    h('td', { class: 'count' }, number(item.queued)), h('td', { class: 'count' }, number(item.delivered)),
    h('td', { class: 'count' }, number(item.sent)),
    h('td', {}, h('button', { type: 'button', class: 'danger', 'aria-label': `Kick session ${item.session}`, onclick: () => {
      if (confirm(`Close session ${item.session}? Its client is told not to come back.`)) {
        change(`sessions/${item.session}`, 'Closed.');
      }
    } }, 'Kick')));
}
