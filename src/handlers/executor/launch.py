import json, os, runpy, select, sys, threading
def read_line():
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("relvec ended before it said what to do")
        line += byte
    return line
# The script's standard input ends when relvec's does, and when relvec is not heard of for a minute: a daemon that was killed
# leaves the container running and its standard input open.
def listen(relvec, script):
    while select.select([relvec], [], [], 60)[0] and os.read(relvec, 1024):
        pass
    os.close(script)
os.environ.update(json.loads(read_line()))
inside, outside = os.pipe()
threading.Thread(target=listen, args=(os.dup(0), outside), daemon=True).start()
os.dup2(inside, 0)
sys.argv = ["migrate.py", "--until-stdin-ends"]
runpy.run_path("migrate.py", run_name="__main__")
