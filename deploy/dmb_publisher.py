"""Posts events to DMB, in order, from a thread of its own. The bridges of freeswitch/ and asterisk/ use it.

DMB_URL is the broker's address, DMB_KEY a key with the scope publish, where the broker has keys.
"""

import collections
import hashlib
import http.client
import json
import logging
import os
import random
import signal
import sys
import threading
import time
import urllib.parse
import uuid

KEPT = 10_000
PAUSE_MAX_S = 2.0
TIMEOUT_S = 5

log = logging.getLogger("dmb")


class Publisher:
    """Keeps up to KEPT events while the broker is away, then drops the oldest. An event that may have arrived is sent
    again with the same idempotency key, so that it is delivered once."""

    def __init__(self):
        url = os.environ.get("DMB_URL", "http://127.0.0.1:8082")
        self._url = urllib.parse.urlsplit(url)
        if self._url.scheme not in ("http", "https") or not self._url.netloc:
            sys.exit(f"DMB_URL: '{url}' is no URL such as http://127.0.0.1:8082.")
        self._headers = {"Content-Type": "application/json"}
        if key := os.environ.get("DMB_KEY"):
            self._headers["X-Api-Key"] = key
        self._events = collections.deque()
        self._changed = threading.Condition()
        self._connection = None
        threading.Thread(target=self._run, daemon=True).start()

    def call(self, state, call_id, caller, called, endpoint=None, **more):
        """A state of a call, in the rooms of both users. The same state of the same call is one event."""
        data = {"state": state, "call_id": call_id, "from": caller, "to": called, **more}
        data["endpoint"] = endpoint or called
        data["_in"] = [f"number:{called}", f"endpoint:{caller}"]
        key = hashlib.md5(f"{call_id} {data['endpoint']}".encode(), usedforsecurity=False).hexdigest()
        self.publish("call", data, f"{state}-{key}")

    def publish(self, event, data, key=None):
        """Returns at once; the event follows all that were published before."""
        with self._changed:
            if len(self._events) == KEPT:
                self._events.popleft()
                log.warning("The broker is away: the oldest event is dropped.")
            self._events.append((event, json.dumps(data).encode(), key or str(uuid.uuid4())))
            self._changed.notify_all()

    def close(self, seconds=TIMEOUT_S):
        """Waits until all is sent, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._events, seconds)

    def _run(self):
        pause = 0.1
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events)
                first = self._events[0]
            if self._is_done(*first):
                pause = 0.1
                with self._changed:
                    if self._events and self._events[0] is first:
                        self._events.popleft()
                    self._changed.notify_all()
            else:
                time.sleep(random.uniform(pause / 2, pause))
                pause = min(pause * 2, PAUSE_MAX_S)

    def _is_done(self, event, body, key):
        """False when it is to be sent again."""
        try:
            if self._connection is None:
                kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
                self._connection = kind(self._url.netloc, timeout=TIMEOUT_S)
            headers = {**self._headers, "Idempotency-Key": key}
            self._connection.request("POST", f"{self._url.path.rstrip('/')}/_notify/{event}", body, headers)
            answer = self._connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as e:
            log.warning("The broker at %s is away: %s", self._url.netloc, e)
            self._connection.close()
            self._connection = None
            return False
        if answer.status == 429 or answer.status >= 500:
            log.warning("%s is sent again: %s %s", event, answer.status, text)
            return False
        if answer.status >= 300 or '"ignore":true' in text:
            log.error("%s was not taken: %s %s", event, answer.status, text)
        return True


class Refused(Exception):
    """What a bridge follows refuses it for good."""


def run(follow):
    """Calls follow(publisher), which follows until it is refused, until SIGTERM or Ctrl+C: returns the exit code.

    It has a thread of its own. Python handles a signal between two steps of the main thread: one that comes just before
    a blocking call, or to another thread, would wait for the end of that call."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    ended, ending = os.pipe()
    os.set_blocking(ending, False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    # The number of each signal is written there at once, whichever thread it comes to.
    signal.set_wakeup_fd(ending)
    publisher = Publisher()

    def following():
        try:
            follow(publisher)
        except Refused as e:
            log.error("%s", e)
        finally:
            os.write(ending, b"\0")

    threading.Thread(target=following, daemon=True).start()
    if os.read(ended, 1) == b"\0":
        return 1
    publisher.close()
    return 0
