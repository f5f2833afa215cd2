

# ---- The embedding API over HTTP ------------------------------------------------------------------------------------

ATTEMPTS = 8  # of one request
RETRY_BUDGET = 100  # retries of the whole run, beside one for every request
PAUSE_BASE, PAUSE_CAP = 0.5, 60.0  # seconds between attempts; the cap also holds for Retry-After


class BadReply(Exception):
    """A reply that does not have the promised shape; nothing of it is used."""


def floats_of(value: Any) -> Vector[float]:
    """Reads one vector: base64 of little-endian floats, or a list of numbers."""
    try:
        if isinstance(value, list):
            return Vector("f", value)
        vector = Vector("f", base64.b64decode(value, validate=True))
    except (TypeError, ValueError, OverflowError, binascii.Error):
        raise BadReply("a vector is neither a list of numbers nor base64 of floats") from None
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def retry_after(response: httpx.Response) -> float:
    """Gives the seconds that the API asks to wait, 0 if it does not say."""
    text = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    moment = email.utils.parsedate_tz(text)
    return max(0.0, email.utils.mktime_tz(moment) - time.time()) if moment else 0.0


def reply_object(response: httpx.Response) -> dict[str, Any]:
    """Reads a reply that has to be a JSON object."""
    try:
        reply = response.json()
    except ValueError:
        raise BadReply("it is not JSON") from None
    if not isinstance(reply, dict):
        raise BadReply("it is not a JSON object")
    return reply


class HttpEmbedder(BaseEmbedder):
    """Asks an embedding API; what a request and a reply look like, its provider's class says."""

    def __init__(self, stop: threading.Event, usage: Usage) -> None:
        super().__init__(stop, usage)
        plan = PLAN["embedding"]
        self.base_url = (os.environ.get("EMBEDDING_BASE_URL") or plan["base_url"] or "").rstrip("/")
        key = (os.environ.get(plan["api_key_env"] or "") or os.environ.get("EMBEDDING_API_KEY") or "").strip()
        keep_secret(key)
        self.headers = key_header(key) if key else {}
        self.attempts = 3  # until it has answered once
        self.not_before = 0.0  # one cooldown for all threads
        host = urllib.parse.urlsplit(self.base_url).hostname
        if not host:
            raise Failure("no address of the embedding API; set EMBEDDING_BASE_URL to its base URL")
        self.client = httpx.Client(
            timeout=httpx.Timeout(60.0, connect=10.0),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),  # a proxy is for other machines
        )

    def _vectors(self, texts: list[str], task: str = "RETRIEVAL_DOCUMENT") -> list[Vector[float]]:
        """Asks for vectors; a reply without the promised shape is refused whole and asked for again."""
        for attempt in range(3):
            try:
                return self._ask(texts, task)
            except BadReply as error:
                reason = str(error)
                self.usage.add(retries=1 if attempt < 2 else 0)
        raise Failure(f"the embedding API's replies cannot be used: {reason}; check its address and model")

    def _ask(self, texts: list[str], task: str) -> list[Vector[float]]:
        raise NotImplementedError

    def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Sends one request until it is answered; waits as the API asks and within the run's budget."""
        content = json.dumps(body).encode()
        headers = self.headers | {"Content-Type": "application/json"}
        reason = ""
        for attempt in range(self.attempts):
            self._wait(self.not_before - time.monotonic())
            self.usage.add(requests=1, retries=1 if attempt else 0)
            if self.usage.retries > RETRY_BUDGET + self.usage.requests // 2:
                raise Failure(f"the embedding API fails too often, last with {reason}; run this again later")
            pause = random.uniform(0, min(PAUSE_CAP, PAUSE_BASE * 2**attempt))  # nosec B311: jitter, not a secret
            try:
                response = self.client.post(url, content=content, headers=headers)
            except httpx.TransportError as error:
                reason = type(error).__name__
            except httpx.HTTPError as error:
                raise Failure(f"the embedding API cannot be asked: {type(error).__name__}; check its address") from None
            else:
                if response.status_code == 200:
                    self.attempts = ATTEMPTS
                    return reply_object(response)
                reason = self._problem(response)
                asked = min(PAUSE_CAP, retry_after(response))
                if response.status_code == 429 or asked:
                    pause += asked
                    with self.lock:
                        self.not_before = max(self.not_before, time.monotonic() + pause)
            if attempt + 1 < self.attempts:
                CONSOLE.log("warn", f"the embedding API fails with {reason}; asking again in {pause:.1f} s")
                self._wait(pause)
        raise Failure(
            f"the embedding API did not answer {self.attempts} times, last with {reason}; check its address, then run"
            " this again"
        )

    def _problem(self, response: httpx.Response) -> str:
        """Names a status that another attempt may get past; raises for the others."""
        status = response.status_code
        if status in (400, 413, 422):
            raise TextRefused(f"HTTP {status}: {' '.join(response.text.split())[:300]}")
        if status in (401, 403):
            variable = PLAN["embedding"]["api_key_env"] or "EMBEDDING_API_KEY"
            raise Failure(f"the embedding API refuses the key (HTTP {status}); set {variable} to a valid one")
        if status in (408, 409, 425, 429) or status >= 500:
            return f"HTTP {status}"
        raise Failure(f"the embedding API answers HTTP {status}; check its address and the model `{self.model}`")

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self.stop.wait(seconds):
            raise Interrupted
