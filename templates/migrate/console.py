

# ---- Messages, failures, secrets ------------------------------------------------------------------------------------


class Failure(Exception):
    """Ends the run with a message that says what failed and what to do next; `code` is for programs."""

    def __init__(self, message: str, code: str = "failed") -> None:
        super().__init__(message)
        self.code = code


class Interrupted(Exception):
    """The user asked to stop."""


SECRETS: set[str] = set()


def keep_secret(text: str | None) -> None:
    """Remembers a text that no message may contain."""
    if text and len(text) > 2:
        SECRETS.update({text, urllib.parse.quote(text, safe="")})


def redact(text: str) -> str:
    """Gives the text without any secret in it."""
    for secret in sorted(SECRETS, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


class Console:
    """Progress and messages on standard error: a bar on a terminal, JSON lines elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.lock = threading.Lock()
        self.started = time.monotonic()
        self.shown = 0.0

    def log(self, level: str, message: str, **more: str) -> None:
        """Writes one message; `level` is info, warn or error."""
        message = redact(message)
        with self.lock:
            if self.terminal:
                print(f"\r\x1b[K{level}: {message}", file=sys.stderr, flush=True)
            else:
                self._line({"event": "log", "level": level, "message": message, **more})

    def progress(self, done: int, total: int, last: bool = False) -> None:
        """Shows how many documents are done, a few times a second at most."""
        now = time.monotonic()
        with self.lock:
            if not last and now - self.shown < 0.25:
                return
            self.shown = now
            if not self.terminal:
                self._line({"event": "progress", "done": done, "total": total, "unit": "documents"})
                return
            share = min(1.0, done / total) if total else 1.0
            rate = done / max(now - self.started, 0.001)
            left = f"{(total - done) / rate:,.0f} s left" if rate and total > done else ""
            bar = ("#" * int(share * 30)).ljust(30, ".")
            text = f"\r\x1b[K[{bar}] {share:4.0%}  {done:,} of {total:,} documents  {rate:,.0f}/s  {left}"
            print(text, file=sys.stderr, end="\n" if last else "", flush=True)

    @staticmethod
    def _line(event: dict[str, Any]) -> None:
        print(json.dumps(event), file=sys.stderr, flush=True)


CONSOLE = Console()


def database_message(error: Exception) -> str:
    """Gives what a database says, without details that could hold values of rows."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    # MySQL's errors have a number first.
    return " ".join(str(error.args[-1] if error.args else error).split())[:300] or type(error).__name__
