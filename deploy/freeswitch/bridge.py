#!/usr/bin/env python3
"""Calls and registrations of a FreeSWITCH to DMB, by mod_event_socket. Records of calls come by json_cdr.conf.xml.

    DMB_URL=http://127.0.0.1:8082 DMB_KEY=... ESL_ADDRESS=127.0.0.1:8021 ESL_PASSWORD=ClueCon ./bridge.py

Python 3.9 or later without further packages; dmb_publisher.py is in the folder above. It connects again after a loss.
"""

import json
import logging
import os
import pathlib
import random
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import dmb_publisher  # noqa: E402

STATES = {
    "CHANNEL_CREATE": "calling",
    "CHANNEL_PROGRESS": "ringing",
    "CHANNEL_PROGRESS_MEDIA": "ringing",
    "CHANNEL_ANSWER": "answered",
}
REGISTRATIONS = {"sofia::register": "registered", "sofia::unregister": "removed", "sofia::expire": "expired"}
# A FreeSWITCH that says nothing for so long is asked by TCP whether it is there.
SILENCE_S = 30

log = logging.getLogger("dmb")


def publish(publisher, event):
    """Publishes what an event of FreeSWITCH says, if it is one of a call or a registration."""
    name = event.get("Event-Name", "")
    if name == "CUSTOM" and (state := REGISTRATIONS.get(event.get("Event-Subclass", ""))):
        user = event.get("from-user") or event.get("user", "")
        publisher.publish("location", {"state": state, "endpoint": user, "contact": event.get("contact", "")})
        return
    # The leg to the called telephone: the caller's leg has the same states.
    if event.get("Other-Type") == "originator":
        return
    state, more = STATES.get(name), {}
    if name == "CHANNEL_HANGUP_COMPLETE":
        state = "ended" if event.get("Caller-Channel-Answered-Time", "0") != "0" else "failed"
        more["cause"] = event.get("Hangup-Cause", "")
    if state:
        publisher.call(
            state,
            event.get("variable_sip_call_id") or event.get("Unique-ID", ""),
            event.get("Caller-Caller-ID-Number", ""),
            event.get("Caller-Destination-Number", ""),
            from_name=event.get("Caller-Caller-ID-Name", ""),
            **more,
        )


def read(stream):
    """The headers and the body of the next message."""
    headers = {}
    while (line := stream.readline()) != b"\n":
        if not line:
            raise ConnectionError("FreeSWITCH ended the connection.")
        name, _, value = line.decode(errors="replace").partition(":")
        headers[name.strip()] = value.strip()
    length = int(headers.get("Content-Length", 0))
    body = stream.read(length)
    if len(body) < length:
        raise ConnectionError("FreeSWITCH ended the connection.")
    return headers, body


def command(connection, stream, text):
    """Sends a command and gives its reply; events that come before it are not asked for yet."""
    connection.sendall(f"{text}\n\n".encode())
    while True:
        headers, _ = read(stream)
        if headers.get("Content-Type") == "command/reply":
            return headers.get("Reply-Text", "")
        if headers.get("Content-Type") == "text/rude-rejection":
            raise dmb_publisher.Refused(
                "FreeSWITCH does not allow this address: apply-inbound-acl of event_socket.conf.xml."
            )


def follow(publisher, address, password):
    """Publishes events until the connection is lost."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection, connection.makefile("rb") as stream:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENCE_S)
        if not command(connection, stream, f"auth {password}").startswith("+OK"):
            raise dmb_publisher.Refused("FreeSWITCH refused the password: ESL_PASSWORD.")
        names = " ".join([*STATES, "CHANNEL_HANGUP_COMPLETE", "CUSTOM", *REGISTRATIONS])
        if not (reply := command(connection, stream, f"event json {names}")).startswith("+OK"):
            raise ConnectionError(reply)
        log.info("Following FreeSWITCH at %s.", address)
        while True:
            headers, body = read(stream)
            if headers.get("Content-Type") == "text/event-json":
                publish(publisher, json.loads(body.decode(errors="replace"), strict=False))


def follow_on(publisher):
    """Follows again after each loss."""
    address = os.environ.get("ESL_ADDRESS", "127.0.0.1:8021")
    while True:
        try:
            follow(publisher, address, os.environ.get("ESL_PASSWORD", "ClueCon"))
        except (OSError, ValueError) as e:
            log.warning("FreeSWITCH at %s: %s", address, e)
            time.sleep(random.uniform(0.5, 1.5))


if __name__ == "__main__":
    sys.exit(dmb_publisher.run(follow_on))
