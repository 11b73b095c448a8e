"""Writes python.tfevents: one event of each kind, made with TensorBoard's own
messages and writer (tensorboard 2.21)."""
import pathlib
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

Value = summary_pb2.Summary.Value
start = plugin_data_pb2.HParamsPluginData()
start.session_start_info.start_time_secs = 1.5
start.session_start_info.hparams["flip"].bool_value = True
start.session_start_info.hparams["lr"].number_value = 0.1
start.session_start_info.hparams["method"].string_value = "selfcon-s"
about = summary_pb2.SummaryMetadata()
about.plugin_data.plugin_name = "text"
session = summary_pb2.SummaryMetadata()
session.plugin_data.plugin_name = metadata.PLUGIN_NAME
session.plugin_data.content = start.SerializeToString(deterministic=True)

with open(pathlib.Path(__file__).parent / "python.tfevents", "wb") as f:
    w = RecordWriter(f)
    for event in [
        {"file_version": "brain.Event:2"},
        {"step": 3, "session_log": event_pb2.SessionLog(status=event_pb2.SessionLog.START)},
        {"step": 300, "summary": Value(tag="a", simple_value=0.5)},
        {"step": 1, "summary": Value(tag="im", image=summary_pb2.Summary.Image(height=3, width=200, colorspace=3, encoded_image_string=b"png"))},
        {"summary": Value(tag="run", tensor=tensor_util.make_tensor_proto("# hello"), metadata=about)},
        {"summary": Value(tag=metadata.SESSION_START_INFO_TAG, tensor=metadata.NULL_TENSOR, metadata=session)},
    ]:
        if "summary" in event:
            event["summary"] = summary_pb2.Summary(value=[event["summary"]])
        w.write(event_pb2.Event(wall_time=1.5, **event).SerializeToString(deterministic=True))
