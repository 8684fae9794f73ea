// Rooms of the cluster: searched by prefix, paged; one room with who is in it and what it keeps.

import { call, withQuery } from './api.js';
import { address, h, link, number, pretty, since, table } from './dom.js';
import { missing } from './overview.js';
import { refresh } from './refresh.js';

export const title = 'Rooms';

export function show(main, { prefix = '', room = '', after = '' }) {
  if (room) { return showRoom(main, room); }
  const list = h('div');
  main.replaceChildren(
    h('form', { class: 'search', role: 'search', onsubmit: event => {
      event.preventDefault();
      location.hash = address('rooms', { prefix: event.target.elements.prefix.value.trim() });
    } },
    h('label', { for: 'prefix' }, 'Rooms that begin with'),
    h('input', { id: 'prefix', name: 'prefix', value: prefix, placeholder: 'endpoint:', autocomplete: 'off' }),
    h('button', {}, 'Search')), list);
  return refresh(list, 5000, async signal => {
    const rooms = await call(withQuery('rooms', { prefix, after, limit: 50 }), { signal });
    return [missing(rooms), table('Rooms', ['Room', 'Sessions', 'Position', 'Kept messages'],
      rooms.items.map(item => h('tr', {},
        h('td', { class: 'name' }, link('rooms', { room: item.room }, item.room)),
        h('td', { class: 'count' }, number(item.sessions)), h('td', { class: 'mono' }, item.pos ?? '–'),
        h('td', { class: 'count' }, number(item.kept)))),
      prefix ? `No room begins with ${prefix}. Rooms exist while a session is in them.`
        : 'No session is in any room. Open “Watch and publish” and subscribe to one.'),
    rooms.next ? h('p', {}, link('rooms', { prefix, after: rooms.next }, 'More rooms')) : null];
  });
}

const path = (room, rest) => `rooms/${encodeURIComponent(room)}/${rest}`;

function showRoom(main, room) {
  const list = h('div');
  main.replaceChildren(h('p', {}, link('rooms', {}, '← All rooms')), h('h2', { class: 'name' }, room), list);
  return refresh(list, 5000, async signal => {
    const [sessions, history] = await Promise.all([
      call(path(room, 'sessions?limit=100'), { signal }), call(path(room, 'history?limit=50'), { signal, isExact: true })]);
    return [
      h('p', { class: 'row' }, link('watch', { room }, 'Watch it live')),
      h('section', {}, h('h3', {}, `Who is in it (${number(sessions.items.length)}${sessions.next ? ' and more' : ''})`),
        missing(sessions), table(`Sessions in ${room}`, ['Session', 'User', 'Node', 'Since'],
          sessions.items.map(item => h('tr', {},
            h('td', { class: 'mono' }, link('sessions', { id: item.session, room }, item.session)),
            h('td', {}, item.user ?? '–'), h('td', { class: 'mono' }, item.node), h('td', {}, since(item.since)))),
          'No session is in this room.')),
      h('section', {}, h('div', { class: 'row' }, h('h3', {}, `History, position ${history.pos ?? 'none'}`),
        h('button', { type: 'button', class: 'push', onclick: async () => {
          if (!confirm(`Empty the history of ${room}? Clients that resume are told of the gap.`)) { return; }
          await call(path(room, 'history'), { method: 'DELETE' });
        } }, 'Empty')),
      table(`History of ${room}`, ['Position', 'Event', 'Data', 'Id'],
        history.items.toReversed().map(item => h('tr', {},
          h('td', { class: 'mono' }, item.pos), h('td', {}, item.event),
          h('td', {}, h('details', { 'data-key': item.pos }, h('summary', { class: 'mono cut' }, JSON.stringify(item.data)),
            h('pre', {}, pretty(JSON.stringify(item.data))))),
          h('td', { class: 'mono' }, item.id))), 'The room keeps no message now.')),
    ];
  });
}
