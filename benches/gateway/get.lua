-- Asks for one run after the other: a file names their ids.
local ids = {}
for id in io.lines(os.getenv("BENCH_IDS")) do ids[#ids + 1] = id end
local next = 0
request = function()
  next = next % #ids + 1
  return wrk.format("GET", "/jobs/" .. ids[next])
end
