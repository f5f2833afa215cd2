import json, os, runpy, socket, sys
addresses = json.loads(os.environ.pop("RELVEC_ADDRESSES"))
look_up = socket.getaddrinfo
def pinned(host, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    if isinstance(name, str):
        name = addresses.get(name.rstrip(".").lower(), name)
    return look_up(name, *rest, **named)
socket.getaddrinfo = pinned
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
