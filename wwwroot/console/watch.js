// A session of this page: rooms that it joins, what comes from there, and pushes to try them with.

import { asItCame, call, hasKey, key, setKey, url } from './api.js';
import { Dmb } from '../dmb.js';
import { h } from './dom.js';
import { outcome } from './outcome.js';

export const title = 'Watch and publish';

const shownMax = 200, charsMax = 4000, countdownMs = 250;
const buses = ['support', 'calls', 'internal', 'everyone', 'dial_calls', 'locations', 'traces'];

// The frame as it came: JSON.parse would round a large number, and its data is shown to people.
let raw = '';
class TappedSocket extends WebSocket {
  constructor(...all) {
    super(...all);
    this.addEventListener('message', event => { raw = event.data; });
  }
}

export function show(main, _, frame) {
  const wanted = new Set(new URLSearchParams(location.hash.split('?')[1]).getAll('room'));
  const view = page();
  let client = null, joined = new Set(), waiting = [], seen = 0, paused = false, drawing = 0, countdown = 0;

  // What this session should be in is kept in the address, so that a reload joins the same rooms.
  const keepWanted = () => history.replaceState(null, '', '#/watch'
    + (wanted.size ? '?' + new URLSearchParams([...wanted].map(room => ['room', room])) : ''));

  function connect() {
    leave();
    if (hasKey()) { frame.askForKey(false); }
    client = new Dmb(url('.').href, { rooms: [...wanted], WebSocket: TappedSocket, transport: 'ws', ...hasKey() && { token: key() } });
    const mine = client;
    client.on('state', state => mine === client && said(state));
    client.on('message', ({ event }) => note(event, true));
    client.on('event', heard);
    client.on('resumed', ({ room, missed, got, lost, why }) => note('resumed', false,
      `${room}: missed ${missed}, got ${got}${lost ? `, lost ${lost}` : ''}${why ? ` (${why})` : ''}`));
    client.on('gap', gap => note('gap', false, JSON.stringify(gap)));
    client.on('error', error => refused(error.code === 'bad_frame' ? '' : 'subscribe', error));
  }

  function leave() {
    const old = client;
    client = null;
    old?.close();
    clearInterval(countdown);
    joined = new Set();
    drawRooms();
  }

  function said({ state, why: cause, inMs }) {
    const why = cause === 'silent' ? 'the network is silent' : cause;
    clearInterval(countdown);
    if (state !== 'connected') { joined = new Set(); drawRooms(); }
    frame.toggle.textContent = state === 'closed' ? 'Connect' : 'Disconnect';
    switch (state) {
      case 'connecting': return frame.state('wait', 'connecting');
      case 'connected': return frame.state('good', `connected, session ${client.id}`);
      case 'waiting': return count(`${why}; again`, inMs);
      default:
        // A key that was refused is not held on to.
        if (/^closed (4000|4103)|not accepted|expired/.test(why)) {
          setKey('');
          frame.askForKey(true);
        }
        return why === 'closed' ? frame.state('dim', 'disconnected') : frame.state('bad', why);
    }
  }

  // Says how long until something happens.
  function count(text, inMs) {
    clearInterval(countdown);
    const at = performance.now() + inMs;
    const tick = () => frame.state('wait', `${text} in ${Math.max(0, (at - performance.now()) / 1000).toFixed(1)} s`);
    countdown = setInterval(tick, countdownMs);
    tick();
  }

  function heard({ event, data }) {
    if (event === 'welcome') {
      joined.add('public');
      if (data.public && !hasKey()) { frame.askForKey(true); }
    }
    if (event === 'joined') { joined.add(data); }
    if (event === 'left') { joined.delete(data); }
    if (event === 'backplane') {
      if (data.state === 'down') { frame.state('wait', 'connected, but Redis is away: other nodes are not reached'); }
      else { said({ state: 'connected' }); }
    }
    if (event === 'drain') { count('the node drains; this session moves', data.after_ms); }
    drawRooms();
    note(event, false);
  }

  function refused(event, error, room = '') {
    view.refused.hidden = false;
    view.refused.textContent = `${[event, room].filter(Boolean).join(' ')}: ${error.code}, ${error.message}`;
  }

  function note(event, isMessage, text) {
    const from = raw.indexOf(',"data":') + 8, to = isMessage ? raw.lastIndexOf(',"id":') : raw.length - 1;
    const data = text ?? raw.slice(from, to), more = data.length - charsMax;
    waiting.push({
      time: new Date().toTimeString().slice(0, 8), event, isOwn: !isMessage,
      data: more > 0 ? `${data.slice(0, charsMax)} … ${more} characters more` : data,
    });
    if (waiting.length > shownMax) { waiting.shift(); }
    seen++;
    drawSoon();
  }

  function drawSoon() { drawing ||= requestAnimationFrame(draw); }

  function draw() {
    drawing = 0;
    if (!paused) {
      view.messages.prepend(...waiting.toReversed().map(({ time, event, data, isOwn }) =>
        h('tr', { class: isOwn ? 'own' : null }, h('td', {}, time), h('td', {}, event), h('td', {}, data))));
      waiting = [];
      while (view.messages.rows.length > shownMax) { view.messages.deleteRow(-1); }
    }
    view.count.textContent = `${seen} received, newest first${paused ? `, paused with ${waiting.length} waiting` : ''}`;
  }

  function drawRooms() {
    view.rooms.replaceChildren(...[...joined].map(room => h('li', {}, room, h('button', {
      type: 'button', 'aria-label': `Unsubscribe ${room}`, onclick: () => {
        wanted.delete(room);
        keepWanted();
        client.leave(room).catch(error => refused('unsubscribe', error, room));
      } }, '×'))));
  }

  const target = () => url('_notify/' + encodeURIComponent(view.event.value.trim()));
  const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
  function drawCurl() {
    const secret = hasKey() ? '-H "Authorization: Bearer $KEY" ' : '';
    view.curl.textContent = `curl ${secret}-d ${quoted(view.body.value)} ${quoted(String(target()).replaceAll('%3A', ':'))}`;
  }

  view.subscribe.onsubmit = async event => {
    event.preventDefault();
    const room = view.room.value;
    view.refused.hidden = true;
    view.room.value = '';
    wanted.add(room);
    keepWanted();
    try { await client.join(room); }
    catch (error) {
      wanted.delete(room);
      keepWanted();
      refused('subscribe', error, room);
    }
  };
  view.publish.onsubmit = async event => {
    event.preventDefault();
    view.answer.textContent = '…';
    view.reached.replaceChildren();
    const watching = outcome(view.event.value.trim());
    await watching.open;
    try {
      const answer = await fetch(target(), {
        method: 'POST', body: view.body.value,
        headers: { 'Content-Type': 'application/json', ...hasKey() && { Authorization: `Bearer ${key()}` } },
      });
      const text = await answer.text();
      view.answer.textContent = `${answer.status} ${text}`;
      if (answer.ok) { view.reached.replaceChildren(...await watching.of(JSON.parse(text))); }
    } catch (error) { view.answer.textContent = `No answer: ${error.message}`; }
    finally { watching.end(); }
  };
  view.event.onfocus = () => suggest(view.events, 'register', events => events.map(each => each.event));
  view.to.onfocus = () => suggest(view.known, 'rooms?limit=100', rooms => rooms.items.map(each => each.room));
  // The chosen room becomes the member _in of the data.
  view.to.onchange = () => {
    try {
      const data = JSON.parse(view.body.value, asItCame);
      view.body.value = JSON.stringify({ ...data, _in: [view.to.value.trim()] });
      drawCurl();
    } catch { /* Data that is no JSON yet stays as it is. */ }
  };
  view.event.oninput = view.body.oninput = drawCurl;
  view.pause.onclick = () => {
    paused = !paused;
    view.pause.textContent = paused ? 'Go on' : 'Pause';
    view.pause.setAttribute('aria-pressed', paused);
    drawSoon();
  };
  view.clear.onclick = () => {
    view.messages.replaceChildren();
    [waiting, seen] = [[], 0];
    drawSoon();
  };
  frame.toggle.hidden = false;
  frame.toggle.onclick = () => client.state.state === 'closed' ? connect() : client.close();

  main.replaceChildren(...view.all);
  drawCurl();
  draw();
  connect();
  return () => {
    frame.toggle.hidden = true;
    leave();
  };
}

// Fills a list of suggestions, for a caller that may see them.
async function suggest(list, path, names) {
  try { list.replaceChildren(...names(await call(path)).map(value => h('option', { value }))); }
  catch { /* Without the scope the names are typed. */ }
}

// The elements of the view, those that change by name.
function page() {
  const rooms = h('ul', { class: 'chips', 'aria-label': 'Rooms of this session' });
  const refused = h('p', { class: 'bad', role: 'alert', hidden: true });
  const room = h('input', { id: 'room', list: 'buses', required: true, autocomplete: 'off', value: 'support' });
  const subscribe = h('form', { class: 'stack' },
    h('label', { for: 'room' }, 'A bus, or a notification room such as endpoint:1234'), room, h('button', {}, 'Subscribe'));
  const event = h('input', { id: 'event', list: 'events', required: true, autocomplete: 'off', value: 'report_csr' });
  const to = h('input', { id: 'to', list: 'known', autocomplete: 'off', placeholder: 'as in the data' });
  const events = h('datalist', { id: 'events' }), known = h('datalist', { id: 'known' });
  const body = h('textarea', { id: 'body', spellcheck: 'false' });
  body.value = '{"text":"Hello","_in":["endpoint:1234"]}';
  const publish = h('form', { class: 'stack' },
    h('label', { for: 'event' }, 'Event'), event, events,
    h('label', { for: 'to' }, 'To the notification room (_in)'), to, known, h('label', { for: 'body' }, 'Data, any JSON'), body, h('button', { class: 'main' }, 'POST'));
  const curl = h('pre', { id: 'curl' }), answer = h('pre', { role: 'status' });
  const reached = h('div', { id: 'reached', 'aria-live': 'polite' });
  const messages = h('tbody', { id: 'messages' }), count = h('span', { class: 'dim' });
  const pause = h('button', { type: 'button', class: 'push', 'aria-pressed': 'false' }, 'Pause');
  const clear = h('button', { type: 'button' }, 'Clear');
  const all = [
    h('p', { class: 'dim' }, 'First press Subscribe, then POST: the message that you publish arrives in Messages.'),
    h('div', { class: 'columns' },
      h('div', {},
        h('section', {}, h('h2', {}, 'Rooms'), subscribe,
          h('datalist', { id: 'buses' }, buses.map(bus => h('option', { value: bus }))), refused, rooms),
        h('section', {}, h('h2', {}, 'Publish'), publish, h('p', { class: 'dim' }, 'The same with curl'), curl,
          h('p', { class: 'dim' }, 'Answer'), answer, reached)),
      h('section', {}, h('div', { class: 'row' }, h('h2', {}, 'Messages'), count, pause, clear),
        h('div', { class: 'scroll' }, h('table', {}, h('caption', { class: 'hidden' }, 'Messages, newest first'),
          h('thead', {}, h('tr', {}, ['Time', 'Event', 'Data'].map(name => h('th', { scope: 'col' }, name)))), messages)))),
  ];
  return { all, rooms, refused, room, subscribe, event, events, to, known, body, publish, curl, answer, reached, messages, count, pause, clear };
}
