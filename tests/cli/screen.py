"""A terminal for tests, by tmux: what a program shows on it, and keys pressed on it."""

import os
import shlex
import subprocess

from harness import wait_until


class Screen:
    """Runs a command on a terminal of its own. Behind it the shell says with which code it ended, and what `stty` found then."""

    def __init__(self, directory, command, columns, rows, environment):
        self.socket = os.path.join(directory, f"tmux-{columns}x{rows}")
        script = f"{shlex.join(command)}; echo \"ended with $?\"; stty -a | grep -o -- '-*echo '; exec sleep 600"
        self.environment = {**environment, "TERM": "screen", "LC_ALL": "C.UTF-8"}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "bash", "-c", script)

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], env=self.environment, check=True, capture_output=True,
                              timeout=60).stdout.decode()

    def text(self):
        return self.tmux("capture-pane", "-p")

    @property
    def lines(self):
        return self.text().split("\n")[:-1]

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait_for(self, *texts, gone=()):
        """Until all texts stand on the screen, and none of those that are to go."""
        seen = []

        def there():
            seen[:] = [self.text()]
            return all(text in seen[0] for text in texts) and not any(text in seen[0] for text in gone)

        try:
            wait_until(there, f"{texts} are on the screen and {gone} are not")
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{seen[0]}") from None
        return seen[0]

    def pid(self):
        """Of the shell's child, the command."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        with open(f"/proc/{shell}/task/{shell}/children", encoding="ascii") as children:
            return int(children.read().split()[0])

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], env=self.environment, check=False, capture_output=True, timeout=60)
