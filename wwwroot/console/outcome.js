// What became of one publish: a tail of its event that is open from before the publish until its trace has come.

import { ApiError, stream, withQuery } from './api.js';
import { h, link, many } from './dom.js';
import { meaning } from './tail.js';

const openMs = 1500, traceMs = 3000;

const within = (ms, promise) => Promise.race([promise, new Promise(resolve => setTimeout(resolve, ms))]);

export function outcome(event) {
  const ending = new AbortController(), traces = [];
  let failure = null, opened = () => {}, arrived = () => {};
  const isOpen = new Promise(resolve => { opened = resolve; });
  stream(withQuery('tail', { event }), (name, data) => {
    if (name === 'trace') {
      traces.push(JSON.parse(data));
      arrived();
    }
  }, ending.signal, opened).catch(error => {
    failure = error;
    opened();
    arrived();
  });
  return {
    open: within(openMs, isOpen),
    end: () => ending.abort(),
    // The elements that say how many got the message with this answer; one of an unknown event has no id.
    async of({ id = null, ignore }) {
      const find = () => traces.findLast(trace => trace.id === id && (ignore || id !== null));
      const until = performance.now() + traceMs;
      while (!find() && !failure && performance.now() < until) {
        await within(until - performance.now(), new Promise(resolve => { arrived = resolve; }));
      }
      return [say(find(), failure, event)];
    },
  };
}

function say(trace, failure, event) {
  if (!trace) {
    return h('p', { class: 'dim' }, failure instanceof ApiError && (failure.status === 401 || failure.status === 403)
      ? 'A key with the scope admin also shows how many got it.' : 'The tail does not say how many got it.');
  }
  const { why, sessions, nodes } = trace;
  return h('p', { class: why === null ? 'good' : 'wait' },
    h('b', {}, sessions > 0 ? `${many(sessions, 'session')} on ${many(nodes, 'node')} got it.` : 'No session got it.'),
    why === null ? '' : ` ${why}: ${meaning(why)}`, ' ', link('tail', { event }, 'Tail'));
}
