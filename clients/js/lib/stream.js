import { DmbError } from './error.js';

/**
 * A connection over server-sent events and HTTP (docs/protocol.md §3), for where no WebSocket can be opened.
 * @param {ReturnType<typeof import('./http.js').http>} http
 * @param {string} [bkid] the backend service that this client is
 */
export const openStream = (http, bkid) => {
  const abort = new AbortController();

  return {
    /**
     * Reads the stream until it ends.
     * @param {string[]} rooms @param {Iterable<[string, string]>} services
     * @param {string} since what `Last-Event-ID` says
     * @param {() => void} opened
     * @param {(event: { event: string, data: string, id: string, retry: string }) => void} take is given each event
     */
    async read(rooms, services, since, opened, take) {
      const query = new URLSearchParams([['heartbeat', '1'], ...rooms.map(room => ['room', room])]);
      for (const [service, user] of services) { query.set('service', service); query.set('user', user); }
      const response = await http.open((bkid ? `/backend/${bkid}/uplink?` : '/events?') + query, {
        signal: abort.signal, headers: { Accept: 'text/event-stream', ...since && { 'Last-Event-ID': since } },
      });
      opened();
      const none = () => /** @type {any} */ ({ event: '', data: '', id: '', retry: '' });
      const decoder = new TextDecoder(), reader = /** @type {any} */ (response.body).getReader();
      let rest = '', fields = none();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) { return; }
        const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const [, name, text] = /^(\w+): ?(.*)/s.exec(line) ?? [];
          if (name) { fields[name] = text; }
          if (!line) { take(fields); fields = none(); }
        }
      }
    },

    /** @param {string} event @param {any} [data] @returns {Promise<any>} what the ack of a WebSocket would have */
    async request(event, data = null) {
      if (/^dmb:(broadcast|direct)$/.test(event)) {
        const { id, user: to, data: said = null } = data;
        return http.call(`/backend/${bkid}/messages`, { type: 'bk_message', id, to, data: said });
      }
      if (event.startsWith('dmb:')) { throw new DmbError('needs_socket'); }
      const path = event === 'register' ? '/register' : '/_notify/' + encodeURIComponent(event);
      const answer = await http.call(path, data);
      if (!answer.ok) { throw new DmbError('unknown_event'); }
      return answer;
    },

    close() { abort.abort(); },
  };
};
