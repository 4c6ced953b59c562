# Tells overboot what Ansible's words for people do not say in the same way in every version: which task failed, and where it is
# written.

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: overboot_told
type: notification
short_description: Tells overboot which task failed
description: Writes the last failure that nothing rescued, and whether anything was done in the image, to a file.
"""

LONGEST = 4000


def of(result, name):
    # ansible-core 2.19 made these properties public.
    return getattr(result, name, None) or getattr(result, "_" + name)


def rescued(task):
    """Is there a rescue for it, in its block or in one around it?"""
    one, around = task, task._parent
    while around is not None:
        inside = getattr(around, "block", None) or []
        if getattr(around, "rescue", None) and any(one._uuid == other._uuid for other in inside):
            return True
        one, around = around, around._parent
    return False


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "overboot_told"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.told = {"reached": False, "failed": None}

    def tell(self):
        with open(os.environ["OVERBOOT_TOLD"], "w", encoding="utf-8") as file:
            json.dump(self.told, file)

    def failure(self, result):
        task, values = of(result, "task"), of(result, "result")
        items = [one for one in values.get("results") or [] if isinstance(one, dict)]
        values = next((one for one in items if one.get("failed")), values)
        words = []
        for name in ("msg", "censored", "stderr", "module_stderr", "module_stdout"):
            text = str(values.get(name) or "").strip()[-LONGEST:]
            if text and text not in words:
                words.append(text)
        self.told["failed"] = {
            "task": str(task.get_name()),
            "action": str(task.action),
            "place": str(task.get_path() or ""),
            "message": "\n".join(words),
        }
        self.tell()

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors and not rescued(of(result, "task")):
            self.failure(result)

    def v2_runner_on_unreachable(self, result):
        self.failure(result)

    def v2_playbook_on_stats(self, stats):
        self.told["reached"] = os.environ["OVERBOOT_HOST"] in stats.processed
        self.tell()
