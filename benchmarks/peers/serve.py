"""Answer JSON requests on stdin with JSON lines on what was stdout when the process started."""

import json
import os
import sys


def serve(version, actions):
    """`actions`: name -> function of the request's other fields that returns a dictionary.

    Libraries print as they please; their words go to stderr so that answers stay readable.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    actions = {"version": lambda: {"version": version}, **actions}
    for text in sys.stdin:
        request = json.loads(text)
        answer = actions[request.pop("do")](**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
