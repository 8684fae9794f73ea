#!/usr/bin/python3
"""Calls, contacts and endpoints of an Asterisk to DMB, by the events of its REST interface (ARI).

    DMB_URL=http://127.0.0.1:8082 DMB_KEY=... ARI_URL=ws://127.0.0.1:8088/ari ARI_KEY=dmb:secret ./bridge.py

Debian's python3-websockets, 10 or later; dmb_publisher.py is in the folder above. In ari.conf a user `dmb` with
`read_only = yes`. It connects again after a loss. An ARI application has one socket: ARI_APP names it, by default dmb.
"""

import asyncio
import json
import logging
import os
import pathlib
import random
import sys
import urllib.parse

import websockets

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import dmb_publisher  # noqa: E402

DIAL_STATES = {"": "calling", "RINGING": "ringing", "PROGRESS": "ringing", "ANSWER": "answered"}
FAILURES = {"BUSY", "NOANSWER", "CANCEL", "CHANUNAVAIL", "CONGESTION", "DONTCALL", "TORTURE", "INVALIDARGS"}
CONTACT_STATES = {"Created": "registered", "Removed": "removed"}

log = logging.getLogger("dmb")


class Translator:
    """Makes events of DMB of ARI's. A call has one caller, and one peer for each telephone that is dialled."""

    def __init__(self, publisher):
        self._publisher = publisher
        # What was published of answered calls, by the id of their caller's channel.
        self._answered = {}

    def take(self, event):
        try:
            if (take := getattr(self, "_" + event["type"], None)) is not None:
                take(event)
        except (AttributeError, KeyError, TypeError) as e:
            log.warning("An event of Asterisk has another form: %r in %.200s", e, event)

    def _Dial(self, event):
        status, peer = event.get("dialstatus", ""), event["peer"]
        # A call that Asterisk itself originates has no caller.
        caller = event.get("caller") or peer
        state = DIAL_STATES.get(status) or ("failed" if status in FAILURES else None)
        if state is None:
            return
        # PJSIP/1234-0000001a
        endpoint = peer["name"].partition("/")[2].rpartition("-")[0]
        number = caller.get("caller", {})
        call = {
            "call_id": caller["id"],
            "caller": number.get("number", ""),
            "called": caller.get("dialplan", {}).get("exten") if event.get("caller") else endpoint,
            "endpoint": endpoint,
            "from_name": number.get("name", ""),
        }
        call["called"] = call["called"] or endpoint
        if state == "answered":
            self._answered[caller["id"]] = call
        self._publisher.call(state, **call, **({"cause": status} if state == "failed" else {}))

    def _ChannelDestroyed(self, event):
        if (call := self._answered.pop(event["channel"]["id"], None)) is not None:
            self._publisher.call("ended", **call, cause=event.get("cause_txt", ""))

    def _ContactStatusChange(self, event):
        contact = event["contact_info"]
        if (state := CONTACT_STATES.get(contact.get("contact_status", ""))) is not None:
            data = {"state": state, "endpoint": event["endpoint"]["resource"], "contact": contact.get("uri", "")}
            self._publisher.publish("location", data)

    def _EndpointStateChange(self, event):
        endpoint = event["endpoint"]
        data = {"state": endpoint.get("state", ""), "endpoint": endpoint["resource"]}
        self._publisher.publish("presentities", data)


async def follow(translator, url):
    """Publishes events until the connection is lost."""
    try:
        async with websockets.connect(url, ping_interval=20) as socket:
            log.info("Following Asterisk.")
            async for text in socket:
                translator.take(json.loads(text))
    except websockets.exceptions.InvalidHandshake as e:
        if "401" in str(e) or "403" in str(e):
            raise dmb_publisher.Refused("Asterisk refused the user or the password: ARI_KEY.") from e
        raise ConnectionError(e) from e
    except (websockets.exceptions.WebSocketException, asyncio.TimeoutError) as e:
        raise ConnectionError(e) from e


async def run(publisher):
    translator = Translator(publisher)
    base = os.environ.get("ARI_URL", "ws://127.0.0.1:8088/ari").rstrip("/")
    query = {"app": os.environ.get("ARI_APP", "dmb"), "subscribeAll": "true", "api_key": os.environ.get("ARI_KEY", "")}
    url = f"{base}/events?{urllib.parse.urlencode(query)}"
    while True:
        try:
            await follow(translator, url)
            log.warning("Asterisk ended the connection.")
        except (OSError, ValueError) as e:
            log.warning("Asterisk at %s: %s", base, e)
        await asyncio.sleep(random.uniform(0.5, 1.5))


if __name__ == "__main__":
    sys.exit(dmb_publisher.run(lambda publisher: asyncio.run(run(publisher))))
