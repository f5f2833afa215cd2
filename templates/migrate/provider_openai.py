
MOST_ITEMS = 2048  # texts in one request


def key_header(key: str) -> dict[str, str]:
    """Gives the header that carries the API's key."""
    return {"Authorization": f"Bearer {key}"}


class Embedder(HttpEmbedder):
    """Speaks OpenAI's `/embeddings`."""

    def _ask(self, texts: list[str], task: str) -> list[Vector[float]]:
        body: dict[str, Any] = {"model": self.model, "input": texts, "encoding_format": "base64"}
        if self.asked:
            body["dimensions"] = self.asked
        reply = self._post(f"{self.base_url}/embeddings", body)
        items = reply.get("data")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise BadReply("it has no list `data`")
        numbers = [item.get("index") for item in items]
        if sorted(number for number in numbers if isinstance(number, int)) != list(range(len(texts))):
            raise BadReply(f"{len(texts)} texts were sent and {len(items)} vectors came, or their numbers do not fit")
        by_number = dict(zip(numbers, items, strict=True))
        usage = reply.get("usage")
        counted = usage.get("total_tokens", usage.get("prompt_tokens")) if isinstance(usage, dict) else None
        vectors = [floats_of(by_number[number].get("embedding")) for number in range(len(texts))]
        self.usage.add(tokens=counted if isinstance(counted, int) else estimated_tokens(map(str.encode, texts)))
        return vectors
