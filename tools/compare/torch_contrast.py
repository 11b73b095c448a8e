#!/usr/bin/env python3
"""PyTorch's time and peak memory for the contrastive loss alone, dense, with its gradient: the peer of tools/compare/contrast.

usage: torch_contrast.py --sample FILE [--rows 8192] [--dim 128] [--steps 6] [--threads 2] [--mode eager|reference|compile]
eager takes torch.logsumexp; reference is written as the paper's code is (exp, mask, log of the sum); compile is eager,
compiled. FILE is what `contrast -sample FILE` writes: features, labels, its loss and its gradient, with which the results
are compared. Prints one line of JSON. Needs: pip install torch numpy.
"""
import argparse, json, resource, statistics, time
import numpy as np
import torch


def dense(z, labels, temperature=0.1):
    logits = z @ z.T / temperature
    eye = torch.eye(len(z), dtype=torch.bool)
    logits = logits.masked_fill(eye, float("-inf"))
    positive = (labels[:, None] == labels[None, :]) & ~eye
    log_p = logits - torch.logsumexp(logits, 1, keepdim=True)
    return -(log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


def reference(z, labels, temperature=0.1):
    positive = torch.eq(labels[:, None], labels[None, :]).float()
    logits = z @ z.T / temperature
    logits = logits - logits.max(1, keepdim=True).values.detach()
    others = 1 - torch.eye(len(z))
    positive = positive * others
    log_p = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    return -((positive * log_p).sum(1) / positive.sum(1)).mean()


def main():
    ap = argparse.ArgumentParser()
    for name, default in dict(rows=8192, dim=128, steps=6, threads=2, mode="eager", sample="").items():
        ap.add_argument("--" + name, type=type(default), default=default)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    n = a.rows * a.dim
    with open(a.sample, "rb") as f:
        z = torch.from_numpy(np.fromfile(f, "<f4", n)).reshape(a.rows, a.dim).requires_grad_()
        labels = torch.from_numpy(np.fromfile(f, "<i4", a.rows))
        want, gradient = np.fromfile(f, "<f4", 1), np.fromfile(f, "<f4", n)
    loss = {"eager": dense, "reference": reference, "compile": torch.compile(dense) if a.mode == "compile" else None}[a.mode]
    times = []
    for i in range(2 + a.steps):
        start = time.perf_counter()
        z.grad = None
        l = loss(z, labels)
        l.backward()
        l.item()
        if i >= 2:
            times.append(time.perf_counter() - start)
    got = z.grad.numpy().reshape(-1)
    largest = float(abs(gradient).max())
    print(json.dumps(dict(engine="torch " + torch.__version__, rows=a.rows, dim=a.dim, mode=a.mode, step_s=min(times),
                          step_s_median=statistics.median(times), loss_difference=float(abs(want[0] - l.item())),
                          difference=float(abs(got - gradient).max()) / largest,
                          peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))


main()
