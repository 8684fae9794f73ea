#!/usr/bin/python3
"""The desk over Redis: greets each user that connects, answers what a user says, and sends to all what begins with "all: "."""

import json
import os
import pathlib
import random
import secrets
import sys
import time

import redis

FILE = pathlib.Path("desk.bkid")


def register(server):
    """Registers under the bkid that was kept, or gets a new one; gives the broker's answer."""
    nonce = secrets.token_hex(8)
    inbox = f"desk:{nonce}"
    bkid = FILE.read_text().strip() if FILE.exists() else None
    connect = {"type": "bk_connect", "name": "desk", "reply_to": inbox, "bkid": bkid, "nonce": nonce}
    with server.pubsub() as answers:
        answers.subscribe(inbox)
        while True:
            message = answers.get_message(timeout=5)
            if message is None or message["type"] == "subscribe":
                # Asked again when nothing came: the nonce makes it one registration.
                server.publish("dmb:register", json.dumps(connect))
            elif message["type"] == "message":
                ack = json.loads(message["data"])
                if not ack["ok"]:
                    sys.exit(ack["error"]["message"])
                FILE.write_text(ack["bkid"] + "\n")
                return ack


def reply(uplink):
    """What to say to something that a user said or did: members of a bk_message; None for nothing."""
    user, text = uplink["user"], uplink.get("data")
    if uplink["type"] == "connect":
        return {"to": user, "data": f"Hello {user}."}
    if uplink["type"] != "message":
        return None
    if not isinstance(text, str) or len(text) > 1000:
        return {"to": user, "data": "Please send a short text."}
    if text.startswith("all: "):
        return {"data": f"{user}: {text[5:]}"}
    return {"to": user, "data": f"At {uplink['time']} you said: {text}"}


def serve(server):
    """Registers, and answers what is stored and what comes, until Redis or the broker fails."""
    ack = register(server)
    print("desk", ack["bkid"], flush=True)
    stream = ack["channel"] + ":uplink"
    try:
        server.xgroup_create(stream, "desk", id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise

    # First what was read in an earlier life and never answered, then what is new.
    start = "0"
    while True:
        found = server.xreadgroup("desk", "desk", {stream: start}, count=100, block=5000)
        entries = found[0][1] if found else []
        for entry, fields in entries:
            # As float, because Python refuses integers of thousands of digits.
            answer = reply(json.loads(fields["message"], parse_int=float)) if fields else None
            if answer is not None:
                # One id for one answer: given twice, it is delivered once.
                message = {"type": "bk_message", "id": fields["id"], **answer}
                if not server.publish(ack["channel"], json.dumps(message)):
                    raise redis.ConnectionError("No broker listens")
            server.xack(stream, "desk", entry)
        if not entries:
            start = ">"


def main():
    server = redis.Redis(
        host=os.environ.get("REDIS_HOST", "localhost"), port=int(os.environ.get("REDIS_PORT", "6379")), decode_responses=True)
    attempt = 0
    while True:
        started = time.monotonic()
        try:
            serve(server)
        except redis.RedisError as error:
            attempt = 0 if time.monotonic() - started > 10 else attempt + 1
            wait = random.uniform(0, min(30, 0.5 * 2**attempt))
            print(f"{error}; again in {wait:.1f} s", file=sys.stderr, flush=True)
            time.sleep(wait)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
