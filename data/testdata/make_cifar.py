"""Writes the small CIFAR archives that the tests read.

  python2 make_cifar.py py2     cPickle and numpy of Python 2, as the distributed files
  python3 make_cifar.py py3     protocol 2 of Python 3, as re-written copies

Image i of file b has, at channel c, row y, column x, the value
(31 b + 7 i + 50 c + 3 y + 5 x) mod 256, and the label (b + i) mod classes.
Files are numbered in the order of the splits, the test file last.
"""
import gzip
import io
import pickle
import sys
import tarfile

import numpy as np

try:
    import cPickle
    dumps = cPickle.dumps
except ImportError:
    dumps = pickle.dumps

IMAGES = 3


def images(b):
    i, c, y, x = np.ogrid[0:IMAGES, 0:3, 0:32, 0:32]
    v = (31 * b + 7 * i + 50 * c + 3 * y + 5 * x) % 256
    return v.astype(np.uint8).reshape(IMAGES, 3072)


def archive(path, members):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode='w') as t:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            t.addfile(info, io.BytesIO(body))
    with open(path, 'wb') as f:
        z = gzip.GzipFile('', 'wb', 9, f, 0)
        z.write(raw.getvalue())
        z.close()


def names(b):
    return ['image_%d_%d.png' % (b, i) for i in range(IMAGES)]


def main(tag):
    files = ['data_batch_%d' % n for n in range(1, 6)] + ['test_batch']
    members = []
    for b, name in enumerate(files):
        d = {'batch_label': 'batch %d of 6' % (b + 1), 'labels': [(b + i) % 10 for i in range(IMAGES)],
             'data': images(b), 'filenames': names(b)}
        members.append(('cifar-10-batches-py/' + name, dumps(d, 2)))
    members.append(('cifar-10-batches-py/batches.meta', dumps({'num_vis': 3072}, 2)))
    archive('cifar-10-%s.tar.gz' % tag, members)
    members = []
    for b, name in enumerate(['train', 'test']):
        d = {'batch_label': name, 'fine_labels': [(b + i) % 100 for i in range(IMAGES)],
             'coarse_labels': [i for i in range(IMAGES)], 'data': images(b), 'filenames': names(b)}
        members.append(('cifar-100-python/' + name, dumps(d, 2)))
    archive('cifar-100-%s.tar.gz' % tag, members)


main(sys.argv[1])
