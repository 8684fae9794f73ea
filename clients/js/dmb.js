// A client of DMB, the Duplex Message Broker, for browsers and Node.js. docs/protocol.md defines what goes over the
// wire.

import { DmbError, lostError, refusal } from './lib/error.js';
import { http } from './lib/http.js';
import { positions } from './lib/positions.js';
import { openSocket } from './lib/socket.js';
import { openStream } from './lib/stream.js';
import { watchdog } from './lib/watchdog.js';

export { DmbError };

/**
 * @typedef {import('./lib/types.js').Message} Message
 * @typedef {import('./lib/types.js').Gap} Gap
 * @typedef {import('./lib/types.js').Resumed} Resumed
 * @typedef {import('./lib/types.js').State} State
 * @typedef {import('./lib/types.js').Uplink} Uplink
 * @typedef {import('./lib/types.js').Events} Events
 * @typedef {import('./lib/types.js').Options} Options
 */

const steadyMs = 10_000, retryMs = 1000, renewMs = 30_000, afterMaxMs = 300_000, timerMaxMs = 2_147_483_647;
const brokerEvents = /^(bye|drain|backplane|dmb:(dis)?connected)$/;

/** @param {any} value @param {number} low @param {number} high @param {number} other */
const within = (value, low, high, other) => Math.min(high, Math.max(low, value)) || other;
/** What failed of these, once all are done. @param {Promise<any>[]} all */
const failures = async all =>
  (await Promise.allSettled(all)).flatMap(one => 'reason' in one ? [refusal(one.reason)] : []);

/** A connection that comes back: it resumes its rooms, hands on each message once, and says what it missed. */
export class Dmb {
  /** @type {Options} */ #options;
  /** @type {string[]} */ #urls;
  #positions;
  #node = { base: '', token: '' };
  #http;
  /** @type {ReturnType<typeof openSocket> | ReturnType<typeof openStream> | null} */ #link = null;
  /** @type {ReturnType<typeof watchdog> | undefined} */ #watchdog;
  /** @type {any} */ #bye;
  /** @type {any} */ #timer;
  /** @type {any} */ #renewal;
  /** @type {Map<string, Set<any>>} */ #listeners = new Map();
  /** @type {Set<string>} */ #rooms;
  /** @type {Map<string, string>} */ #services = new Map();
  /** @type {DmbError | null} */ #error = null;
  /** @type {State} */ #state = { state: 'connecting', transport: 'ws', why: '' };
  #isStream = false; #turn = 0; #attempt = 0; #openedAt = 0; #drains = 0; #perSubscribe = 100;

  /** The bkid, once this client is a backend service. @type {string | undefined} */ bkid;
  /** The session's id. @type {string | undefined} */ id;

  /**
   * @param {string | string[]} urls The nodes, such as `http://localhost:8082`; one is taken at random each time.
   * @param {Options} [options]
   */
  constructor(urls, options = {}) {
    const { rooms, backend, service, user, signal, fetch } = options;
    this.#urls = [urls].flat().map(url => `${url}`.replace(/^ws/, 'http').replace(/\/(ws)?$/, ''));
    this.#options = { timeoutMs: 10_000, ...options };
    this.#http = http(this.#node, fetch);
    this.#rooms = new Set(rooms);
    // The rooms of a backend service have a space in their names.
    this.#positions = positions(options.positions, (type, value) => this.#emit(type, value),
      room => room.includes(' ') || this.#rooms.has(room));
    this.bkid = backend?.bkid;
    if (service) { this.#services.set(service, `${user}`); }
    signal?.addEventListener('abort', () => this.close(), { once: true });
    globalThis.addEventListener?.('online', this.#online);
    queueMicrotask(() => signal?.aborted ? this.close() : this.#open());
  }

  /** What it does now. */
  get state() { return this.#state; }

  /** Where each room stands, to go on from there in another client. */
  get positions() { return Object.fromEntries(this.#positions.rooms); }

  /**
   * Calls a function for each event of this type.
   * @template {keyof Events} T @param {T} type @param {(value: Events[T]) => void} listener
   * @returns {() => void} what ends it
   */
  on(type, listener) {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
    return () => { all.delete(listener); };
  }

  /** Resolves when it is connected and in its rooms; rejects when it is closed. @returns {Promise<Dmb>} */
  async connected() {
    while (this.#state.state !== 'connected') {
      if (this.#state.state === 'closed') { throw this.#error ?? new DmbError('closed'); }
      await new Promise(done => { const end = this.on('state', value => { end(); done(value); }); });
    }
    return this;
  }

  /**
   * Sends an event once it is connected; resolves with the data of the ack. What was aborted or timed out before it is
   * connected is not sent.
   * @param {string} event @param {any} [data] @param {{ signal?: AbortSignal }} [options] @returns {Promise<any>}
   */
  send(event, data, { signal } = {}) {
    return new Promise((done, fail) => {
      let isOver = false;
      const end = (/** @type {any} */ error) => { isOver = true; fail(error); };
      const timer = setTimeout(() => end(new DmbError('timeout', undefined, true)), this.#options.timeoutMs);
      const abort = () => end(signal?.reason);
      signal?.aborted ? abort() : signal?.addEventListener('abort', abort);
      this.connected().then(() => isOver || this.#request(event, data)).then(done, fail)
        .finally(() => { clearTimeout(timer); signal?.removeEventListener('abort', abort); });
    });
  }

  /** Joins rooms, now and after each reconnect. @param {string | string[]} rooms */
  async join(rooms) {
    const names = [rooms].flat();
    names.forEach(room => this.#rooms.add(room));
    await this.#soon(() => this.#subscribe(names));
  }

  /** Leaves rooms. @param {string | string[]} rooms */
  async leave(rooms) {
    const names = [rooms].flat();
    const { rooms: known, reports } = this.#positions;
    for (const room of names) { [this.#rooms, known, reports].forEach(all => all.delete(room)); }
    await this.#soon(() => this.#request('unsubscribe', names));
  }

  /**
   * Joins a backend service as one of its users, now and after each reconnect.
   * @param {string} service @param {string} user
   */
  async enter(service, user) {
    this.#services.set(service, user);
    await this.#soon(() => this.#serve(service, user));
  }

  /** Leaves a backend service. @param {string} service */
  async exit(service) {
    this.#services.delete(service);
    await this.#soon(() => this.#request('dmb:disconnect', { service }));
  }

  /**
   * Says something to a backend service that was joined.
   * @param {any} data @param {string} [service] needed where several were joined
   */
  say(data, service) { return this.send('dmb:message', { service, data }); }

  /**
   * As a backend: to all users. With the same `id` again it is delivered once.
   * @param {any} data @param {string} [id]
   */
  broadcast(data, id) { return this.send('dmb:broadcast', { id, data }); }

  /** As a backend: to one user. @param {string} user @param {any} data @param {string} [id] */
  direct(user, data, id) { return this.send('dmb:direct', { id, user, data }); }

  /**
   * The messages, until the client is closed. A reader that falls `max` behind is told of what it lost by a `gap`.
   * @param {{ signal?: AbortSignal, max?: number }} [options] @returns {AsyncGenerator<Message, void, void>}
   */
  async *messages({ signal, max = 10_000 } = {}) {
    /** @type {Message[]} */
    let queue = [];
    let lost = 0, wake = () => {};
    const ends = [
      this.on('message', message => { queue.length < max ? queue.push(message) : lost++; wake(); }),
      this.on('state', () => wake()),
    ];
    const abort = () => wake();
    signal?.addEventListener('abort', abort);
    try {
      while (!signal?.aborted) {
        const batch = queue;
        queue = [];
        if (lost) { this.#emit('gap', { room: null, lost, why: 'slow_reader' }); lost = 0; }
        for (const message of batch) { yield message; }
        if (queue.length) { continue; }
        if (this.#error) { throw this.#error; }
        if (this.#state.state === 'closed') { return; }
        await new Promise(done => { wake = () => done(undefined); });
      }
    } finally {
      ends.forEach(end => end());
      signal?.removeEventListener('abort', abort);
    }
  }

  [Symbol.asyncIterator]() { return this.messages(); }

  /** Ends it for good. */
  close() { this.#end('closed', null); }

  /** @template {keyof Events} T @param {T} type @param {Events[T]} value */
  #emit(type, value) {
    for (const listener of this.#listeners.get(type) ?? []) {
      try { listener(value); } catch (error) { queueMicrotask(() => { throw error; }); }
    }
  }

  /** @param {State['state']} state @param {string} [why] @param {number} [inMs] */
  #be(state, why = '', inMs) {
    this.#state = { state, transport: this.#isStream ? 'sse' : 'ws', why, inMs };
    this.#emit('state', this.#state);
  }

  // A network that is back is used at once, and one that only seems to be is found out.
  #online = () => {
    if (this.#state.state === 'waiting') { this.#after(Math.random() * retryMs, () => this.#open()); }
    if (this.#state.state === 'connected') { this.#watchdog?.ask(); }
  };

  /** @param {number} [ms] @param {() => void} [action] */
  #after(ms, action) {
    clearTimeout(this.#timer);
    if (action) { this.#timer = setTimeout(action, ms); }
  }

  async #askToken() {
    const { token } = this.#options;
    return `${typeof token === 'function' ? await token() : token ?? ''}`;
  }

  /** @param {boolean} [asStream] */
  async #open(asStream) {
    const turn = ++this.#turn, isMine = () => turn === this.#turn && this.#state.state !== 'closed';
    const { transport, WebSocket = globalThis.WebSocket } = this.#options;
    const lost = (/** @type {string} */ why, /** @type {number} */ code = 0) => isMine() && this.#lost(why, code);
    this.#isStream = asStream || transport === 'sse' || !WebSocket;
    this.#bye = null;
    this.#node.base = this.#urls[Math.floor(Math.random() * this.#urls.length)];
    this.#openedAt = performance.now();
    this.#be('connecting');
    this.#after(this.#options.timeoutMs, () => lost('no welcome'));
    try {
      const token = await this.#askToken();
      if (!isMine()) { return; }
      this.#node.token = token;
      if (this.#isStream) { await this.#openStream(isMine); }
      else { this.#link = openSocket(WebSocket, this.#node.base, read => isMine() && this.#take(read), lost); }
    } catch (error) {
      if (!isMine()) { return; }
      const failure = refusal(error);
      if (failure.afterMs) { this.#bye = { after_ms: failure.afterMs }; }
      this.#fail(failure, [400, 401, 403].includes(failure.status ?? 0));
    }
  }

  // Server-sent events: what comes is made into the frames that a socket has.
  /** @param {() => boolean} isMine */
  async #openStream(isMine) {
    const { backend } = this.#options;
    if (backend) {
      this.bkid = (await this.#http.call('/register/backend', { name: backend.name, bkid: this.bkid })).bkid;
    }
    if (!isMine()) { return; }
    const link = this.#link = openStream(this.#http, this.bkid);
    await link.read([...new Set(['public', ...this.#rooms])], this.#services, this.#positions.cursor(), () => {
      if (isMine()) { this.#enter(() => []); }
    }, ({ event, data, id, retry }) => isMine() && this.#take(() => {
      if (retry) { this.#bye = { ...this.#bye, after_ms: +retry }; }
      const place = this.#positions.takeCursor(id);
      if (event && event !== 'ping') { return { event, data: JSON.parse(data), ...place }; }
    }));
    if (isMine()) { this.#lost('the stream ended'); }
  }

  // What can't be read changes nothing: it is told, and the connection goes on.
  /** @param {() => any} read */
  #take(read) {
    this.#watchdog?.heard();
    try {
      const frame = read();
      if (frame) { this.#receive(frame); }
    } catch (error) {
      this.#emit('error', new DmbError('bad_frame', refusal(error).message));
    }
  }

  /** @param {any} frame */
  #receive(frame) {
    const { event, data, id, room, pos } = frame, isStream = this.#isStream;
    if (typeof event !== 'string') { throw new Error('no event'); }
    switch (event) {
      case 'welcome': this.#welcome(data); break;
      case 'bye': this.#bye = { ...this.#bye, ...data }; break;
      case 'gap': return this.#emit('gap', { room: data.room, lost: data.lost ?? null, why: data.why ?? 'lost' });
      case 'dmb:uplink': return void this.#drain();
    }
    if (isStream ? !room && brokerEvents.test(event) : id === undefined) {
      return this.#emit('event', { event, data });
    }
    if (isStream || this.#positions.take(frame)) { this.#emit('message', { event, data, id, room, pos }); }
  }

  /** @param {any} welcome */
  #welcome({ id, limits = {} }) {
    this.id = id;
    this.#perSubscribe = within(limits.rooms_per_subscribe, 1, 10_000, 100);
    const { backend } = this.#options;
    this.#enter(() => [
      ...backend ? [this.#until('dmb:reconnect', () => ({ name: backend.name, bkid: this.bkid }),
        data => { this.bkid = data.bkid; })] : [],
      ...[...this.#services].map(([service, user]) => this.#serve(service, user)),
      this.#subscribe([...this.#rooms]),
    ], limits);
  }

  // One refused room or service does not keep the others away.
  /** @param {() => Promise<any>[]} steps @param {any} [limits] */
  async #enter(steps, limits = {}) {
    const link = this.#link, pingMs = within(limits.ping_s, 0.1, 600, 25) * 1000;
    this.#after();
    this.#watchdog?.stop();
    this.#watchdog = watchdog(pingMs, Math.max(pingMs * 1.2, within(limits.silent_s, 0.2, 1200, 45) * 1000),
      () => this.#isStream || link?.request('dmb:ping').catch(() => {}), () => this.#lost('silent'));
    try {
      if (this.#node.token && !this.#isStream) { await this.#auth(this.#node.token); }
    } catch (error) {
      if (link === this.#link) { this.#fail(refusal(error), true); }
      return;
    }
    const refused = await failures(steps());
    if (link !== this.#link) { return; }
    this.#be('connected');
    refused.forEach(error => this.#emit('error', error));
    this.#drain();
  }

  /** @param {DmbError} error @param {boolean} isFinal unless it may pass later, or with another token */
  #fail(error, isFinal) {
    const { message, code, retry } = error;
    const mayPass = retry || code === 'token_expired' && typeof this.#options.token === 'function';
    isFinal && !mayPass ? this.#end(message, error) : this.#lost(message);
  }

  /** @param {string} token */
  async #auth(token) {
    const { expires } = await this.#request('auth', { token });
    this.#node.token = token;
    if (!expires || typeof this.#options.token !== 'function') { return; }
    // A token that was accepted has time left: if it has none by this clock, the clock is wrong.
    const left = new Date(expires).getTime() - Date.now();
    this.#renewIn(left > 2 * renewMs ? left - renewMs : left > 0 ? left / 2 : renewMs);
  }

  /** @param {number} ms */
  #renewIn(ms) {
    const link = this.#link;
    this.#renewal = setTimeout(async () => {
      try {
        const token = await this.#askToken();
        if (link === this.#link) { await this.#auth(token); }
      } catch (error) {
        if (link === this.#link) { this.#emit('error', refusal(error)); this.#renewIn(renewMs); }
      }
    }, Math.min(timerMaxMs, ms));
  }

  /** @param {string[]} rooms */
  async #subscribe(rooms) {
    for (let i = 0; i < rooms.length; i += this.#perSubscribe) {
      const some = rooms.slice(i, i + this.#perSubscribe);
      const since = () => some.map(room => ({ room, since: this.#positions.rooms.get(room) }));
      try { await this.#until('subscribe', since, this.#positions.joined); }
      catch (error) {
        // What may pass later stays: it is joined by the next connection.
        if (refusal(error).retry) { throw error; }
        if (some.length === 1) { this.#rooms.delete(some[0]); throw error; }
        // An array is joined whole or not at all: each room alone says which one it was.
        const [first] = await failures(some.map(room => this.#subscribe([room])));
        if (first) { throw first; }
      }
    }
  }

  /** @param {string} service @param {string} user */
  #serve(service, user) {
    const rooms = [`users ${service}`, `user ${service} ${user}`];
    const since = () => Object.fromEntries(rooms.map(room => [room, this.#positions.rooms.get(room)]));
    return this.#until('dmb:connect', () => ({ service, user, since: since() }), this.#positions.joined);
  }

  // What may pass later is asked again: while Redis is away it is unknown what was missed.
  /** @param {string} event @param {() => any} data @param {(data: any) => void} apply */
  async #until(event, data, apply) {
    for (const link = this.#link; ;) {
      try { return await this.#request(event, data(), apply); }
      catch (error) { if (!refusal(error).retry || link !== this.#link) { throw error; } }
      await new Promise(done => setTimeout(done, retryMs * (1 + Math.random())));
    }
  }

  // A stream has the rooms that it was opened with.
  /** @param {() => any} action */
  async #soon(action) {
    await this.connected();
    if (!this.#isStream) { return action(); }
    this.#release();
    this.#open(true);
    await this.connected();
  }

  /** @param {string} event @param {any} [data] @param {(data: any) => void} [apply] @returns {Promise<any>} */
  async #request(event, data, apply) {
    if (!this.#link) { throw lostError(); }
    return /** @type {any} */ (this.#link).request(event, data, apply);
  }

  // As a backend: an uplink that comes is stored already, so that it only says when to read the store, which keeps the
  // order over a lost connection.
  async #drain() {
    const { backend } = this.#options, link = this.#link;
    if (!backend || this.#drains++) { return; }
    try {
      for (let more = true; more && link === this.#link;) {
        this.#drains = 1;
        const after = encodeURIComponent(backend.after ?? '');
        const stored = await this.#http.call(`/backend/${this.bkid}/uplink/stored?after=${after}`);
        for (const { id, uplink } of stored) { backend.after = id; this.#emit('uplink', { ...uplink, id }); }
        more = stored.length > 0 || this.#drains > 1;
      }
      this.#drains = 0;
    } catch (error) {
      this.#drains = 0;
      this.#emit('error', refusal(error));
      setTimeout(() => link === this.#link && this.#drain(), retryMs);
    }
  }

  #release() {
    this.#after();
    clearTimeout(this.#renewal);
    this.#watchdog?.stop();
    this.#turn++;
    const link = this.#link;
    this.#link = null;
    this.#positions.reports.clear();
    link?.close();
  }

  // Full jitter: the clients of a node that went away must not come back in the same moment.
  /** @param {string} why @param {number} [code] */
  #lost(why, code = 0) {
    const { transport, backoffMs = 500, backoffMaxMs = 30_000 } = this.#options;
    const wasConnected = this.#state.state === 'connected';
    this.#release();
    if (this.#bye ? this.#bye.reconnect === false : code >= 4000 && code < 4100) {
      return this.#end(why, new DmbError('closed', why));
    }
    // Where no socket ever opened, the way may be closed to them.
    if (transport !== 'ws' && !this.id && !this.#isStream && !this.#bye) { return void this.#open(true); }
    this.#attempt = wasConnected && performance.now() - this.#openedAt > steadyMs ? 0 : this.#attempt + 1;
    const backoff = Math.min(backoffMaxMs, backoffMs * 2 ** this.#attempt);
    const ms = within(this.#bye?.after_ms, 0, afterMaxMs, 0) + Math.random() * backoff;
    this.#after(ms, () => this.#open());
    this.#be('waiting', why, ms);
  }

  /** @param {string} why @param {DmbError | null} error */
  #end(why, error) {
    if (this.#state.state === 'closed') { return; }
    this.#error = error;
    this.#release();
    globalThis.removeEventListener?.('online', this.#online);
    this.#be('closed', why);
  }
}
