

# ---- The embedding API over HTTP ------------------------------------------------------------------------------------

ATTEMPTS = 8  # of one request
RETRY_BUDGET = 100  # retries of the whole run, beside one for every second request
PAUSE_BASE, PAUSE_CAP = 0.5, 60.0  # seconds between attempts; the cap also holds for Retry-After
FIRST_AT_ONCE = 16  # requests at once in the beginning; doubled with each round while nothing is refused
TRY_MORE_SECONDS = 30.0  # until one more at once is tried than were refused before


class BadReply(Exception):
    """A reply that does not have the promised shape; nothing of it is used."""


class Pace:
    """Finds how many requests at once the API takes, and makes all of them wait where it asks for that."""

    def __init__(self, most: int) -> None:
        self.most, self.limit, self.ceiling = most, float(min(FIRST_AT_ONCE, most)), float(most)
        self.active, self.refused_at, self.not_before = 0, 0.0, 0.0
        self.changed = threading.Condition()

    def begin(self, stop: threading.Event) -> float:
        """Waits for a turn and gives its time."""
        with self.changed:
            while self.active >= int(self.limit) or self.not_before > time.monotonic():
                if stop.is_set() and self.not_before > time.monotonic():
                    raise Interrupted
                self.changed.wait(min(0.2, max(0.001, self.not_before - time.monotonic())))
            self.active += 1
            return time.monotonic()

    def end(self, begun: float, pause: float, *, refused: bool) -> None:
        """Takes note of how a request went that began at that time; after a refusal all pause."""
        now = time.monotonic()
        with self.changed:
            if refused:
                self.not_before = max(self.not_before, now + pause)
                if begun > self.refused_at:  # what was under way at the last refusal says nothing new
                    self.refused_at, self.ceiling = now, max(1.0, float(self.active - 1))
                    self.limit = max(1.0, self.ceiling * 0.75)
            elif now - self.refused_at > TRY_MORE_SECONDS and self.ceiling < self.most:
                self.refused_at, self.ceiling = now, self.ceiling + 1
            else:
                self.limit = min(self.ceiling, self.limit + (1 if self.ceiling == self.most else 1 / self.limit))
            self.active -= 1
            self.changed.notify_all()


def floats_of(value: Any) -> Vector[float]:
    """Reads one vector: base64 of little-endian floats, or a list of numbers."""
    try:
        vector = Vector("f", value if isinstance(value, list) else pybase64.b64decode(value, validate=True))
    except (TypeError, ValueError, OverflowError):
        raise BadReply("a vector is neither a list of numbers nor base64 of floats") from None
    if sys.byteorder == "big" and not isinstance(value, list):
        vector.byteswap()
    return vector


def retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Gives the seconds that the API asks to wait, 0 if it does not say."""
    text = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    moment = email.utils.parsedate_tz(text)
    return max(0.0, email.utils.mktime_tz(moment) - time.time()) if moment else 0.0


class HttpEmbedder(BaseEmbedder):
    """Asks an embedding API; what a request and a reply look like, its provider's class says."""

    def __init__(self, stop: threading.Event, usage: Usage) -> None:
        super().__init__(stop, usage)
        plan = PLAN["embedding"]
        self.base_url = (os.environ.get("EMBEDDING_BASE_URL") or plan["base_url"] or "").rstrip("/")
        self.key_name = plan["api_key_env"] or "EMBEDDING_API_KEY"
        key = (os.environ.get(self.key_name) or os.environ.get("EMBEDDING_API_KEY") or "").strip()
        keep_secret(key)
        self.headers = {"Content-Type": "application/json"} | (key_header(key) if key else {})
        self.attempts, self.pace = 3, Pace(self.concurrency)  # more attempts once it has answered
        parts = urllib.parse.urlsplit(self.base_url)
        if not parts.hostname:
            raise Failure("no address of the embedding API; set EMBEDDING_BASE_URL to its base URL")
        pool = {"maxsize": self.concurrency, "retries": False, "timeout": urllib3.Timeout(connect=10.0, read=60.0)}
        # A proxy is for other machines.
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        proxy = None if local else urllib.request.getproxies().get(parts.scheme)
        self.client = urllib3.ProxyManager(proxy, **pool) if proxy else urllib3.PoolManager(**pool)

    def _vectors(self, texts: list[str], task: str = "RETRIEVAL_DOCUMENT") -> list[Vector[float]]:
        """Asks for vectors; a reply without the promised shape is refused whole and asked for again."""
        for attempt in range(3):
            try:
                return self._ask(texts, task)
            except BadReply as error:
                reason = str(error)
                self.usage.add(retries=1 if attempt < 2 else 0)
        raise Failure(f"the embedding API's replies cannot be used: {reason}; check its address and model", "bad_reply")

    def _ask(self, texts: list[str], task: str) -> list[Vector[float]]:
        raise NotImplementedError

    def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Sends one request until it is answered; waits as the API asks and within the run's budget."""
        content, reason = orjson.dumps(body), "nothing"
        for attempt in range(self.attempts):
            begun, refused, asked = self.pace.begin(self.stop), False, 0.0
            self.usage.add(requests=1, retries=1 if attempt else 0)
            pause = random.uniform(0, min(PAUSE_CAP, PAUSE_BASE * 2**attempt))  # noqa: S311 # nosec B311: jitter, not a secret
            try:
                if self.usage.retries > RETRY_BUDGET + self.usage.requests // 2:
                    break
                response = self.client.request("POST", url, body=content, headers=self.headers, redirect=False)
                if response.status == 200:
                    self.attempts = ATTEMPTS
                    return self._reply(response)
                reason, asked = self._problem(response), min(PAUSE_CAP, retry_after(response))
                refused = response.status == 429 or asked > 0
            except urllib3.exceptions.LocationValueError:
                raise Failure("the embedding API's address cannot be read; check its base URL") from None
            except urllib3.exceptions.HTTPError as error:
                reason = type(error).__name__
            finally:
                self.pace.end(begun, asked + pause, refused=refused)
            if attempt + 1 < self.attempts:
                log("warn", f"the embedding API fails with {reason}; asking again in {asked + pause:.1f} s")
                if self.stop.wait(0 if refused else pause):
                    raise Interrupted
        text = f"the embedding API did not answer, last with {reason}; check its address, then run this again"
        raise Failure(text, "embedding_unreachable")

    @staticmethod
    def _reply(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
        try:
            reply = orjson.loads(response.data)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            raise BadReply("it is not a JSON object")
        return reply

    def _problem(self, response: urllib3.BaseHTTPResponse) -> str:
        """Names a status that another attempt may get past; raises for the others."""
        status = response.status
        if status in (400, 413, 422):
            raise TextRefused(f"HTTP {status}: {' '.join(response.data.decode(errors='replace').split())[:300]}")
        if status in (401, 403):
            text = f"the embedding API refuses the key (HTTP {status}); set {self.key_name} to a valid one"
            raise Failure(text, "key_refused")
        if status not in (408, 409, 425, 429) and status < 500:
            raise Failure(f"the embedding API answers HTTP {status}; check its address and the model `{self.model}`")
        return f"HTTP {status}"
