// What the cluster does now, and did in the last 15 minutes.

import { call } from './api.js';
import { chart } from './chart.js';
import { h, number, since, table } from './dom.js';
import { refresh } from './refresh.js';

export const title = 'Overview';

export const show = main => refresh(main, 5000, async signal => {
  const [nodes, stats] = await Promise.all([call('nodes?transports=1', { signal }), call('stats', { signal })]);
  return [tiles(nodes.items, stats), missing(nodes), charts(stats), nodeTable(nodes.items)];
});

const sum = (items, member) => items.reduce((total, item) => total + (item[member] ?? 0), 0);

const transports = { websocket: 'WebSocket', sse: 'events', socketio: 'Socket.IO' };

// How many sessions speak what.
const byTransport = nodes => Object.entries(transports)
  .map(([key, name]) => [sum(nodes.map(node => node.transports ?? {}), key), name])
  .filter(([count]) => count > 0)
  .map(([count, name]) => `${number(count)} ${name}`)
  .join(', ');

function tiles(nodes, stats) {
  const last = stats.items.at(-1) ?? {};
  const tile = (name, value, note = '', kind = '') =>
    h('div', { class: 'tile' }, h('span', { class: 'dim' }, name), h('b', { class: kind }, value), h('small', {}, note));
  return h('div', { class: 'tiles' },
    tile('Nodes', number(nodes.length), nodes.every(node => node.state === 'ready') ? 'all ready' : 'see below'),
    tile('Sessions', number(sum(nodes, 'sessions')), byTransport(nodes)),
    tile('Publishes', number(Math.round(sum(nodes, 'publishes_s'))), 'a second'),
    tile('Deliveries', number(Math.round(sum(nodes, 'deliveries_s'))), 'a second'),
    tile('Lag', last.lag_p50_ms === null || last.lag_p50_ms === undefined ? '–' : `${last.lag_p50_ms} ms`,
      last.lag_p99_ms === null || last.lag_p99_ms === undefined ? 'nothing delivered' : `p99 ${last.lag_p99_ms} ms`),
    tile('Backplane', last.redis_up === false ? 'away' : 'up', '', last.redis_up === false ? 'bad' : 'good'));
}

export const missing = list => list.missing?.length
  ? h('p', { class: 'bad', role: 'alert' }, `Without an answer within a second: ${list.missing.join(', ')}.`)
  : null;

function charts({ step_s: seconds, items }) {
  const rate = member => items.map(item => (item[member] ?? 0) / seconds);
  const plain = member => items.map(item => item[member] ?? null);
  const codes = [...new Set(items.flatMap(item => Object.keys(item.closes ?? {})))].sort();
  return h('div', { class: 'charts' },
    chart('Messages a second', [{ name: 'published', values: rate('publishes') },
      { name: 'delivered', values: rate('deliveries') }], { seconds }),
    chart('Sessions', [{ name: 'open', values: plain('sessions') }], { seconds }),
    chart('Lag', [{ name: 'p50', values: plain('lag_p50_ms') }, { name: 'p99', values: plain('lag_p99_ms') }],
      { seconds, unit: ' ms' }),
    chart('Dropped and closed', [{ name: 'dropped', values: plain('drops') },
      ...codes.map(code => ({ name: `closed ${code}`, values: items.map(item => item.closes?.[code] ?? 0) }))],
    { seconds }));
}

const nodeTable = nodes => h('section', {}, h('h2', {}, 'Nodes'), table('Nodes of the cluster',
  ['Node', 'Host', 'State', 'Up', 'Version', 'Sessions', 'Rooms', 'Publishes/s', 'Deliveries/s'],
  nodes.map(node => h('tr', {},
    h('td', { class: 'name' }, node.id), h('td', {}, node.host),
    h('td', { class: { ready: 'good', degraded: 'wait', draining: 'wait' }[node.state] }, node.state),
    h('td', {}, since(node.started)), h('td', {}, node.version),
    h('td', { class: 'count', title: byTransport([node]) }, number(node.sessions)),
    h('td', { class: 'count' }, number(node.rooms)), h('td', { class: 'count' }, number(node.publishes_s)),
    h('td', { class: 'count' }, number(node.deliveries_s)))), 'No node answered.'));
