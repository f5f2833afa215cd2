

# ---- Messages, failures, secrets ------------------------------------------------------------------------------------


class Failure(Exception):
    """Ends the run with a message that says what failed and what to do next; `code` is for programs."""

    def __init__(self, message: str, code: str = "failed") -> None:
        super().__init__(message)
        self.code = code


class Interrupted(Exception):
    """The user asked to stop."""


SECRETS: set[str] = set()
CONSOLE_LOCK, STARTED, TERMINAL = threading.Lock(), time.monotonic(), sys.stderr.isatty()


def keep_secret(text: str | None) -> None:
    """Remembers a text that no message may contain."""
    if text and len(text) > 2:
        SECRETS.update({text, urllib.parse.quote(text, safe="")})


def redact(text: str) -> str:
    """Gives the text without any secret in it."""
    for secret in sorted(SECRETS, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def say(line: str, event: dict[str, Any], end: str = "\n") -> None:
    """Tells something on standard error: a line on a terminal, JSON elsewhere."""
    with CONSOLE_LOCK:
        text = f"\r\x1b[K{line}" if TERMINAL else json.dumps(event)
        print(text, file=sys.stderr, end=end if TERMINAL else "\n", flush=True)


def log(level: str, message: str, **more: str) -> None:
    """Writes one message; `level` is info, warn or error."""
    message = redact(message)
    say(f"{level}: {message}", {"event": "log", "level": level, "message": message, **more})


class Progress:
    """A bar on a terminal, with the rate and the time left; a few times a second at most."""

    def __init__(self, total: int) -> None:
        self.done, self.total, self.shown = 0, total, 0.0

    def add(self, documents: int, *, last: bool = False) -> None:
        """Counts documents that are done."""
        self.done += documents
        now = time.monotonic()
        if not last and now - self.shown < 0.25:
            return
        self.shown = now
        share = min(1.0, self.done / self.total) if self.total else 1.0
        rate = self.done / max(now - STARTED, 0.001)
        left = f", {(self.total - self.done) / rate:,.0f} s left" if 0 < self.done < self.total else ""
        bar = ("#" * int(share * 30)).ljust(30, ".")
        text = f"[{bar}] {share:4.0%}  {self.done:,} of {self.total:,} documents, {rate:,.0f}/s{left}"
        event = {"event": "progress", "done": self.done, "total": self.total, "unit": "documents"}
        say(text, event, "\n" if last else "")


def database_message(error: Exception) -> str:
    """Gives what a database says, without details that could hold values of rows."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    # MySQL's errors have a number first.
    return " ".join(str(error.args[-1] if error.args else error).split())[:300] or type(error).__name__
