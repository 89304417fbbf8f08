"""The plant file of a benchmark: an OPC UA load, a broker, one flow."""

from pathlib import Path

from benchmarks.peers.load_server import LoadServer

PLANT = """\
plant: benchmark
http: {{ listen: "127.0.0.1:{http}" }}
connections:
  load:
    type: opcua
    url: {url}
    security: {{ policy: None }}
    publishing_interval_ms: {publishing_ms}
    sampling_interval_ms: 0
    queue_size: {queue}
    tags_file: tags.csv
  broker:
    type: mqtt
    host: {host}
    port: {port}
    publish: {{ topic: bench/samples, gaps_topic: bench/gaps }}
flows:
  telemetry: {{ from: load, to: broker, outbox: {{ bytes_max: 2GiB }} }}
"""


def write_tags(folder: Path, load: LoadServer) -> Path:
    """A CSV with every tag of the load: ``unit003/v17``."""
    file = folder / "tags.csv"
    lines = [f"{node.removeprefix('ns=1;s=load/')},{node}" for node in load.node_ids()]
    file.write_text("\n".join(["tag,node", *lines]) + "\n")
    return file


def write_plant(folder: Path, load: LoadServer, *, host: str, port: int, http: int, publishing_ms: int) -> Path:
    """Plant file and tags; the queue holds five publishing intervals."""
    write_tags(folder, load)
    file = folder / "plant.yaml"
    queue = max(10, int(5 * load.hz * publishing_ms / 1000))
    file.write_text(
        PLANT.format(url=load.url, host=host, port=port, http=http, publishing_ms=publishing_ms, queue=queue)
    )
    return file
