// A client of DMB, the Duplex Message Broker, for browsers and Node.js. docs/protocol.md §3, §4, §7 and §10 define what goes over the wire.

const idsMax = 2000, steadyMs = 10_000, retryMs = 1000, renewMs = 30_000, afterMaxMs = 300_000, timerMaxMs = 2_147_483_647;

/**
 * @typedef {{ event: string, data: any, id?: string, room?: string, pos?: string }} Message A message of a room, or of a backend service.
 * @typedef {{ room: string | null, lost: number | null, why: string }} Gap Messages that will not come: `lost` of them, null when the number is unknown.
 * @typedef {{ room: string, missed: number | null, got: number, lost: number | null, why?: string }} Resumed A room is complete again: of `missed`
 *   messages `got` came late and `lost` will not come. `missed` is null when the room's count began anew.
 * @typedef {{ state: 'connecting' | 'connected' | 'waiting' | 'closed', transport: 'ws' | 'sse', why: string, inMs?: number }} State
 * @typedef {{ id: string, type: 'message' | 'connect' | 'disconnect', bkid: string, user: string, session: string, data?: any, time?: string, sessions?: number }} Uplink
 * @typedef {{ message: Message, gap: Gap, resumed: Resumed, state: State, uplink: Uplink, event: { event: string, data: any }, error: DmbError }} Events
 * @typedef {object} Options
 * @property {string[]} [rooms] Rooms to join.
 * @property {Record<string, string>} [positions] Where rooms stood, from `positions` of an earlier client: what came since is replayed.
 * @property {string} [service] A backend service to join, by its bkid.
 * @property {string} [user] As which of its users.
 * @property {{ name: string, bkid?: string, after?: string }} [backend] Makes this client a backend service; `after` is the id of the last uplink that it has handled.
 * @property {string | (() => string | Promise<string>)} [token] A token or a key; a function is called at each connection and before a token ends.
 * @property {'auto' | 'ws' | 'sse'} [transport] `auto` takes server-sent events where no WebSocket can be opened.
 * @property {AbortSignal} [signal] Closes the client.
 * @property {number} [timeoutMs] How long a connection and an answer may take, in ms: 10,000.
 * @property {number} [backoffMs] The base of the exponential backoff, in ms: 500.
 * @property {number} [backoffMaxMs] The longest backoff, in ms: 30,000.
 * @property {any} [WebSocket] The constructor to use in place of the global one.
 * @property {typeof globalThis.fetch} [fetch] The function to use in place of the global one.
 */

/** A refusal: `code` is one of docs/protocol.md §3, or `timeout`, `connection_lost`, `closed`, `bad_frame`, `needs_socket`; `retry` says that it may pass later. */
export class DmbError extends Error {
  /** @param {string} code @param {string} [message] @param {boolean} [retry] */
  constructor(code, message = code, retry = false) { super(message); this.code = code; this.retry = retry; }
}

/** @param {string} pos @returns {[string, number]} */
const parse = pos => {
  const [, epoch, seq] = /^([^:]+):(\d+)$/.exec(pos) ?? [];
  if (!epoch) { throw new Error('bad position'); }
  return [epoch, +seq];
};
/** @param {any} value @param {number} low @param {number} high @param {number} other */
const within = (value, low, high, other) => Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : other;
/** @param {any} error @returns {DmbError} */
const refusal = error => error instanceof DmbError ? error : new DmbError(String(error?.code ?? 'internal'), String(error?.message ?? error), error?.retry === true);
const lostError = () => new DmbError('connection_lost', 'The connection was lost.', true);
/** @param {number} ms */
const wait = ms => new Promise(done => setTimeout(done, ms));
/** @returns {{ promise: Promise<void>, done: () => void, fail: (e: Error) => void }} */
const deferred = () => {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((done, fail) => Object.assign(made, { done, fail }));
  made.promise.catch(() => {});
  return made;
};

/** A connection that comes back: it resumes its rooms, hands on each message once, and says what it missed. */
export class Dmb {
  /** @type {Options} */ #options;
  /** @type {string[]} */ #urls;
  #base = ''; #token = ''; #ended = false; #worked = false; #attempt = 0; #openedAt = 0; #ack = 0; #draining = 0;
  #pingMs = 25_000; #silentMs = 45_000; #perSubscribe = 100; #heard = 0; #pinged = 0;
  /** @type {any} */ #link = null;
  /** @type {any} */ #bye = null;
  /** @type {any} */ #timer;
  /** @type {any} */ #watch;
  /** @type {any} */ #renewal;
  #ready = deferred();
  /** @type {Map<any, any>} */ #acks = new Map();
  /** @type {Map<string, Set<any>>} */ #listeners = new Map();
  /** @type {Set<string>} */ #rooms;
  /** @type {Map<string, string>} */ #services = new Map();
  /** @type {Map<string, string>} */ #places;
  /** @type {Map<string, any>} */ #reports = new Map();
  #ids = new Set();
  /** @type {State} */ #state = { state: 'connecting', transport: 'ws', why: '' };
  /** @type {DmbError | null} */ #error = null;

  /** The bkid, once this client is a backend service. @type {string | undefined} */ bkid;
  /** The session's id. @type {string | undefined} */ id;

  /**
   * @param {string | string[]} urls The nodes, such as `http://localhost:8082`; one is taken at random each time.
   * @param {Options} [options]
   */
  constructor(urls, options = {}) {
    this.#urls = [urls].flat().map(url => String(url).replace(/^ws/, 'http').replace(/\/(ws)?$/, ''));
    this.#options = { timeoutMs: 10_000, backoffMs: 500, backoffMaxMs: 30_000, transport: 'auto', ...options };
    this.#rooms = new Set(options.rooms);
    this.#places = new Map(Object.entries(options.positions ?? {}));
    this.bkid = options.backend?.bkid;
    if (options.service) { this.#services.set(options.service, String(options.user)); }
    options.signal?.addEventListener('abort', () => this.close(), { once: true });
    globalThis.addEventListener?.('online', this.#online);
    queueMicrotask(() => options.signal?.aborted ? this.close() : this.#open());
  }

  /** What it does now. */
  get state() { return this.#state; }

  /** Where each room stands, to go on from there in another client. @returns {Record<string, string>} */
  get positions() { return Object.fromEntries(this.#places); }

  /**
   * Calls a function for each `message`, `gap`, `resumed`, `state`, `uplink`, `error`, and `event`, which is what the broker itself says.
   * @template {keyof Events} T @param {T} type @param {(value: Events[T]) => void} listener @returns {() => void} what ends it
   */
  on(type, listener) {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
    return () => { all.delete(listener); };
  }

  /** Resolves when it is connected and in its rooms; rejects when it is closed. */
  async connected() { await this.#ready.promise; return this; }

  /**
   * Sends an event once it is connected; resolves with the data of the ack.
   * @param {string} event @param {any} [data] @param {{ signal?: AbortSignal }} [options] @returns {Promise<any>}
   */
  send(event, data, { signal } = {}) {
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new DmbError('timeout', undefined, true)), this.#options.timeoutMs);
      const abort = () => fail(signal?.reason);
      signal?.aborted ? abort() : signal?.addEventListener('abort', abort);
      this.#ready.promise.then(() => signal?.aborted ? undefined : this.#request(event, data)).then(done, fail)
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
    names.forEach(room => [this.#rooms, this.#places, this.#reports].forEach(all => all.delete(room)));
    await this.#soon(() => this.#request('unsubscribe', names));
  }

  /** Joins a backend service as one of its users, now and after each reconnect. @param {string} service @param {string} user */
  async enter(service, user) {
    this.#services.set(service, user);
    await this.#soon(() => this.#serve(service, user));
  }

  /** Leaves a backend service. @param {string} service */
  async exit(service) {
    this.#services.delete(service);
    await this.#soon(() => this.#request('dmb:disconnect', { service }));
  }

  /** Says something to a backend service that was joined. @param {any} data @param {string} [service] needed where several were joined */
  say(data, service) { return this.send('dmb:message', { service, data }); }

  /** As a backend: to all users. With the same `id` again it is delivered once. @param {any} data @param {string} [id] */
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
    const offs = [this.on('message', message => { queue.length < max ? queue.push(message) : lost++; wake(); }), this.on('state', () => wake())];
    signal?.addEventListener('abort', () => wake());
    try {
      while (!signal?.aborted) {
        const batch = queue;
        queue = [];
        if (lost) { this.#emit('gap', { room: null, lost, why: 'slow_reader' }); lost = 0; }
        for (const message of batch) { yield message; }
        if (queue.length) { continue; }
        if (this.#error) { throw this.#error; }
        if (this.#ended) { return; }
        await new Promise(done => { wake = () => done(undefined); });
      }
    } finally { offs.forEach(off => off()); }
  }

  [Symbol.asyncIterator]() { return this.messages(); }

  /** Ends it for good. */
  close() { this.#end('closed', null); }

  /** Cuts the connection as a bad network does; it comes back. */
  drop() { this.#lost('dropped'); }

  /** @template {keyof Events} T @param {T} type @param {Events[T]} value */
  #emit(type, value) {
    for (const listener of this.#listeners.get(type) ?? []) {
      try { listener(value); } catch (error) { queueMicrotask(() => { throw error; }); }
    }
  }

  /** @param {State['state']} state @param {string} why @param {number} [inMs] */
  #be(state, why, inMs) {
    this.#state = { state, transport: this.#link?.isStream ? 'sse' : 'ws', why, inMs };
    this.#emit('state', this.#state);
  }

  // A network that is back is used at once, and one that only seems to be is found out.
  #online = () => {
    if (this.#state.state === 'waiting') { clearTimeout(this.#timer); this.#timer = setTimeout(() => this.#open(), Math.random() * retryMs); }
    else if (this.#link) { this.#ping(); }
  };

  /** @param {boolean} [asStream] */
  async #open(asStream) {
    if (this.#ended) { return; }
    const { token, transport, timeoutMs } = this.#options, socket = this.#options.WebSocket ?? globalThis.WebSocket;
    const isStream = asStream ?? (transport === 'sse' || !socket);
    const link = this.#link = { isStream, close() {}, send(/** @type {string} */ _) {} };
    const mine = () => link === this.#link;
    this.#bye = null;
    this.#openedAt = performance.now();
    this.#be('connecting', '');
    this.#timer = setTimeout(() => this.#lost('no welcome in time', asStream), timeoutMs);
    if (asStream === undefined) { this.#base = this.#urls[Math.floor(Math.random() * this.#urls.length)]; }
    try {
      this.#token = String(typeof token === 'function' ? await token() : token ?? '');
    } catch (error) {
      return mine() && this.#lost(`no token: ${refusal(error).message}`);
    }
    if (!mine()) { return; }
    if (isStream) { return this.#stream(link, mine); }
    try {
      const opened = new socket(`${this.#base.replace(/^http/, 'ws')}/ws`);
      link.close = () => { opened.onmessage = opened.onclose = null; opened.close(1000); };
      link.send = text => opened.send(text);
      opened.onmessage = (/** @type {any} */ e) => mine() && this.#take(() => JSON.parse(e.data));
      opened.onclose = (/** @type {any} */ e) => mine() && this.#lost(`closed ${e.code}${e.reason ? ', ' + e.reason : ''}`, undefined, e.code);
      opened.onerror = () => {};
    } catch (error) { this.#lost(refusal(error).message); }
  }

  // Server-sent events: what comes is made into the frames that a socket has.
  /** @param {any} link @param {() => boolean} mine */
  async #stream(link, mine) {
    const abort = new AbortController(), { backend } = this.#options, decoder = new TextDecoder();
    link.close = () => abort.abort();
    try {
      if (backend) { this.bkid = (await this.#http('/register/backend', { name: backend.name, bkid: this.bkid })).bkid; }
      const query = new URLSearchParams([...new Set(['public', ...this.#rooms])].map(room => ['room', room]));
      for (const [service, user] of this.#services) { query.set('service', service); query.set('user', user); }
      query.set('heartbeat', '1');
      const since = [...this.#places].map(([room, place]) => `${encodeURIComponent(room)}=${place}`).join('&');
      const response = await this.#fetch(backend ? `/backend/${this.bkid}/uplink` : '/events?' + query,
        { signal: abort.signal, headers: { Accept: 'text/event-stream', ...since && { 'Last-Event-ID': since } } });
      if (!mine()) { return; }
      clearTimeout(this.#timer);
      this.#live();
      this.#enter([]);
      let rest = '', event = '', data = '', id = '';
      for (const reader = /** @type {any} */ (response.body).getReader(); ;) {
        const { done, value } = await reader.read();
        if (done || !mine()) { break; }
        this.#heard = performance.now();
        const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n/);
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const [, name, text] = /^(\w*): ?(.*)$/s.exec(line) ?? [];
          if (name === 'event') { event = text; }
          else if (name === 'data') { data += text; }
          else if (name === 'id') { id = text; }
          else if (name === 'retry') { this.#bye = { ...this.#bye, after_ms: +text }; }
          else if (!line) {
            const [e, d, i] = [event, data, id];
            event = data = id = '';
            if (e !== 'ping') { this.#take(() => this.#frame(e, d, i)); }
          }
        }
      }
      if (mine()) { this.#lost('the stream ended'); }
    } catch (error) {
      if (!mine()) { return; }
      const refused = refusal(error), isFinal = [400, 401, 403].includes(/** @type {any} */ (error).status) && !this.#mayRenew(refused);
      isFinal ? this.#end(refused.message, refused) : this.#lost(refused.message, true);
    }
  }

  /** @param {string} event @param {string} data @param {string} id */
  #frame(event, data, id) {
    const isPlace = id.includes('='), moved = [];
    for (const [room, pos] of isPlace ? new URLSearchParams(id) : []) {
      parse(pos);
      if (this.#places.get(room) !== pos) { moved.push(room); this.#places.set(room, pos); }
    }
    return event ? { event, data: JSON.parse(data), id: isPlace ? undefined : id || undefined, room: moved[0], pos: this.#places.get(moved[0]), isStream: true } : undefined;
  }

  /** @param {string} path @param {RequestInit} [init] */
  async #fetch(path, init) {
    const response = await (this.#options.fetch ?? fetch)(this.#base + path,
      { ...init, headers: { ...init?.headers, ...this.#token && { Authorization: 'Bearer ' + this.#token } } });
    if (response.ok) { return response; }
    const { code = 'internal', detail = `HTTP ${response.status}` } = await response.json().catch(() => ({})) ?? {};
    const after = Number(response.headers.get('Retry-After'));
    if (after) { this.#bye = { after_ms: after * 1000 }; }
    throw Object.assign(new DmbError(code, detail, response.status === 429 || response.status === 503), { status: response.status });
  }

  /** @param {string} path @param {any} [body] @returns {Promise<any>} */
  async #http(path, body) {
    const init = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body ?? null) };
    return (await this.#fetch(path, body === undefined ? undefined : init)).json();
  }

  // What can't be read changes nothing: it is told, and the connection goes on.
  /** @param {() => any} read */
  #take(read) {
    this.#heard = performance.now();
    this.#pinged = 0;
    try {
      const frame = read();
      if (frame !== undefined) { this.#receive(frame); }
    } catch (error) {
      this.#emit('error', new DmbError('bad_frame', `Unreadable frame: ${refusal(error).message}`));
    }
  }

  /** @param {any} frame */
  #receive({ event, data, ack, ok, error, id, room, pos, also, isStream }) {
    if (ack !== undefined) {
      const waiting = this.#acks.get(ack);
      this.#acks.delete(ack);
      if (!ok) { waiting?.fail(refusal(error ?? {})); } else if (waiting) { waiting.done(data); waiting.apply?.(data); }
      return;
    }
    if (typeof event !== 'string') { throw new Error('no event'); }
    switch (event) {
      case 'welcome': clearTimeout(this.#timer); this.#welcome(data); break;
      case 'bye': this.#bye = { ...this.#bye, ...data }; break;
      case 'gap': return this.#emit('gap', { room: data.room, lost: data.lost ?? null, why: data.why ?? 'lost' });
      case 'dmb:uplink': return void this.#drain();
    }
    if (id === undefined && !isStream || room === undefined && ['bye', 'drain', 'backplane', 'dmb:disconnected'].includes(event)) {
      return this.#emit('event', { event, data });
    }
    if (room !== undefined && !isStream) {
      const places = Object.entries(also ?? {});
      [[room, pos], ...places].forEach(([, place]) => parse(place));
      this.#places.set(room, pos);
      this.#count(room, pos, true);
      for (const [other, place] of places) {
        // A place in another room counts only if all before it came.
        const [epoch, seq] = parse(place);
        if (this.#places.get(other) === `${epoch}:${seq - 1}`) { this.#places.set(other, place); }
        this.#count(other, place, false);
      }
    }
    if (id !== undefined) {
      if (this.#ids.has(id)) { return; }
      this.#ids.add(id);
      if (this.#ids.size > idsMax) { this.#ids.delete(this.#ids.values().next().value); }
    }
    this.#emit('message', { event, data, id, room, pos });
  }

  /** @param {string} room @param {string} pos @param {boolean} isLast */
  #count(room, pos, isLast) {
    const report = this.#reports.get(room), [epoch, seq] = parse(pos);
    if (epoch !== report?.epoch) { return; }
    if (seq > report.from && seq <= report.to) { report.got++; }
    if (report.got >= report.expected || isLast && seq >= report.to) { this.#report(report); }
  }

  /** @param {any} report */
  #report({ room, missed, got, lost, why }) {
    this.#reports.delete(room);
    this.#emit('resumed', { room, missed, got, lost, why });
  }

  /** @param {any} welcome */
  #welcome({ id, limits = {} }) {
    this.id = id;
    this.#worked = true;
    this.#perSubscribe = within(limits.rooms_per_subscribe, 1, 10_000, 100);
    this.#pingMs = within(limits.ping_s, 0.1, 600, 25) * 1000;
    this.#silentMs = Math.max(this.#pingMs * 1.2, within(limits.silent_s, 0.2, 1200, 45) * 1000);
    this.#live();
    const { backend } = this.#options;
    this.#enter([
      ...backend ? [() => this.#until('dmb:reconnect', () => ({ name: backend.name, bkid: this.bkid }), data => { this.bkid = data.bkid; })] : [],
      ...[...this.#services].map(([service, user]) => () => this.#serve(service, user)),
      () => this.#subscribe([...this.#rooms]),
    ]);
  }

  // One refused room or service does not keep the others away.
  /** @param {(() => Promise<any>)[]} steps */
  async #enter(steps) {
    const link = this.#link, refused = [];
    try {
      if (this.#token && !link.isStream) { await this.#auth(); }
    } catch (error) {
      const failed = refusal(error);
      if (link === this.#link) { this.#mayRenew(failed) ? this.#lost(failed.message) : this.#end(failed.message, failed); }
      return;
    }
    const results = await Promise.allSettled(steps.map(step => step()));
    if (link !== this.#link) { return; }
    for (const result of results) { if (result.status === 'rejected') { refused.push(refusal(result.reason)); } }
    this.#ready.done();
    this.#be('connected', '');
    refused.forEach(error => this.#emit('error', error));
    this.#drain();
  }

  /** @param {DmbError} error */
  #mayRenew({ code, retry }) { return retry || code === 'token_expired' && typeof this.#options.token === 'function'; }

  async #auth() {
    const { token } = this.#options, { expires } = await this.#request('auth', { token: this.#token });
    if (!expires || typeof token !== 'function') { return; }
    // A token that was accepted has time left: if it has none by this clock, the clock is wrong.
    const left = new Date(expires).getTime() - Date.now(), ms = left > 2 * renewMs ? left - renewMs : left > 0 ? left / 2 : renewMs;
    const link = this.#link;
    this.#renewal = setTimeout(async () => {
      try {
        const renewed = String(await token());
        if (link === this.#link) { this.#token = renewed; await this.#auth(); }
      } catch (error) {
        if (link !== this.#link) { return; }
        this.#emit('error', refusal(error));
        this.#renewal = setTimeout(() => this.#auth().catch(() => {}), renewMs);
      }
    }, Math.min(timerMaxMs, ms));
  }

  /** @param {string[]} rooms */
  async #subscribe(rooms) {
    for (let i = 0; i < rooms.length; i += this.#perSubscribe) {
      const some = rooms.slice(i, i + this.#perSubscribe);
      await this.#until('subscribe', () => some.map(room => ({ room, since: this.#places.get(room) })), this.#joined).catch(async error => {
        if (some.length === 1) { this.#rooms.delete(some[0]); }
        if (some.length === 1 || error.code === 'connection_lost') { throw error; }
        // An array is joined whole or not at all: each room alone says which one it was.
        const each = await Promise.allSettled(some.map(room => this.#subscribe([room])));
        const first = each.find(result => result.status === 'rejected');
        if (first) { throw /** @type {any} */ (first).reason; }
      });
    }
  }

  /** @param {string} service @param {string} user */
  #serve(service, user) {
    const since = () => Object.fromEntries([`users ${service}`, `user ${service} ${user}`].flatMap(room => this.#places.has(room) ? [[room, this.#places.get(room)]] : []));
    return this.#until('dmb:connect', () => ({ service, user, since: since() }), this.#joined);
  }

  // Behind a place that was known, messages follow and move it; it begins anew where there was none, or in another life of the count.
  #joined = (/** @type {any} */ data) => {
    const positions = data?.positions ?? (data?.pos ? [data] : []);
    for (const { room, pos, recovered, why, lost = null } of positions) {
      const [epoch, to] = parse(pos);
      if (recovered === undefined) { this.#places.set(room, pos); continue; }
      const isNew = why === 'epoch' || why === 'future', from = isNew ? 0 : parse(this.#places.get(room) ?? pos)[1];
      if (isNew) { this.#places.set(room, `${epoch}:0`); }
      if (recovered === false) { this.#emit('gap', { room, lost, why }); }
      const missed = isNew ? null : Math.max(0, to - from), expected = to - from - (lost ?? 0);
      const report = { room, missed, got: 0, lost: recovered ? 0 : lost, why, epoch, from, to, expected };
      if (expected > 0) { this.#reports.set(room, report); } else { this.#report(report); }
    }
  };

  // What may pass later is asked again: while Redis is away it is unknown what was missed.
  /** @param {string} event @param {() => any} data @param {(data: any) => void} [apply] */
  async #until(event, data, apply) {
    for (const link = this.#link; ;) {
      try { return await this.#request(event, data(), apply); }
      catch (error) { if (!refusal(error).retry || link !== this.#link) { throw error; } }
      await wait(retryMs * (1 + Math.random()));
    }
  }

  // A stream has the rooms that it was opened with.
  /** @param {() => any} action */
  async #soon(action) {
    await this.#ready.promise;
    if (!this.#link.isStream) { return action(); }
    this.#link.close();
    this.#ready = deferred();
    this.#open(true);
    return this.#ready.promise;
  }

  /** @param {string} event @param {any} data @param {(data: any) => void} [apply] called before the next frame is handled @returns {Promise<any>} */
  #request(event, data, apply) {
    if (this.#link?.isStream) { return this.#post(event, data); }
    return new Promise((done, fail) => {
      this.#acks.set(++this.#ack, { done, fail, apply });
      try { this.#link.send(JSON.stringify({ event, data, ack: this.#ack })); }
      catch { this.#acks.delete(this.#ack); fail(lostError()); }
    });
  }

  /** @param {string} event @param {any} data */
  async #post(event, data) {
    if (event === 'register') { return this.#http('/register', data); }
    if (event === 'dmb:broadcast' || event === 'dmb:direct') {
      return this.#http(`/backend/${this.bkid}/messages`, { type: 'bk_message', id: data.id, to: data.user, data: data.data ?? null });
    }
    if (event.startsWith('dmb:')) { throw new DmbError('needs_socket', `${event} needs a WebSocket.`); }
    const { ok, id } = await this.#http('/_notify/' + encodeURIComponent(event), data ?? null);
    if (!ok) { throw new DmbError('unknown_event', `${event} is not registered.`); }
    return { id };
  }

  // As a backend: an uplink that comes is stored already, so that it only says when to read the store, which keeps their order over a lost connection.
  async #drain() {
    const { backend } = this.#options, link = this.#link;
    if (!backend || this.#draining++) { return; }
    try {
      for (let more = true; more && link === this.#link;) {
        this.#draining = 1;
        const stored = await this.#http(`/backend/${this.bkid}/uplink/stored?after=${encodeURIComponent(backend.after ?? '')}`);
        for (const { id, uplink } of stored) { backend.after = id; this.#emit('uplink', { ...uplink, id }); }
        more = stored.length > 0 || this.#draining > 1;
      }
      this.#draining = 0;
    } catch (error) {
      this.#draining = 0;
      this.#emit('error', refusal(error));
      setTimeout(() => link === this.#link && this.#drain(), retryMs);
    }
  }

  // The pings of the protocol are invisible here. So when nothing came for a while an answer is asked for, and without any the connection is taken for dead.
  #live() {
    this.#heard = performance.now();
    this.#pinged = 0;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(this.#look, this.#pingMs);
  }

  #look = () => {
    const now = performance.now(), idle = now - this.#heard, limit = this.#link?.isStream || this.#pinged ? this.#silentMs : this.#pingMs;
    if (this.#pinged && now - this.#pinged >= this.#silentMs - this.#pingMs || this.#link?.isStream && idle >= limit) { return this.#lost('silent'); }
    if (!this.#pinged && idle >= limit) { this.#ping(); }
    const next = this.#pinged ? this.#pinged + this.#silentMs - this.#pingMs - now : limit - idle;
    this.#watch = setTimeout(this.#look, Math.max(10, next));
  };

  #ping() {
    if (this.#link.isStream || this.#pinged) { return; }
    this.#pinged = performance.now();
    this.#request('dmb:ping', undefined).catch(() => {});
  }

  #release() {
    [this.#timer, this.#watch, this.#renewal].forEach(clearTimeout);
    this.#link?.close();
    this.#link = null;
    this.#reports.clear();
    const waiting = [...this.#acks.values()];
    this.#acks.clear();
    waiting.forEach(({ fail }) => fail(lostError()));
  }

  // Full jitter: the clients of a node that went away must not come back in the same moment.
  /** @param {string} why @param {boolean} [wasStream] @param {number} [code] */
  #lost(why, wasStream, code = 0) {
    if (this.#ended || !this.#link) { return; }
    const wasReady = this.#state.state === 'connected', isStream = this.#link.isStream;
    this.#release();
    if (wasReady) { this.#ready = deferred(); }
    if (this.#bye?.reconnect === false || !this.#bye && code >= 4000 && code < 4100) { return this.#end(why, new DmbError('closed', why)); }
    // Where no socket ever opened, the way may be closed to them.
    if (this.#options.transport === 'auto' && !this.#worked && !isStream && !this.#bye && !wasStream) { return void this.#open(true); }
    const { backoffMs = 500, backoffMaxMs = 30_000 } = this.#options;
    this.#attempt = wasReady && performance.now() - this.#openedAt > steadyMs ? 0 : this.#attempt + 1;
    const ms = within(this.#bye?.after_ms, 0, afterMaxMs, 0) + Math.random() * Math.min(backoffMaxMs, backoffMs * 2 ** this.#attempt);
    this.#timer = setTimeout(() => this.#open(), ms);
    this.#be('waiting', why, ms);
  }

  /** @param {string} why @param {DmbError | null} error */
  #end(why, error) {
    if (this.#ended) { return; }
    this.#ended = true;
    this.#error = error;
    this.#release();
    globalThis.removeEventListener?.('online', this.#online);
    if (this.#state.state === 'connected') { this.#ready = deferred(); }
    this.#ready.fail(error ?? new DmbError('closed'));
    this.#be('closed', why);
  }
}
