# Of facts, a play that does not say what it gathers has those that are the same wherever and whenever an image is built. The clock,
# the kernel and the processors are those of the building machine, and no play should come across them without asking.

import importlib.util
import os

import ansible.plugins.action

# This one is loaded by the name that Ansible's own has, which is to be found only as a file.
OWN = os.path.join(os.path.dirname(ansible.plugins.action.__file__), "gather_facts.py")
SPECIFIED = importlib.util.spec_from_file_location("overboot_builtin_gather_facts", OWN)
BUILTIN = importlib.util.module_from_spec(SPECIFIED)
SPECIFIED.loader.exec_module(BUILTIN)

WHOLE = (None, "all", ["all"])
OF_THE_IMAGE = (
    "architecture",
    "distribution",
    "effective_",
    "env",
    "gather_subset",
    "local",
    "lsb",
    "machine",
    "module_setup",
    "os_family",
    "pkg_mgr",
    "python",
    "real_",
    "service_mgr",
    "system",
    "user",
)
NOT = ("machine_id", "system_capabilities", "system_vendor", "systemd")


class ActionModule(BUILTIN.ActionModule):
    def run(self, tmp=None, task_vars=None):
        whole = self._task.args.get("gather_subset") in WHOLE
        if whole:
            self._task.args["gather_subset"] = ["!all"]
        result = super().run(tmp, task_vars)
        if whole:
            facts = result.get("ansible_facts") or {}
            for name in list(facts):
                plain = name.removeprefix("ansible_")
                if not plain.startswith(OF_THE_IMAGE) or plain.startswith(NOT):
                    del facts[name]
        return result
