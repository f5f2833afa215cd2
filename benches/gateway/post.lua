-- Submits a job again and again.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"graph": "nothing", "input": {"source": {"url": "sqlite:/no/such/shop.db"}}}'
