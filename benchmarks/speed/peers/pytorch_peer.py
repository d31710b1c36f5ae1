"""PyTorch by hand: eager, and with `torch.compile`; Adam as it comes, and fused."""

import itertools
import math

import torch
from common import LEARNING_RATE, PIXELS, RESIDUAL_DECODER, RESIDUAL_ENCODER, Job, repeated, serve
from torch import nn

torch.set_num_threads(2)


class Block(nn.Module):
    """h + f(h), or a projection of h; f by way of half the filters; `up`: transposed where the stride is 2."""

    def __init__(self, channels: int, size: int, stride: int, up: bool):
        super().__init__()

        def conv(a, b, kernel):
            if up and stride > 1:
                return nn.ConvTranspose2d(a, b, kernel, stride, kernel // 2, output_padding=1)
            return nn.Conv2d(a, b, kernel, stride, kernel // 2)

        narrow = size // 2
        into, within, out = nn.Conv2d(channels, narrow, 1), conv(narrow, narrow, 3), nn.Conv2d(narrow, size, 1)
        self.f = nn.Sequential(nn.ReLU(), into, nn.ReLU(), within, nn.ReLU(), out)
        self.project = conv(channels, size, 1) if stride > 1 or channels != size else nn.Identity()

    def forward(self, h):
        return self.project(h) + self.f(h)


def residual(job: Job) -> tuple[nn.Module, nn.Module]:
    """The networks of the resnet job."""
    encoder = [nn.Conv2d(1, 32, 3, 1, 1), *(Block(*sizes, up=False) for sizes in RESIDUAL_ENCODER), nn.ReLU()]
    encoder += [nn.Flatten(), nn.Linear(7 * 7 * 64, 128), nn.ReLU(), nn.Linear(128, 2 * job.latents)]
    decoder = [nn.Linear(job.latents, 128), nn.ReLU(), nn.Linear(128, 7 * 7 * 64), nn.Unflatten(1, (64, 7, 7))]
    decoder += [*(Block(*sizes, up=True) for sizes in RESIDUAL_DECODER), nn.ReLU(), nn.Conv2d(32, 1, 1)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def networks(job: Job) -> tuple[nn.Module, nn.Module]:
    """An encoder to `[B, 2 latents]` and a decoder to logits `[B, *event_shape]`, channels first."""
    if job.network == "resnet":
        return residual(job)
    if job.network == "conv":
        encoder = [nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten()]
        encoder += [nn.Linear(7 * 7 * 64, 16), nn.ReLU(), nn.Linear(16, 2 * job.latents)]
        decoder = [nn.Linear(job.latents, 7 * 7 * 64), nn.ReLU(), nn.Unflatten(1, (64, 7, 7))]
        decoder += [nn.ConvTranspose2d(64, 64, 3, 2, 1, output_padding=1), nn.ReLU()]
        decoder += [nn.ConvTranspose2d(64, 32, 3, 2, 1, output_padding=1), nn.ReLU()]
        decoder += [nn.ConvTranspose2d(32, 1, 3, 1, 1)]
        return nn.Sequential(*encoder), nn.Sequential(*decoder)
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[job.activation]

    def dense(sizes):
        parts = []
        for a, b in itertools.pairwise(sizes):
            parts += [nn.Linear(a, b), activation()]
        return nn.Sequential(*parts[:-1])

    return dense([PIXELS, *job.hidden, 2 * job.latents]), dense([job.latents, *reversed(job.hidden), PIXELS])


def train(job: Job) -> dict:
    """Epochs in three modes, each with a model of its own."""
    modes = {
        "PyTorch, eager": (False, False),
        "PyTorch, torch.compile": (True, False),
        "PyTorch, torch.compile, fused Adam": (True, True),
    }
    return {name: repeated(trainer(job, *mode), job.epochs) for name, mode in modes.items()}


def trainer(job: Job, compiled: bool, fused: bool):
    """A function that trains for one epoch and returns its mean loss."""
    torch.manual_seed(0)
    encoder, decoder = networks(job)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], LEARNING_RATE, fused=fused)
    data = torch.from_numpy(job.data())
    data = data.permute(0, 3, 1, 2).contiguous() if job.convolves else data
    epochs = iter(range(10**9))

    def loss(x):
        mean, raw = encoder(x).chunk(2, dim=-1)
        scale = nn.functional.softplus(raw)
        z = mean + scale * torch.randn(job.samples, *mean.shape)
        logits = decoder(z.reshape(-1, job.latents)).reshape(job.samples, *x.shape)
        labels = x.expand_as(logits)
        cross = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").flatten(2).sum(-1)
        kl = 0.5 * (scale**2 + mean**2 - 1.0 - 2.0 * scale.log()).sum(-1)
        return (cross.mean(0) + kl).mean()

    loss = torch.compile(loss) if compiled else loss

    def epoch():
        total = torch.zeros([])
        order = torch.from_numpy(job.order(next(epochs)))
        for rows in order:
            value = loss(data[rows])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.detach()
        return total / len(order)

    return epoch


def in_both_modes(function) -> dict:
    """A function of no arguments without gradients, eager and compiled."""
    programs = {"PyTorch, eager": function, "PyTorch, torch.compile": torch.compile(function)}
    return {name: torch.no_grad()(program) for name, program in programs.items()}


def likelihood(job: Job) -> dict:
    """log p(x) by importance sampling, an image at a time."""
    encoder, decoder = networks(job)
    data = torch.from_numpy(job.data())

    def score(x):
        mean, raw = encoder(x[None]).chunk(2, dim=-1)
        scale = nn.functional.softplus(raw)
        eps = torch.randn(job.samples, job.latents)
        z = mean + scale * eps
        cross = nn.functional.binary_cross_entropy_with_logits(decoder(z), x.expand(job.samples, -1), reduction="none")
        log_ratio = (0.5 * (eps**2 - z**2) + scale.log()).sum(-1)
        return torch.logsumexp(log_ratio - cross.flatten(1).sum(-1), 0) - math.log(job.samples)

    def over(score):
        return torch.no_grad()(lambda: torch.stack([score(x) for x in data]).mean())

    return {"PyTorch, eager": over(score), "PyTorch, torch.compile": over(torch.compile(score))}


def encode(job: Job) -> dict:
    """Posterior means of all images in one call."""
    encoder, _ = networks(job)
    data = torch.from_numpy(job.data())
    data = data.permute(0, 3, 1, 2).contiguous() if job.convolves else data
    return in_both_modes(lambda: encoder(data)[:, : job.latents].mean())


def sample(job: Job) -> dict:
    """Means of p(x|z) for z from the prior, all in one call."""
    _, decoder = networks(job)
    return in_both_modes(lambda: torch.sigmoid(decoder(torch.randn(job.images, job.latents))).mean())


if __name__ == "__main__":
    serve({"train": train, "likelihood": likelihood, "encode": encode, "sample": sample})
