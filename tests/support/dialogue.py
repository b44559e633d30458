"""The dialogue of a test with a client in another language; the test acts as the person."""

import json
import os
import subprocess
import threading

from support.waiting import PATIENCE_S


def without_proxy(environment):
    return {name: v for name, v in environment.items() if not name.lower().endswith("_proxy")}


class Talk:
    """The process of a client. Both sides send lines of JSON in turn."""

    def __init__(self, *command, env=None):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ruby would use the proxy of this machine.
            env=env or without_proxy(os.environ),
        )
        self.watch = threading.Timer(PATIENCE_S, self.process.kill)

    def __enter__(self):
        self.watch.start()
        return self

    def __exit__(self, *error):
        self.watch.cancel()
        self.process.kill()
        self.process.communicate()

    def say(self, what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)


def authorize(person, url):
    """Authorize the app, if that is still needed. Return what the client learns."""
    page = person.consent_page(url)
    if page.left_for is None:
        page = person.answer(page, "authorize")
    if page.left_for is None:
        return {"pin": page.text("pin")}
    return {"callback": page.left_for}
