"""Prints as JSON what TensorBoard finds in a folder of one run: read.py LOGDIR.

Through its reader of event files in Python, and through the web server's answers
(the plugins for scalars, images, text, hparams and the projector), which has to
say the same whether it reads by that reader or by the quicker one in Rust."""
import json
import os
import sys
import time
import urllib.parse
import urllib.request

from tensorboard import default, program
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

logdir = sys.argv[1]
run = os.listdir(logdir)[0]


def server(fast):
    tb = program.TensorBoard(default.get_plugins())
    tb.configure(argv=["", "--logdir", logdir, "--load_fast", fast, "--port", "0"])
    base = tb.launch() + "data/plugin/"

    def get(path, **query):
        with urllib.request.urlopen(base + path + "?" + urllib.parse.urlencode(query)) as r:
            return r.read()

    def ask(path, **query):
        return json.loads(get(path, **query))

    deadline = time.time() + 30  # the reader works beside the server
    while not ask("scalars/tags").get(run) and time.time() < deadline:
        time.sleep(0.1)
    out = {}
    out["scalars"] = {t: [[p[1], round(p[2], 5)] for p in ask("scalars/scalars", run=run, tag=t)] for t in ask("scalars/tags")[run]}
    out["images"] = []
    for tag in ask("images/tags").get(run, {}):
        for p in ask("images/images", run=run, tag=tag, sample=0):
            key = urllib.parse.parse_qs(p["query"])["blob_key"][0]
            out["images"].append([tag, p["step"], get("images/individualImage", blob_key=key)[:4].hex()])
    out["texts"] = {t: [[p["step"], p["text"]] for p in ask("text/text", run=run, tag=t)] for t in ask("text/tags").get(run, [])}
    request = urllib.request.Request(
        base + "hparams/experiment", method="POST", headers={"Content-Type": "application/json"},
        data=json.dumps({"experimentName": "", "hparamsLimit": 100, "includeMetrics": True}).encode())
    with urllib.request.urlopen(request) as r:
        out["hparams"] = sorted(h["name"] for h in json.load(r)["hparamInfos"])
    if run in ask("projector/runs"):
        config = ask("projector/info", run=run)
        config.pop("modelCheckpointPath", None)
        out["projector"] = config
        out["points"] = []
        for e in config["embeddings"]:
            name = e["tensorName"]
            out["points"].append({
                "name": name,
                "metadata": get("projector/metadata", run=run, name=name, num_rows=3).decode(),
                "bytes": len(get("projector/tensor", run=run, name=name)),
                "begin": get("projector/tensor", run=run, name=name)[:8].hex(),
                "sprite": get("projector/sprite_image", run=run, name=name)[:4].hex(),
            })
    return out


accumulator = EventAccumulator(os.path.join(logdir, run))
accumulator.Reload()
answer = server("false")
if server("true") != answer:
    sys.exit("the two readers differ: %s" % json.dumps([server("true"), answer]))
answer["accumulator"] = {t: [[e.step, round(e.value, 5)] for e in accumulator.Scalars(t)] for t in accumulator.Tags()["scalars"]}
print(json.dumps(answer, indent=1, sort_keys=True))
