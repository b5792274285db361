"""Train, evaluate and write one run of attention over the instances of bags."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from mil_attn import (
    BagData,
    FitResult,
    MILError,
    MILModule,
    MILRunConfig,
    SplitName,
    attention_agreement,
    check_resumable,
    conformer_molecule,
    conformers_of,
    explanations,
    export_attention,
    export_attention_page,
    export_attention_sdf,
    find_witnesses,
    fit,
    predict,
    read_bags,
    read_split_bags,
    with_features_of,
    witnesses_of,
)
from molpool_common import (
    BoolArray,
    FloatArray,
    InputError,
    IntArray,
    RunFolder,
    Split,
    cache_folder,
    did_you_mean,
    listed,
    structures_of,
)
from rich.console import Console
from sampling_core import RarePositiveSampler

from molpool_pipelines.fitting._bag_results import (
    SaidOfBags,
    evaluate_bags,
    predictions_of_bags,
    scales_of,
    table_of_bags,
)
from molpool_pipelines.fitting._baselines import ReferenceRows, baseline_names, with_baselines
from molpool_pipelines.fitting._config import TrainMILConfig
from molpool_pipelines.fitting._learning_curve import CurveRequest, with_learning_curve
from molpool_pipelines.fitting._loop import (
    MILScreen,
    SamplingLog,
    on_epoch_end,
)
from molpool_pipelines.fitting._results import (
    Results,
    against_baselines,
    metric_table,
    shown_rows,
    write_results,
)
from molpool_pipelines.fitting._tracked import track_results
from molpool_pipelines.fitting._without_3d import against_2d
from molpool_pipelines.models import AttentionMember, BagMemberName, BagModel, named_features
from molpool_pipelines.runs import (
    ATTENTION_PAGE,
    ATTENTION_SDF,
    CHECKPOINTS,
    LAST_CHECKPOINT,
    MODEL,
    REJECTED,
    SPLITS,
    TableRows,
    Tracker,
    attention_of,
    predictions_of_table,
    rejected_bags,
    remember_notes,
    write_predictions,
    write_rejected,
)
from molpool_pipelines.tables import (
    assay_limits,
    constant_notes,
    limits_in_words,
    refuse_bad_smiles,
)

if TYPE_CHECKING:
    from multitask_models import AssayLimits
    from rdkit.Chem import Mol

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MILInputs:
    """What a run starts from.

    Parameters
    ----------
    data : BagData
        All bags.
    split : Split
        Which of them train, validate and test.
    unseen : BagData or None
        Bags of ``data.predict_path``, without labels.
    notes : list of str
        What the user should know.
    rows : TableRows
        Digests of the bags.
    limits : AssayLimits
        Of the tasks.
    tables : list of (str, BagData)
        All tables by the names of their files, as read.
    """

    data: BagData
    split: Split
    unseen: BagData | None
    notes: list[str]
    rows: TableRows
    limits: AssayLimits
    tables: list[tuple[str, BagData]] = field(default_factory=list)

    @property
    def splits(self) -> list[SplitName]:
        """Splits that have bags."""
        return [split for split in SPLITS if len(getattr(self.split, split))]

    @property
    def rejected(self) -> pl.DataFrame:
        """Molecules of all tables without features."""
        return rejected_bags(self.tables)

    def of(self, name: SplitName) -> BagData:
        """Return the bags of a split."""
        return self.data.take(getattr(self.split, name))


def read_inputs(config: TrainMILConfig) -> MILInputs:
    """Read tables, compute features, split.

    Raises
    ------
    InputError, MILError
        For what is wrong with the tables or does not fit them.
    """
    if config.data_path is None:
        raise InputError("data_path", expected="a table", found="none")
    section = config.data
    for path in (config.data_path, section.test_path, section.predict_path):
        if path is not None and section.kind == "smiles" and config.on_bad_smiles == "error":
            # Before conformers are computed, which takes minutes.
            given = section.is_given("smiles_column")
            refuse_bad_smiles(path, section.smiles_column, config.read, given=given)
    describe_2d = partial(named_features, cache=section.cache_dir)
    found = read_split_bags(config, describe_2d=describe_2d)
    data, split = found.data, found.split
    unseen = None
    if section.predict_path:
        # Its other columns, targets too, are no features of the model.
        same = with_features_of(section, data)
        unseen = read_bags(
            section.predict_path,
            same,
            config,
            labelled=False,
            read=config.read,
            describe_2d=partial(named_features, cache=section.cache_dir),
        )
    tables = found.tables
    if unseen is not None:
        tables = [*tables, (Path(section.predict_path or "").name, unseen)]
    notes = [*_notes(data, split), *found.notes]
    if data.labels is not None:
        kinds = [config.task_kind] * len(data.task_names)
        notes += constant_notes(data.labels[split.train], data.task_names, kinds)
    rows = TableRows.of_bag_tables(
        found.tables, named=section.names is not None, with_features=section.kind != "smiles"
    )
    limits = _limits(config, data, split, notes)
    return MILInputs(data, split, unseen, notes, rows, limits, tables)


def _limits(config: TrainMILConfig, data: BagData, split: Split, notes: list[str]) -> AssayLimits:
    """Return the limits of the assays of bags that are not tested, and note them."""
    rest = data.take(np.sort(np.concatenate([split.train, split.val])))
    table = table_of_bags(rest, scales_of(config, rest.task_names))
    kinds = [config.task_kind] * len(rest.task_names)
    limits = assay_limits(config.limits, table, kinds)
    said = limits_in_words(limits, table, kinds)
    if said:
        learnt = "as bounds by models on statistics, as values by the others"
        notes.append(f"Limits of assays, learnt {learnt}, where predictions end: {said}.")
    return limits


def _notes(data: BagData, split: Split) -> list[str]:
    notes = []
    if data.failures:
        reasons = listed([f"{f.id} ({f.reason})" for f in data.failures], limit=3)
        notes.append(
            f"Left out {len(data.failures)} molecules without features: {reasons} ({REJECTED})."
        )
    sizes = data.sizes
    counts = ", ".join(f"{len(getattr(split, name))} {name}" for name in SPLITS)
    instances = (
        f", {data.n_instances} instances ({sizes.min()} to {sizes.max()} a bag)"
        if data.instances is not None
        else ", no instances"
    )
    notes.append(f"{len(data)} bags: {counts}{instances}.")
    for names, what in (
        (data.feature_names_3d, "an instance"),
        (data.feature_names_2d, "a bag"),
    ):
        if names:
            notes.append(f"{len(names)} features of {what}: {listed(list(names), 12)}.")
    return [*notes, *data.notes]


def check_inputs(config: TrainMILConfig, inputs: MILInputs) -> None:
    """Raise unless each split has a bag, and thresholds are of tasks that there are.

    Without a share of bags to validate on, there need not be any.
    """
    for split in SPLITS:
        wanted = split != "val" or config.split.val_ratio > 0
        if wanted and split not in inputs.splits:
            raise MILError(f"split: expected bags of the {split} split; found none.")
    tasks = inputs.data.task_names
    for name in config.thresholds:
        if name not in tasks:
            raise MILError(f"thresholds: found {name!r}. {did_you_mean(name, tasks)}")


def with_size(config: TrainMILConfig, inputs: MILInputs) -> TrainMILConfig:
    """Return the configuration with defaults for as many bags as train, and note which."""
    n = len(inputs.split.train)
    chosen = config.for_bags(n)
    if chosen.size != "large":
        inputs.notes.append(
            f"{n} training bags: what is not given of model, training and loss is as for "
            f"{chosen.size} sets (--size large: as for large ones)."
        )
    return chosen


def check_run(config: TrainMILConfig, inputs: MILInputs, path: Path) -> None:
    """Refuse before anything is written what could not be trained or gone on with."""
    check_inputs(config, inputs)
    if "attention" not in models_of(config, inputs):
        return
    # Built, and read, for their errors alone.
    rare_positive_sampler(config, inputs.of("train"), config.seed)
    if config.data.witness_column is not None:
        _witnesses(config, inputs.of("test"))
    # The module is thrown away; its initial weights must not advance the generator that the run
    # starts from.
    with torch.random.fork_rng():
        module = MILModule.from_data(config, inputs.of("train"))
    last = path / CHECKPOINTS / LAST_CHECKPOINT
    if config.resume and last.exists():
        check_resumable(last, module)


def models_of(config: TrainMILConfig, inputs: MILInputs) -> list[BagMemberName]:
    """Return the models of a run."""
    return config.blend.of_bags(len(inputs.split.train))


def rare_positive_sampler(
    config: MILRunConfig, train: BagData, seed: int
) -> RarePositiveSampler | None:
    """Return what draws training bags with a rare positive more often; None: draw evenly."""
    if config.task_kind != "classification":
        return None
    assert train.labels is not None
    sampling = config.sampling
    # Uniform shuffling visits each row once per epoch; sampling with replacement where nothing is
    # rare would lose that for no gain.
    return RarePositiveSampler.if_any_rare(
        train.labels,
        sampling.rare_prev_thr,
        sampling.rare_oversample_mult,
        sampling.sample_weight_cap,
        seed=seed,
    )


def _sampling_log(sampler: RarePositiveSampler, inputs: MILInputs) -> SamplingLog:
    train = inputs.of("train")
    assert train.labels is not None
    return SamplingLog(sampler, train.labels, train.task_names, positives=True)


class MILFitting:
    """One run from checked inputs to a full run folder: `train`, `write`, `close`, in this order.

    Parameters
    ----------
    console : Console
        The screen.
    config : TrainMILConfig
        The run.
    run : RunFolder
        Where it goes.
    inputs : MILInputs
        Bags and their splits.
    tracker : Tracker
        Where numbers are logged besides.
    """

    _words = "the attention model"

    def __init__(
        self,
        console: Console,
        config: TrainMILConfig,
        run: RunFolder,
        inputs: MILInputs,
        tracker: Tracker,
    ) -> None:
        self._console = console
        self._config = config
        self._run = run
        self._inputs = inputs
        self._tracker = tracker
        self._sampler = rare_positive_sampler(config, inputs.of("train"), config.seed)
        self._log = None if self._sampler is None else _sampling_log(self._sampler, inputs)

    def train(self) -> None:
        """Fit the model; an interrupted run can be resumed."""
        last = self._run.checkpoints / LAST_CHECKPOINT
        screen = MILScreen(self._console, self._config.training.epochs)
        log = self._log
        with warnings.catch_warnings(record=True) as warned:
            self._result: FitResult = fit(
                self._config,
                self._inputs.of("train"),
                self._inputs.of("val") if "val" in self._inputs.splits else None,
                sampler=self._sampler,
                callbacks=[*([log] if log else []), screen],
                on_epoch=on_epoch_end(
                    self._run,
                    self._tracker,
                    screen,
                    log=log,
                    drawn=log.frame if log else None,
                ),
                checkpoint_dir=self._run.checkpoints,
                resume_from=last if self._config.resume and last.exists() else None,
                seed=self._config.seed,
                threshold_metric=self._config.threshold_metric,
            )
        module = self._result.module
        for task, value in self._config.thresholds.items():
            # After the fit, which chooses thresholds on the validation split: those given by the
            # user take precedence.
            module.thresholds[module.task_names.index(task)] = value
        self._module: MILModule | None = module
        self._model: BagModel = AttentionMember(module)
        # Warnings scroll away on the screen; as notes they stay on the run's page.
        said = [str(w.message) for w in warned if w.category is UserWarning]
        remember_notes(self._run, self._inputs.notes, said)

    def write(self) -> None:
        """Evaluate, and write model, predictions, attention, metrics and report."""
        run, inputs, config = self._run, self._inputs, self._config
        # First of all: what took the hours must not wait for what can fail.
        files = self._save()
        self._results = self._with_curve(self._with_baselines(self._evaluate()))
        write_rejected(run, inputs.rejected)
        accounts = []
        if self._module is not None:
            accounts = [*self._write_attention(self._module), *self._of_conformers(self._module)]
        remarks = (*self._results.remarks, *accounts)
        self._results = replace(self._results, remarks=remarks)
        if inputs.unseen is not None:
            # Only those that the user asked to drop have no row.
            keep = config.on_bad_smiles != "drop"
            frame = predictions_of_bags(
                self._model,
                inputs.unseen,
                scales_of(config, self._model.task_names),
                calibration=self._results.calibration,
                with_failures=keep,
                multiclass=config.data.multiclass,
            )
            names = (predictions_of_table("unseen"), predictions_of_table("unseen", ".csv"))
            files += write_predictions(run, frame, self._results.task_types, *names)
        epochs = 0 if self._module is None else len(self._result.records)
        self._page = write_results(
            run,
            self._results,
            "mil",
            inputs.notes,
            self._facts(),
            epochs,
            page=config.page,
        )
        track_results(
            self._tracker,
            run.path,
            self._results,
            inputs.rows,
            self._page,
            files,
            source=str(config.data_path),
            served=config.data.kind == "smiles",
        )

    def _save(self) -> list[Path]:
        """Write the model, and return files of it."""
        return [self._run.write_file(MODEL, self._result.module.save)]

    def _evaluate(self) -> Results:
        inputs = self._inputs
        train = inputs.of("train")
        said = {
            split: SaidOfBags.of(self._model, inputs.of(split), None if split == "train" else train)
            for split in inputs.splits
        }
        return evaluate_bags(self._config, said, self._model, inputs.limits)

    def _with_baselines(self, results: Results) -> Results:
        """Return the results with simple models beside them, where bags are of molecules."""
        train, test = self._inputs.of("train"), self._inputs.of("test")
        if train.smiles is None or test.smiles is None:
            return results
        scales = scales_of(self._config, train.task_names)
        return with_baselines(
            self._console,
            self._run,
            results,
            ReferenceRows(table_of_bags(train, scales), table_of_bags(test, scales)),
            [self._config.task_kind] * len(train.task_names),
            baseline_names(self._config.baselines),
            model=self._words,
            seed=self._config.seed,
            cache=self._config.data.cache_dir,
        )

    def _with_curve(self, results: Results) -> Results:
        """Return the results with those of models of fewer bags, where that was asked for."""
        config, learnt = self._config, self._learnt
        table = table_of_bags(learnt, scales_of(config, learnt.task_names))
        asked = CurveRequest(config.learning_curve, table, config.seed)
        kinds = [config.task_kind] * len(learnt.task_names)
        return with_learning_curve(results, asked, kinds, self._refitted)

    @property
    def _learnt(self) -> BagData:
        """The bags that models are fitted to."""
        return self._inputs.of("train")

    def _refitted(self, part: IntArray) -> FloatArray:
        """Return what a model of some of these bags says of those that test."""
        config, inputs = self._config, self._inputs
        fewer = self._learnt.take(part)
        sampler = rare_positive_sampler(config, fewer, config.seed)
        val = inputs.of("val") if "val" in inputs.splits else None
        found = fit(config, fewer, val, sampler=sampler, seed=config.seed)
        return predict(found.module, inputs.of("test"))

    def _of_conformers(self, module: MILModule) -> list[str]:
        """Return what conformers bring, by a model without them."""
        config, inputs = self._config, self._inputs
        both = module.network.in_2d is not None and module.network.in_3d is not None
        if not (both and config.export.without_3d):
            return []
        val = inputs.of("val") if "val" in inputs.splits else None
        test = inputs.of("test")
        predicted = predict(module, test)
        train = inputs.of("train")
        sampler = rare_positive_sampler(config, train, config.seed)
        return against_2d(config, train, val, test, predicted, sampler)

    def _facts(self) -> dict[str, Any]:
        data, split = self._inputs.data, self._config.split
        facts: dict[str, Any] = {}
        if data.instances is not None:
            facts["Instances"] = data.n_instances
            facts["Features of an instance"] = data.instances.shape[1]
        if data.x2d is not None:
            facts["Features of a bag"] = data.x2d.shape[1]
        facts["Split"] = f"{split.split_type}, fold {split.fold}"
        if self._module is None:
            return facts
        if self._sampler is not None:
            names = [self._module.task_names[t] for t in self._sampler.rare_tasks]
            facts["Rare tasks, drawn more often"] = ", ".join(names)
        weights = sum(p.numel() for p in self._module.network.parameters())
        if self._config.training.members > 1:
            facts["Networks"] = self._config.training.members
        # Epochs from 1, as the screen numbers them.
        return facts | {"Weights": weights, "Best epoch": self._result.best_epoch + 1}

    def _write_attention(self, module: MILModule) -> list[str]:
        """Write the attention of the splits asked for, and of bags that were not trained on.

        Returns what of the accounts of instances can be trusted.
        """
        if module.network.in_3d is None:
            return []
        export, of_test, folder = self._config.export, None, self._run.path
        for split in export.attention:
            if split not in self._inputs.splits:
                continue
            path = folder / attention_of(split)
            frame = export_attention(module, self._inputs.of(split), path, effects=export.effects)
            of_test = frame if split == "test" else of_test
        said = [] if of_test is None or not export.effects else trust_notes(of_test)
        self._write_structures(of_test, said)
        if self._inputs.unseen is not None:
            path = folder / attention_of("unseen")
            export_attention(module, self._inputs.unseen, path, effects=export.effects)
        return said + witness_notes(self._config, module, self._inputs.of("test"))

    def _write_structures(self, of_test: pl.DataFrame | None, said: Sequence[str]) -> None:
        """Write the conformers of the test molecules of highest predictions, and their page."""
        n, files = (
            self._config.export.sdf,
            [self._run.path / name for name in (ATTENTION_SDF, ATTENTION_PAGE)],
        )
        for file in files:
            # Also where no structures are written this time: the earlier ones would belong to
            # another model.
            file.unlink(missing_ok=True)  # of a run that was replaced
        if self._config.data.kind != "smiles" or of_test is None or not n:
            return
        data = self._inputs.of("test")
        mols = structures(self._config, data, top_molecules(of_test, n))
        export_attention_sdf(of_test, mols, files[0])
        title = f"{self._run.path.name}: attention to conformers"
        export_attention_page(of_test, mols, files[1], data=data, title=title, trust=said)

    def close(self) -> None:
        """Print the table of metrics and where the files are."""
        columns, rows = shown_rows(self._results.metrics["test"])
        self._console.print(metric_table(rows, columns, "Metrics by task, test bags"))
        for note in (*self._results.notes, *against_baselines(self._results)):
            self._console.print(note, highlight=False)
        if self._page is not None:
            self._console.print(f"Report: {self._page}", highlight=False, soft_wrap=True)


def trust_notes(frame: pl.DataFrame) -> list[str]:
    """Return whether attention points to what counts, task by task.

    Parameters
    ----------
    frame : DataFrame
        Of `mil_attn.attention_frame`, with effects, of bags that were not trained on.
    """
    return [agreement.sentence for agreement in attention_agreement(frame)]


def witness_notes(config: TrainMILConfig, module: MILModule, data: BagData) -> list[str]:
    """Return how often each account of instances names one that is known to count.

    Parameters
    ----------
    config : TrainMILConfig
        Names the column that says which these are; without one there is nothing to say.
    module : MILModule
        Trained.
    data : BagData
        Labelled bags that were not trained on.
    """
    if config.data.witness_column is None or not module.is_classifier:
        return []
    found = find_witnesses(explanations(module, data), data, _witnesses(config, data))
    notes = []
    for task in dict.fromkeys(f.task for f in found):
        of = [f for f in found if f.task == task]
        shares = listed([f"{f.account} {f.top:.0%}" for f in of])
        notes.append(
            f"{task}: the first instance of {of[0].bags} positive test bags is a witness by "
            f"{shares}; by chance {of[0].chance:.0%}."
        )
    return notes


def _witnesses(config: TrainMILConfig, data: BagData) -> BoolArray:
    assert config.data_path is not None
    source = config.data.test_path or config.data_path
    return witnesses_of(source, data.ids, config.data, read=config.read)


def top_molecules(frame: pl.DataFrame, n: int) -> list[str]:
    """Return the ids of the `n` molecules of highest predictions, the tasks taking turns.

    Parameters
    ----------
    frame : DataFrame
        Of `mil_attn.attention_frame`.
    n : int
        At most so many.
    """
    bags = frame.unique(["molecule_id", "task"], maintain_order=True)
    # Turns by rank within a task: probabilities of tasks with different prevalence are not
    # comparable.
    place = pl.col("prediction").rank("ordinal", descending=True).over("task").alias("place")
    ranked = bags.with_columns(place).sort("place", maintain_order=True)
    return ranked["molecule_id"].unique(maintain_order=True).head(n).to_list()


def structures(config: TrainMILConfig, data: BagData, ids: list[str]) -> dict[str, Mol]:
    """Return molecules with the conformers that are their instances, by id.

    Parameters
    ----------
    config : TrainMILConfig
        Of a run on SMILES: conformers in the cache are not computed again.
    data : BagData
        With SMILES.
    ids : list of str
        Which molecules.
    """
    assert data.smiles is not None
    settings = config.data.features.conformers
    place = {name: i for i, name in enumerate(data.ids)}
    smiles = {name: data.smiles[place[name]] for name in ids}
    distinct = list(dict.fromkeys(smiles.values()))
    # From the cache that featurisation filled: the same conformers, in the order of the attention.
    seen = structures_of(distinct, config.data.structure)
    found = conformers_of(
        list(dict.fromkeys(seen)), settings, cache=cache_folder(config.data.cache_dir)
    )
    known = dict(zip(dict.fromkeys(seen), found, strict=True))
    of = dict(zip(distinct, seen, strict=True))
    return {
        name: conformer_molecule(of[text], known[of[text]], settings)
        for name, text in smiles.items()
    }
