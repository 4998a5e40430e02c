"""python-ddp 0.1.5, driven by `remote.mjs`, which says what the lines mean.

It calls methods, passes on the documents of a publication, and gets every event of a Vent that is a collection; the
encoding of redis-oplog ends its connection. When the connection is lost it comes back by itself every half second;
subscribing again is left to the program, which hears of it by `reconnected`.

Every event: `client.on("changed", f)`. It keeps no documents, and decodes dates and bytes. A date that it sends is cut
to seconds.
"""

import json
import sys
from datetime import datetime

from DDPClient import DDPClient

client = DDPClient(sys.argv[1])
# The ids that the client has given its subscriptions.
subscriptions = {}


def tell(msg, **members):
    line = json.dumps({"msg": msg, **members}, default=to_line)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def to_line(value):
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    raise TypeError(value)


def from_line(object):
    if "datetime" in object:
        return datetime.fromisoformat(object["datetime"])
    return object


def connect():
    client.connect()


def method(id, method, params):
    client.call(method, params, lambda error, result: tell("result", id=id, error=error, result=result))


def sub(id, name, params):
    def settled(error, _):
        tell("nosub" if error else "ready", id=id, error=error)

    subscriptions[id] = client.subscribe(name, params, settled)


def unsub(id):
    client.unsubscribe(subscriptions.pop(id))
    # It says nothing about the end of a subscription that was ready. What is asked later is
    # answered later.
    client.call("echo", [], lambda _error, _result: tell("nosub", id=id))


for event in ("connected", "reconnected"):
    client.on(event, lambda: tell("connected"))
client.on("added", lambda collection, id, fields: tell("added", collection=collection, id=id, fields=fields))
client.on("changed", lambda collection, id, fields, _: tell("changed", collection=collection, id=id, fields=fields))
client.on("removed", lambda collection, id: tell("removed", collection=collection, id=id))

COMMANDS = {"connect": connect, "method": method, "sub": sub, "unsub": unsub}
for line in sys.stdin:
    message = json.loads(line, object_hook=from_line)
    COMMANDS[message.pop("msg")](**message)
client.close()
