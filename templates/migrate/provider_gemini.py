
MOST_ITEMS = 100  # texts in one request


def key_header(key: str) -> dict[str, str]:
    """Gives the header that carries the API's key."""
    return {"x-goog-api-key": key}


class Embedder(HttpEmbedder):
    """Speaks Gemini's `batchEmbedContents`."""

    def _ask(self, texts: list[str], task: str) -> list[Vector[float]]:
        options: dict[str, Any] = {"outputDimensionality": self.asked} if self.asked else {}
        model = f"models/{self.model.removeprefix('models/')}"
        requests = [
            {"model": model, "taskType": task, "content": {"parts": [{"text": text}]}, **options} for text in texts
        ]
        reply = self._post(f"{self.base_url}/{urllib.parse.quote(model)}:batchEmbedContents", {"requests": requests})
        items = reply.get("embeddings")
        if not isinstance(items, list) or len(items) != len(texts):
            raise BadReply(f"{len(texts)} texts were sent and not as many vectors came")
        vectors = [floats_of(item.get("values") if isinstance(item, dict) else None) for item in items]
        self.usage.add(tokens=estimated_tokens(map(str.encode, texts)))
        return vectors
