"""
Attention over a bag
====================

Each bag holds a handful of instances, and half of the bags are active because of one of them. Which one, nobody says.
After training, attention names it, and so does the effect: what the prediction loses without the instance.
"""

import numpy as np
from mil_attn import BagData, MILConfig, attention_frame, fit, predict
from molpool_common import OKABE_ITO, new_figure, style

rng = np.random.default_rng(0)
sizes = rng.geometric(0.2, 900)
offsets = np.concatenate([[0], np.cumsum(sizes)])
instances = rng.normal(size=(sizes.sum(), 8)).astype(np.float32)
active = rng.random(900) < 0.5
witness = offsets[:-1] + rng.integers(sizes)
instances[witness[active], :4] += 2.5
data = BagData(
    ids=[f"bag{i}" for i in range(900)],
    instances=instances,
    offsets=offsets,
    labels=active[:, None].astype(float),
    task_names=["active"],
)
parts = [data.take(np.arange(a, b)) for a, b in ((0, 600), (600, 700), (700, 900))]

config = MILConfig()
config.model.use_2d = False
config.model.inst_hidden = config.model.proj_dim = config.model.mixer_hidden = 32
config.model.inst_layers = config.model.mixer_layers = 1
config.training.epochs, config.training.lr = 12, 3e-3
config.training.batch_size, config.training.accumulate_grad_batches = 64, 1
module = fit(config, parts[0], parts[1]).module

# %%
test = parts[2]
probability = predict(module, test)[:, 0]
right = (probability > 0.5) == (test.labels[:, 0] == 1)
print(f"{right.mean():.2f} of the test bags are right")

# %%
# Six active bags; the instance that makes each one active is filled.

frame = attention_frame(module, test)
attention = frame["attention"].to_numpy()
is_witness = np.isin(np.arange(offsets[700], offsets[900]), witness[active])
bounds = offsets[700:] - offsets[700]
several = np.flatnonzero((test.labels[:, 0] == 1) & (np.diff(bounds) > 3))[:6]
with style():
    figure = new_figure(8, 3.2)
    for axes, bag in zip(figure.subplots(1, 6, sharey=True), several, strict=True):
        of = slice(bounds[bag], bounds[bag + 1])
        colors = np.where(is_witness[of], OKABE_ITO[5], "#bbbbbb")
        axes.bar(np.arange(bounds[bag + 1] - bounds[bag]), attention[of], color=colors)
        axes.set(title=test.ids[bag], xlabel="instance", ylim=(0, 1))
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.axes[0].set_ylabel("attention")
figure

# %%
# With a hundred bags rather than six hundred this need not come out: see :doc:`/mil` and :doc:`/explanation/bags`.
