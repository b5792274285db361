"""Configuration of a run: the model, its training, its data, the split and what is exported.

Names and ranges of `MILConfig` are those of the literature's search. Imports neither torch nor
RDKit, so that a command's help needs milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from molpool_common import (
    PATH,
    ConfigModel,
    ReadConfig,
    ScaleName,
    Seed,
    did_you_mean,
    short_flag,
    validate_values,
)
from pydantic import Field, field_validator, model_validator

from mil_attn._errors import MILError

DescriptorSet = Literal["usrcat", "shape", "whim", "autocorr3d", "rdf", "morse", "getaway"]
"""Families of 3D descriptors that RDKit computes."""

Kind = Literal["smiles", "bags", "features"]

SplitName = Literal["train", "val", "test"]

MILSplitType = Literal[
    "multilabel", "stratified", "scaffold", "cluster", "time", "plate", "random", "stored"
]


ActivationName = Literal["GELU", "SiLU", "Mish", "ReLU", "LeakyReLU"]
SourceName = Literal["attn_out", "normed_inputs", "inputs"]
PresetName = Literal["euos25"]
TaskKind = Literal["classification", "regression"]

FEW_BAGS, MANY_BAGS = 500, 5000
"""Training bags below which a model is small, and from which on it is large, if nobody says."""

Width = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class MILModelConfig(ConfigModel):
    """Architecture of `MILTaskAttnMixerWithAux`."""

    use_2d: bool = Field(
        True, description="branch of molecule features, where there are any (bags have none)"
    )
    use_3d: bool = Field(True, description="branch of instances (conformers), where there are any")
    mol_hidden: Width = Field(1024, description="width of the molecule encoder")
    mol_layers: Width = Field(3, description="residual blocks of the molecule encoder")
    mol_dropout: Rate = Field(0.15, description="dropout in the molecule encoder")
    inst_hidden: Width = Field(512, description="width of the instance encoder, of attention too")
    inst_layers: Width = Field(3, description="residual blocks of the instance encoder")
    inst_dropout: Rate = Field(0.1, description="dropout in the instance encoder")
    proj_dim: Width = Field(512, description="width of either branch where they are joined")
    attn_heads: Width = Field(8, description="attention heads; divides inst_hidden")
    attn_dropout: Rate = Field(0.1, description="dropout of attention weights")
    attn_temperature: Positive = Field(1.0, description="above 1: flatter attention")
    pool_source: SourceName = Field(
        "attn_out", description="what attention pools: projected values, or instances themselves"
    )
    tie_mha_v: bool = Field(
        False, description="project pooled instances by the value projection of attention"
    )
    top_k: int | None = Field(
        None, ge=2, description="attend to so many instances of a bag only; 1 would teach nothing"
    )
    mean_residual: float = Field(
        0.0, ge=0, le=1, description="share of the plain mean of instances in what is pooled"
    )
    mixer_hidden: Width = Field(512, description="width of the mixer, of task embeddings too")
    mixer_layers: Width = Field(3, description="residual blocks of the mixer")
    mixer_dropout: Rate = Field(0.1, description="dropout in the mixer")
    activation: ActivationName = Field(
        "GELU", description="nonlinearity of the mixer, and of encoders that are not gated"
    )
    gated: bool = Field(True, description="SwiGLU in the encoders")
    expansion: Positive = Field(2.0, description="inner width of a block, in widths of the block")
    drop_path: Rate = Field(
        0.1, description="chance that the last block is skipped; grows linearly with depth from 0"
    )
    residual_scale: Positive = Field(1.0, description="start of the blocks' learned scale")
    scale_warmup: int = Field(
        2, ge=0, description="early blocks whose scale starts lower, growing with depth"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (self.use_2d or self.use_3d):
            raise ValueError("use_2d, use_3d: expected at least one branch; found neither")
        if self.use_3d and self.inst_hidden % self.attn_heads:
            raise ValueError(
                f"attn_heads: expected a divisor of inst_hidden {self.inst_hidden}; "
                f"found {self.attn_heads}"
            )
        return self


class MILTrainingConfig(ConfigModel):
    """Optimisation: AdamW, stopped early."""

    epochs: int = Field(100, ge=1, description="most epochs to train")
    patience: int | None = Field(
        10,
        ge=1,
        description="epochs without a better validation score before stopping; None: never",
    )
    lr: Positive = Field(3e-4, description="learning rate")
    weight_decay: NotNegative = Field(3e-5, description="weight decay of AdamW")
    batch_size: int = Field(128, ge=1, description="bags per batch")
    accumulate_grad_batches: int = Field(8, ge=1, description="batches per step")
    gradient_clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    non_finite: Literal["stop", "skip"] = Field(
        "stop",
        description="at a training batch whose loss is NaN or infinite: stop, naming its bags, or "
        "skip it, counted",
    )
    checkpoint_every_steps: int | None = Field(
        50, ge=1, description="steps between checkpoints within an epoch; None: only at its end"
    )
    objective_mode: Literal["macro_plus_min"] = Field(
        "macro_plus_min", description="score of a fold: average precision over tasks and its least"
    )
    min_w: float = Field(0.3, ge=0, le=1, description="weight of the worst task in that score")
    threshold_least: int = Field(
        1,
        ge=1,
        description="positives and negatives that a task must have among validation bags for a "
        "decision threshold of its own; with fewer it is 0.5",
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="epoch whose weights stay: that of the best validation score, by which "
        "training stops early too, or the last",
    )
    members: int = Field(
        1, ge=1, description="networks trained at once on the same batches, whose mean predicts"
    )
    instance_dropout: Rate = Field(
        0.0, description="share of a bag's instances left out of a training step, never all"
    )
    mixup: NotNegative = Field(
        0.0,
        description="each bag is mixed with another of its batch, embeddings and losses alike, in "
        "shares drawn from Beta(mixup, mixup); 0: not",
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = Field(
        "auto", description="where to train; gpu: CUDA or MPS, auto: the same where there is one"
    )


class MILLossConfig(ConfigModel):
    """Losses; what is one number per task may be given as one for all."""

    posw_clip: Positive | list[Positive] = Field(
        50.0, description="highest weight of positives, negatives over positives otherwise; by task"
    )
    pos_weight: Positive | list[Positive] | None = Field(
        None,
        description="weight of positives by task; by default negatives over positives, at most "
        "posw_clip",
    )
    gamma: NotNegative | list[NotNegative] = Field(
        2.0, description="focal exponent by task; 0 is cross-entropy"
    )
    lam: Positive | list[Positive] = Field(
        1.0, description="factor of a task's loss before normalisation; by task"
    )
    lam_floor: Positive = Field(0.5, description="least normalised factor")
    lam_ceil: Positive = Field(2.0, description="largest normalised factor")
    reg_loss_type: Literal["mse"] = Field("mse", description="loss of values")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.lam_floor > self.lam_ceil:
            raise ValueError(
                f"lam_floor: expected at most lam_ceil {self.lam_ceil:g}; found {self.lam_floor:g}"
            )
        return self


class MILSamplingConfig(ConfigModel):
    """How often molecules with a rare positive are drawn."""

    rare_oversample_mult: NotNegative = Field(
        20.0, description="factor on the weight of a molecule with a rare positive; 0: draw evenly"
    )
    rare_prev_thr: float = Field(0.02, gt=0, lt=1, description="share of positives of a rare task")
    sample_weight_cap: float = Field(10.0, ge=1, description="largest weight of a molecule")


class AuxGroupConfig(ConfigModel):
    """Auxiliary values that one shared head predicts."""

    columns: Annotated[list[str], Field(min_length=1)] = Field(
        description="target columns, one output each; a column may stand twice"
    )
    weight: NotNegative = Field(0.2, description="lambda_aux: weight in the total loss")


class MILConfig(ConfigModel):
    """A model, its tasks and its training."""

    tasks: list[str] = Field(
        default_factory=list, description="names of the tasks; by default those of the data"
    )
    task_kind: TaskKind = Field("classification", description="classes, or values of bags")
    aux: dict[str, AuxGroupConfig] = Field(
        default_factory=dict, description="auxiliary groups by name"
    )
    model: MILModelConfig = Field(default_factory=MILModelConfig)
    training: MILTrainingConfig = Field(default_factory=MILTrainingConfig)
    loss: MILLossConfig = Field(default_factory=MILLossConfig)
    sampling: MILSamplingConfig = Field(default_factory=MILSamplingConfig)
    size: Literal["auto", "small", "medium", "large"] = Field(
        "auto",
        description="defaults of the keys of model, training and loss that are not given: those "
        "for few bags, for thousands, for many, or by the number of training bags (few: below "
        f"{FEW_BAGS}, many: from {MANY_BAGS} on)",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks: expected each name once; found {self.tasks}")
        for name in _BY_TASK:
            given = getattr(self.loss, name)
            if self.tasks and isinstance(given, list) and len(given) != len(self.tasks):
                raise ValueError(
                    f"loss.{name}: expected one number, or one per task ({len(self.tasks)}); "
                    f"found {len(given)}"
                )
        return self

    @classmethod
    def preset(cls, name: PresetName) -> Self:
        """Return a configuration that ships, by name.

        Parameters
        ----------
        name : {"euos25"}
            Transmittance and fluorescence of the EUOS25 challenge: four tasks, absorbance and
            fluorescence as auxiliary groups.

        Raises
        ------
        MILError
            If there is none of this name.
        """
        if name not in _PRESETS:
            raise MILError(f"preset: found {name!r}. {did_you_mean(name, list(_PRESETS))}")
        return cls.model_validate(_PRESETS[name])

    def for_bags(self, n_bags: int) -> Self:
        """Return a copy whose defaults suit a number of training bags.

        Keys that were given stay. `size` of the copy says what was chosen, ``small``, ``medium`` or
        ``large``.

        Parameters
        ----------
        n_bags : int
            Bags that train.

        Raises
        ------
        InputError
            If a default does not go with a key that was given.
        """
        size = self.size
        if size == "auto":
            size = "small" if n_bags < FEW_BAGS else "medium" if n_bags < MANY_BAGS else "large"
        changes: dict[str, Any] = {"size": size}
        for name, defaults in _OF_SIZE[size].items():
            section = getattr(self, name)
            wanted = {k: v for k, v in defaults.items() if k not in section.model_fields_set}
            changes[name] = validate_values(type(section), section.model_dump() | wanted)
        return self.model_copy(update=changes)

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """Return a copy with hyperparameters as `search_space` names them.

        Parameters
        ----------
        params : mapping
            Such as ``inst_hidden``, ``lr``, ``gamma_t0`` (one for each task, from 0) and
            ``lambda_aux_abs``.

        Raises
        ------
        MILError
            If a name is unknown, naming the nearest, or the tasks of ``gamma_t`` have gaps.
        InputError
            If a value is out of its range.
        """
        values = self.model_dump()
        sections = [values[name] for name in ("model", "training", "loss", "sampling")]
        by_task: dict[str, dict[int, Any]] = {}
        for name, value in params.items():
            home = next((section for section in sections if name in section), None)
            if home is not None:
                home[name] = value
            elif (match := re.fullmatch(r"(\w+)_t(\d+)", name)) and match[1] in _BY_TASK:
                by_task.setdefault(match[1], {})[int(match[2])] = value
            elif name.removeprefix("lambda_aux_") in self.aux:
                values["aux"][name.removeprefix("lambda_aux_")]["weight"] = value
            else:
                known = [key for section in sections for key in section]
                known += [f"{key}_t0" for key in _BY_TASK]
                known += [f"lambda_aux_{group}" for group in self.aux]
                raise MILError(f"parameters: found {name!r}. {did_you_mean(name, known)}")
        for name, given in by_task.items():
            if sorted(given) != list(range(len(given))):
                raise MILError(
                    f"{name}_t: expected one for each task from 0; found {sorted(given)}."
                )
            values["loss"][name] = [given[t] for t in range(len(given))]
        return validate_values(type(self), values)


_BY_TASK = ("posw_clip", "pos_weight", "gamma", "lam")

_FEW: dict[str, dict[str, Any]] = {
    "model": {
        **dict.fromkeys(("mol_hidden", "inst_hidden", "proj_dim", "mixer_hidden"), 64),
        "mol_layers": 2,
        "inst_layers": 2,
        "mixer_layers": 1,
        "attn_heads": 4,
        **dict.fromkeys(("mol_dropout", "inst_dropout", "mixer_dropout"), 0.2),
    },
    "training": {
        "epochs": 40,
        "patience": None,
        "keep": "last",
        "members": 5,
        "mixup": 0.4,
        "lr": 5e-4,
        "weight_decay": 1e-3,
        "batch_size": 16,
        "accumulate_grad_batches": 1,
        "threshold_least": 10,
    },
    "loss": {"gamma": 0.0},
}
"""Defaults for few bags, measured in docs/mil.md."""

_OF_SIZE: Mapping[str, dict[str, dict[str, Any]]] = {
    "small": _FEW,
    # A fit to 1 000 bags takes 35 CPU seconds for 640 steps; `small` would take 180, and `large`
    # 400 for 100 steps.
    "medium": _FEW | {"training": {**_FEW["training"], "batch_size": 64, "members": 3}},
    "large": {},
}

_PRESETS: dict[str, dict[str, Any]] = {
    "euos25": {
        "tasks": [
            "Transmittance_340",
            "Transmittance_450",
            "Fluorescence_340_450",
            "Fluorescence_more_than_480",
        ],
        "aux": {
            "abs": {
                "columns": ["Transmittance_340_quantitative", "Transmittance_450_quantitative"]
            },
            # Predicted wavelength and quantum yield, once for each of the two fluorescence tasks.
            "fluo": {"columns": ["wl_pred_nm", "qy_pred"] * 2},
        },
    },
}


class ConformerConfig(ConfigModel):
    """Conformers of a molecule: ETKDGv3, then MMFF94, then pruning."""

    count: int = Field(10, ge=1, le=1000, description="conformers to embed a molecule")
    energy_window: float | None = Field(
        10.0,
        gt=0,
        description="kcal/mol above the lowest within which conformers stay; null: all",
    )
    rmsd: float = Field(
        0.5,
        ge=0,
        description="heavy-atom RMSD in Å within which the higher of two conformers is left out; "
        "0: keep all",
    )
    mmff: bool = Field(
        True, description="relax with MMFF94 (UFF where it has no parameters) and rank by energy"
    )
    mmff_iterations: int = Field(500, ge=1, description="most steps of a relaxation")
    largest_fragment: bool = Field(
        True, description="of a salt or mixture, embed the fragment of most heavy atoms alone"
    )
    seed: Seed = Field(0, description="seed of the embedding of each molecule")
    max_seconds: int = Field(
        60,
        ge=0,
        description="most seconds that a molecule may embed, and be described; 0: no limit",
    )


class Descriptors2DConfig(ConfigModel):
    """Features of a molecule as a whole."""

    descriptors: bool = Field(True, description="RDKit's descriptors of the molecular graph")
    morgan_bits: int = Field(
        2048, ge=0, le=65536, description="length of the folded Morgan counts; 0: none"
    )
    morgan_radius: int = Field(2, ge=0, le=10, description="radius of the Morgan counts in bonds")
    featurizers: str | None = Field(
        None,
        description="featurisers of molecule_features instead, joined by +, as rdkit2d+minimol",
    )


def _default_families() -> list[DescriptorSet]:
    # 254 values in 0.3 ms; the others take a millisecond each and triple the cache.
    return ["usrcat", "whim", "autocorr3d"]


class MoleculeFeaturesConfig(ConfigModel):
    """What is computed of SMILES."""

    conformers: ConformerConfig = Field(default_factory=ConformerConfig)
    descriptors_3d: list[DescriptorSet] = Field(
        default_factory=_default_families,
        description="descriptors of each conformer, in this order; none: no conformers",
    )
    descriptors_2d: Descriptors2DConfig = Field(default_factory=Descriptors2DConfig)
    energies: bool = Field(
        False,
        description="two more features of a conformer: its energy above the lowest (kcal/mol) and "
        "its Boltzmann weight at 298 K among those of its molecule",
    )
    use_2d: bool = Field(True, description="whether molecules have 2D features")

    @field_validator("descriptors_3d")
    @classmethod
    def _distinct(cls, names: list[DescriptorSet]) -> list[DescriptorSet]:
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"expected distinct families, found twice {', '.join(twice)}")
        return names


class MILDataConfig(ConfigModel):
    """Which tables, which columns, and what is computed of molecules."""

    kind: Kind = Field(
        "smiles",
        description="what data_path is: one row per molecule, its conformers computed (smiles) or "
        "its features in other tables (features), or one row per instance (bags)",
    )
    id_column: Annotated[str | None, short_flag("--id-column")] = Field(
        None,
        description="column of molecule or bag names, in all tables; by default row numbers "
        "(smiles), bag_id (bags) or id (features)",
    )
    smiles_column: Annotated[str, short_flag("--smiles-column")] = Field(
        "SMILES", description="column of SMILES; with kind features it need not be there"
    )
    target_columns: Annotated[list[str], short_flag("--target-columns")] = Field(
        default_factory=list, description="columns to predict; by default `tasks`, or label"
    )
    multiclass: bool = Field(
        False,
        description="target columns hold classes, two or more, by name or number: each class is a "
        "task COLUMN=CLASS, learnt one against the rest, and the likeliest is predicted",
    )
    classes: dict[str, list[str]] = Field(
        default_factory=dict,
        description="with multiclass: classes of a column, in order; by default those of data_path",
    )
    transform: dict[str, ScaleName] = Field(
        default_factory=dict,
        description="scale on which a target is learnt: log10, log10p1 (log10 of x + 1), asinh, "
        "logit (of shares between 0 and 1); predictions come back in the target's own unit",
    )
    weight_columns: list[str] = Field(
        default_factory=list,
        description="columns of data_path with weights of the labels in the loss: one for all "
        "tasks, or one per task; by default all labels weigh 1",
    )
    feature_columns: list[str] = Field(
        default_factory=list,
        description="for kind bags: columns of features; by default f1, f2, ... or all others "
        "without a role (targets, weights, folds, plates, ids and what is called so)",
    )
    columns_3d: list[str] = Field(
        default_factory=list, description="columns of features_3d, as feature_columns"
    )
    columns_2d: list[str] = Field(
        default_factory=list, description="columns of features_2d, as feature_columns"
    )
    features_3d: Annotated[str | None, PATH] = Field(
        None, description="for kind features: one row per conformer"
    )
    features_2d: Annotated[str | None, PATH] = Field(
        None, description="for kind features: one row per molecule"
    )
    instance_column: str | None = Field(
        None, description="column of instance names: in data_path (bags) or features_3d (features)"
    )
    energy_column: str | None = Field(
        None, description="column of features_3d with energies, kcal/mol"
    )
    witness_column: str | None = Field(
        None,
        description="column of the table of instances: 1 where an instance is known to make its "
        "bag positive, else 0; no feature, but what attention and effects are held against",
    )
    allow_undefined: bool = Field(
        False, description="take missing features of tables as the mean of the training bags"
    )
    aux_path: Annotated[str | None, PATH] = Field(
        None,
        description="table of auxiliary targets with the id column; by default data_path. What it "
        "lacks is missing",
    )
    structure: Annotated[Literal["given", "parent", "tautomer"], short_flag("--structure")] = Field(
        "given",
        description="for kind smiles: structure of which features are computed, in new molecules "
        "too: as given, its parent (no counterions, no charges), or the parent's canonical "
        "tautomer",
    )
    features: MoleculeFeaturesConfig = Field(default_factory=MoleculeFeaturesConfig)
    workers: int = Field(1, ge=1, description="processes that compute conformers")
    test_path: Annotated[str | None, PATH, short_flag("--test-path")] = Field(
        None,
        description="second table, of the same columns, whose bags test; data_path is divided into "
        "training and validation. Features of kind features are in the same tables",
    )
    predict_path: Annotated[str | None, PATH, short_flag("--predict-path")] = Field(
        None, description="table like data_path, without targets, to predict after training"
    )
    cache_dir: str = Field(
        "auto",
        description="folder that keeps what was computed of molecules for the next run; auto: "
        "$MOLPOOL_CACHE or molpool/molecules in the user's cache; none: keep nothing",
    )

    @field_validator("target_columns")
    @classmethod
    def _named(cls, names: list[str]) -> list[str]:
        if any(not name.strip() for name in names):
            raise ValueError("expected names, found an empty one; name the column in the table")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        tables = {"features_3d": self.features_3d, "features_2d": self.features_2d}
        given = [key for key, path in tables.items() if path]
        if self.kind == "features" and not given:
            raise ValueError("expected features_3d, features_2d or both with kind features")
        if self.kind != "features" and given:
            raise ValueError(f"{given[0]}: expected with kind features, found with {self.kind}")
        if self.multiclass and self.transform:
            raise ValueError("transform: expected of values, found it with multiclass")
        if self.multiclass and len(self.weight_columns) > 1:
            raise ValueError("weight_columns: expected one with multiclass, found several")
        if self.kind == "smiles" and self.witness_column is not None:
            raise ValueError(
                "witness_column: expected with a table of instances, found kind smiles"
            )
        if self.kind != "smiles" and self.structure != "given":
            raise ValueError(f"structure: expected with kind smiles, found with {self.kind}")
        if self.aux_path and self.kind == "smiles" and self.id_column is None:
            raise ValueError("id_column: expected with aux_path, whose rows it names; found none")
        return self

    @property
    def names(self) -> str | None:
        """Column of names; None where rows are numbered."""
        return self.id_column or {"bags": "bag_id", "features": "id"}.get(self.kind)


class MILSplitConfig(ConfigModel):
    """Folds, of which one tests; validation is drawn from the rest."""

    split_type: Annotated[MILSplitType, short_flag("--split-type")] = Field(
        "multilabel",
        description="how bags are divided; no molecule is in two splits. time: fold 0 tests the "
        "latest, the next what came before, and each trains on what is earlier",
    )
    n_folds: int = Field(10, ge=2, description="number of folds; with stored folds theirs counts")
    fold: int = Field(0, ge=0, description="the fold that tests, from 0")
    val_ratio: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the bags not tested that validate; 0: none, and the last epoch is "
        "kept. Which bags test does not depend on it",
    )
    split_seed: Seed | None = Field(None, description="seed of the folds; by default the run's")
    fold_path: Annotated[str | None, PATH] = Field(
        None, description="for stored: table of folds with the id column; by default data_path"
    )
    fold_column: str | None = Field(None, description="for stored: column of fold numbers")
    fold_where: dict[str, str] = Field(
        default_factory=dict, description="rows of fold_path that count, as COLUMN VALUE"
    )
    plate_column: str | None = Field(None, description="for plate: column of plates in data_path")
    time_column: str | None = Field(
        None,
        description="for time: column of data_path with dates, numbers, or names whose number "
        "follows time",
    )
    cluster_method: Literal["butina", "leaders"] = Field(
        "butina",
        description="for cluster: Butina's clusters, for which all pairs are compared, or "
        "molecules around leaders (sphere exclusion), for tables of any length",
    )
    cluster_distance: float = Field(
        0.65,
        gt=0,
        lt=1,
        description="for cluster: Tanimoto distance of Morgan fingerprints up to which molecules "
        "are alike",
    )
    split_column: Annotated[str | None, short_flag("--split-column")] = Field(
        None,
        description="column of data_path that says train, val or test of each bag, in any usual "
        "spelling, instead of split_type; empty cells leave a bag out",
    )
    split_file: Annotated[str | None, PATH, short_flag("--split-file")] = Field(
        None,
        description="JSON file with the bags of train, val and test, by id or from 0 in their "
        "order, as Chemprop and Polaris write it; instead of split_column",
    )
    split_index: int = Field(0, ge=0, description="which of several splits of split_file, from 0")
    split_overlap: Literal["drop", "keep", "error"] = Field(
        "drop",
        description="molecules that a given split has on two sides: leave out their bags that "
        "train (or validate, where they test too), keep them, or refuse",
    )
    group_column: Annotated[str | None, short_flag("--group-column")] = Field(
        None,
        description="column of data_path with series, projects or batches, each of which stays in "
        "one split as molecules do",
    )
    standardize: Annotated[Literal["none", "parent", "tautomer"], short_flag("--standardize")] = (
        Field(
            "parent",
            description="structure by which molecules are compared for splits: as given; the "
            "parent, without counterions and charges; or its canonical tautomer (slow)",
        )
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        needed = {"stored": "fold_column", "plate": "plate_column", "time": "time_column"}
        for kind, key in needed.items():
            if self.split_type == kind and getattr(self, key) is None:
                raise ValueError(f"{key}: expected a column with split_type {kind}, found none")
        if self.split_column is not None and self.split_file is not None:
            raise ValueError("split_file: expected one of split_column and split_file, found both")
        if self.split_type != "stored" and self.fold >= self.n_folds:
            raise ValueError(
                f"fold: expected 0 to {self.n_folds - 1}, as n_folds says; found {self.fold}"
            )
        return self


class MILExportConfig(ConfigModel):
    """Which attention is written."""

    attention: list[SplitName] = Field(
        ["train", "test"],
        description="splits whose attention is written, beside that of predict_path",
    )
    effects: bool = Field(
        True, description="effect of leaving each conformer out, beside its attention"
    )
    without_3d: bool = Field(
        True,
        description="of a model with both branches, train one without conformers in the same way "
        "and say what they bring",
    )
    sdf: int = Field(
        20,
        ge=0,
        description="molecules of kind smiles, those of highest predictions in the test split, "
        "whose conformers attention_test.sdf holds and attention.html shows; 0: none",
    )


class MILRunConfig(MILConfig):
    """A table, a split, a model and its training: the sections that every command knows."""

    data_path: Annotated[str | None, PATH] = Field(
        None, description="table of molecules or of instances"
    )
    seed: Seed = Field(42, description="seed of split, weights, shuffling and dropout")
    threshold_metric: Literal["f1", "accuracy", "balanced_accuracy", "mcc"] = Field(
        "f1", description="what decision thresholds maximise on validation data"
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict,
        description="decision thresholds by task, instead of those chosen on validation data",
    )
    read: ReadConfig = Field(default_factory=ReadConfig)
    data: MILDataConfig = Field(default_factory=MILDataConfig)
    split: MILSplitConfig = Field(default_factory=MILSplitConfig)
    export: MILExportConfig = Field(default_factory=MILExportConfig)
