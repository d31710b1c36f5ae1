"""pythae: its VAE and its BaseTrainer; called as a user does, and its loop alone, an epoch at a time."""

import tempfile

import torch
from common import LEARNING_RATE, PIXELS, Job, repeated, serve
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

torch.set_num_threads(2)


class Encoder(BaseEncoder):
    """The dense encoder."""

    def __init__(self, job: Job):
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, job.hidden[0]), nn.ReLU())
        self.mean, self.log_var = (nn.Linear(job.hidden[0], job.latents) for _ in range(2))

    def forward(self, x):
        h = self.hidden(x)
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    """The dense decoder, to probabilities as pythae wants them."""

    def __init__(self, job: Job):
        super().__init__()
        layers = nn.Linear(job.latents, job.hidden[0]), nn.ReLU(), nn.Linear(job.hidden[0], PIXELS), nn.Sigmoid()
        self.layers = nn.Sequential(*layers)

    def forward(self, z):
        return ModelOutput(reconstruction=self.layers(z).reshape(-1, 1, 28, 28))


def train(job: Job) -> dict:
    """Epochs by the trainer: its `train` with what belongs to it, and its loop over its data loader alone."""
    if job.network != "mlp":
        return {}
    torch.manual_seed(0)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=job.latents, reconstruction_loss="bce")
    data = torch.from_numpy(job.data()[: job.images // job.batch * job.batch]).reshape(-1, 1, 28, 28)
    dataset = BaseDataset(data, torch.zeros(len(data)))
    model = VAE(config, Encoder(job), Decoder(job))

    def trainer(folder: str, epochs: int) -> BaseTrainer:
        options = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            learning_rate=LEARNING_RATE,
            per_device_train_batch_size=job.batch,
            no_cuda=True,
        )
        return BaseTrainer(model, dataset, training_config=options)

    def whole() -> float:
        with tempfile.TemporaryDirectory() as folder:  # it writes the final model
            made = trainer(folder, job.epochs)
            losses = []
            step = made.train_step
            made.train_step = lambda epoch: losses.append(step(epoch)) or losses[-1]
            made.train()
            return losses[-1]

    alone = trainer(tempfile.mkdtemp(), 1)
    alone.prepare_training()
    return {"pythae": whole, "pythae, its loop alone": repeated(lambda: alone.train_step(1), job.epochs)}


if __name__ == "__main__":
    serve({"train": train})
