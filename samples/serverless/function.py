#!/usr/bin/env python3
"""The desk as a WSGI function: greets each user that connects, answers what a user says, sends to all what begins with "all: ".

It holds no connection: the broker posts to it, and sends what it answers. Any WSGI server runs `application`."""
import base64
import hashlib
import hmac
import json
import os
import sys
import time
from wsgiref.simple_server import make_server

SECRET = os.environ.get("WEBHOOK_SECRET") or sys.exit("Set WEBHOOK_SECRET to the secret of the webhook: whsec_…")
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))


def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "OPTIONS":
        start_response("200 OK", [("WebHook-Allowed-Origin", environ["HTTP_WEBHOOK_REQUEST_ORIGIN"])])
        return []
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    if not is_signed(environ, body):
        start_response("401 Unauthorized", [])
        return []
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"messages": answer(json.loads(body))}).encode()]


def is_signed(environ, body):
    stamp = environ.get("HTTP_WEBHOOK_TIMESTAMP", "0")
    signed = f"{environ.get('HTTP_WEBHOOK_ID')}.{stamp}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    shown = environ.get("HTTP_WEBHOOK_SIGNATURE", "").split(" ")
    return abs(time.time() - int(stamp)) <= 300 and any(hmac.compare_digest(wanted, one) for one in shown)


def answer(uplink):
    user, data = uplink["user"], uplink.get("data")
    if uplink["type"] == "connect":
        return [{"to": user, "data": f"Hello {user}."}]
    if uplink["type"] != "message":
        return []
    if str(data).startswith("all: "):
        return [{"data": f"{user}: {data[5:]}"}]
    return [{"to": user, "data": f"At {uplink['time']} you said: {data}"}]


if __name__ == "__main__":
    make_server("127.0.0.1", int(os.environ.get("PORT", "8001")), application).serve_forever()
