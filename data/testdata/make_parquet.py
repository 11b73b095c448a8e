"""Writes Parquet files of small images, as Hugging Face's datasets and Arrow do.

    python make_parquet.py hf FOLDER        # train-00000-of-00002.parquet, …: needs datasets, Pillow
    python make_parquet.py arrow FOLDER     # one file a kind of encoding: needs pyarrow, Pillow
    python make_parquet.py bad .            # bad.parquet, labels out of range: the same

Image i is a PNG of i % 7 + 1 by 2 pixels, all (i, 2i, 255 - i), of class i % 3.
"""

import io
import sys

from PIL import Image

NAMES = ["cat", "dog", "a bird"]


def image(i):
    return Image.new("RGB", (i % 7 + 1, 2), (i % 256, 2 * i % 256, 255 - i % 256))


def png(i):
    b = io.BytesIO()
    image(i).save(b, format="PNG")
    return b.getvalue()


def hf(folder):
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as Feature

    features = Features({"image": Feature(), "label": ClassLabel(names=NAMES)})
    at = 0
    for name, n in (("train-00000-of-00002", 14), ("train-00001-of-00002", 10), ("validation-00000-of-00001", 5)):
        rows = range(at, at + n)
        at += n
        Dataset.from_dict({"image": [image(i) for i in rows], "label": [i % 3 for i in rows]}, features=features).to_parquet(f"{folder}/{name}.parquet")


def arrow(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 40
    images = [{"bytes": png(i), "path": f"{i}.png"} for i in range(n)]
    numbers = pa.array([i % 3 for i in range(n)], pa.int64())
    struct = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": struct, "label": numbers})
    for codec in ("none", "snappy", "gzip", "zstd"):
        pq.write_table(table, f"{folder}/{codec}.parquet", compression=codec, row_group_size=16)
        pq.write_table(table, f"{folder}/{codec}-v2.parquet", compression=codec, data_page_version="2.0")
    small = dict(data_page_size=512, write_batch_size=4)
    pq.write_table(table, f"{folder}/pages.parquet", **small)
    pq.write_table(table, f"{folder}/plain.parquet", use_dictionary=False, **small)
    pq.write_table(pa.table({"img": pa.array([png(i) for i in range(n)]), "label": numbers.cast(pa.int32())}), f"{folder}/bytes.parquet")
    names = pa.array([NAMES[i % 3] for i in range(n)])
    pq.write_table(pa.table({"image": struct, "class": names}), f"{folder}/names.parquet")
    pq.write_table(pa.table({"image": struct, "class": names.dictionary_encode()}), f"{folder}/categories.parquet")
    images[7] = None
    images[8] = {"bytes": None, "path": "8.png"}
    pq.write_table(pa.table({"image": pa.array(images, struct.type), "label": numbers}), f"{folder}/missing.parquet")


def bad(folder):
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = [0, 1, 5, -1, None, 1]
    about = {"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}
    struct = pa.array([{"bytes": png(i), "path": f"{i}.png"} for i in range(len(labels))], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": struct, "label": pa.array(labels, pa.int64())})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), f"{folder}/bad.parquet")


{"hf": hf, "arrow": arrow, "bad": bad}[sys.argv[1]](sys.argv[2])
