// What becomes of each publish, as it happens: filtered, opened, paused, exported.

import { stream, withQuery } from './api.js';
import { address, h, link, many, number, pretty } from './dom.js';
import { failure } from './refresh.js';

export const title = 'Tail';

const keptMax = 1000, shownMax = 300, againMs = 2000;

// What each reason means, and what to do; docs/operations.md says more.
const reasons = {
  unknown_event: 'The event is not registered, so the message was ignored. Register it, or mend its name.',
  no_room: 'The message names no room, and its event has no default bus. See left_out for names that are no rooms.',
  no_subscriber: 'No session is in these rooms on any node. Has the client joined, and under this name?',
  duplicate: 'A message with this key was published before. Nothing to do if the publisher repeated it.',
  spooled: 'Redis is away. Sessions of this node got it, others get it when Redis is back.',
};
export const meaning = why => why === null ? 'It was queued for these sessions.'
  : reasons[why] ?? 'The publish was refused, and its caller was told with this code.';

export function show(main, { event = '', room = '', text = '' }) {
  const ending = new AbortController();
  let kept = [], waiting = [], paused = false, drawing = 0, seen = 0, leftOut = 0, timer = 0, isOpen = false;
  const field = (name, label, value) => h('span', { class: 'field' },
    h('label', { for: name }, label), h('input', { id: name, name, value, autocomplete: 'off' }));
  const lines = h('ol', { id: 'traces', class: 'traces', 'aria-label': 'Traces, newest first' });
  const count = h('span', { class: 'dim', role: 'status' });
  const trouble = h('div');
  const button = (label, onclick) => h('button', { type: 'button', onclick }, label);
  const pause = button('Pause', () => {
    paused = !paused;
    pause.textContent = paused ? 'Go on' : 'Pause';
    pause.setAttribute('aria-pressed', paused);
    drawSoon();
  });
  pause.setAttribute('aria-pressed', false);
  const form = h('form', { class: 'search', role: 'search', onsubmit: submit => {
    submit.preventDefault();
    const { event, room, text } = form.elements;
    location.hash = address('tail', { event: event.value.trim(), room: room.value.trim(), text: text.value.trim() });
  } }, field('event', 'Event', event), field('room', 'Room', room), field('text', 'Text', text), h('button', {}, 'Filter'));
  main.replaceChildren(form,
    h('section', {}, h('div', { class: 'row' }, count, h('span', { class: 'row push' }, pause,
      button('Clear', () => { [kept, waiting, seen, leftOut] = [[], [], 0, 0]; lines.replaceChildren(); drawSoon(); }),
      button('Export', () => save(kept)))), trouble, lines));

  const fits = json => !text || json.toLowerCase().includes(text.toLowerCase());
  const drawSoon = () => { drawing ||= requestAnimationFrame(draw); };

  function draw() {
    drawing = 0;
    if (!paused) {
      lines.prepend(...waiting.slice(-shownMax).toReversed().map(line));
      waiting = [];
      while (lines.children.length > shownMax) { lines.lastChild.remove(); }
    }
    const more = [
      leftOut ? `${number(leftOut)} left out, too many in a second: filter by event or room` : '',
      paused ? `paused with ${number(waiting.length)} waiting` : '',
    ].filter(Boolean).join(', ');
    count.textContent = !isOpen && !seen ? 'Opening …'
      : seen ? `${many(seen, 'publish')}, newest first${more && ', ' + more}`
        : `Nothing is published now${event || room || text ? ' that fits the filter' : ''}. Publish in “Watch and publish” to see a line.`;
  }

  function note(name, data) {
    if (name === 'left_out') { leftOut += JSON.parse(data).count; }
    else if (name === 'trace' && fits(data)) {
      seen++;
      kept.push(data);
      waiting.push(data);
      if (kept.length > keptMax) { kept.shift(); }
      if (waiting.length > keptMax) { waiting.shift(); }
    }
    drawSoon();
  }

  async function open() {
    try {
      await stream(withQuery('tail', { event, room, data: 1, heartbeat: 1 }), note, ending.signal, () => {
        isOpen = true;
        trouble.replaceChildren();
        drawSoon();
      });
    } catch (error) {
      if (ending.signal.aborted) { return; }
      trouble.replaceChildren(failure(error, () => { clearTimeout(timer); open(); }));
    }
    // The node drained or the network was lost: what was published meanwhile is not shown.
    isOpen = false;
    if (!ending.signal.aborted) { timer = setTimeout(open, againMs); }
  }

  draw();
  open();
  return () => {
    ending.abort();
    clearTimeout(timer);
  };
}

function line(json) {
  const trace = JSON.parse(json), { why } = trace;
  const kind = why === null ? 'good' : why === 'spooled' || why === 'duplicate' ? 'wait' : 'bad';
  return h('li', {}, h('details', { ontoggle: event => open(event.target, trace, json) },
    h('summary', {},
      h('span', { class: 'mono dim' }, new Date(trace.time).toTimeString().slice(0, 8)),
      h('b', { class: 'name' }, trace.event || '–'),
      h('span', { class: 'name' }, trace.rooms.join(', ') || '–'),
      h('span', { class: 'dim' }, trace.from),
      h('span', { class: kind }, why ?? many(trace.sessions, 'session')))));
}

// Filled when it is opened: most lines never are.
function open(details, trace, json) {
  if (!details.open || details.children.length > 1) { return; }
  const places = trace.rooms.map((room, i) => h('tr', {}, h('td', { class: 'name' }, link('rooms', { room }, room)),
    h('td', { class: 'mono' }, trace.pos[i] ?? '–')));
  details.append(h('p', {}, meaning(trace.why)),
    h('p', { class: 'dim' }, `${many(trace.sessions, 'session')} on ${many(trace.nodes, 'node')}`),
    places.length ? h('table', {}, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Room'), h('th', { scope: 'col' }, 'Position'))),
      h('tbody', {}, places)) : '',
    h('pre', {}, pretty(json)));
}

// One trace a line, the oldest first.
function save(traces) {
  const file = URL.createObjectURL(new Blob(traces.map(json => json + '\n'), { type: 'application/x-ndjson' }));
  h('a', { href: file, download: 'tail.ndjson' }).click();
  setTimeout(() => URL.revokeObjectURL(file), 60_000);
}
