#!/usr/bin/env bash
# A model a task, one model of all tasks, and one with a head a group of tasks, on the same test
# molecules: who can be told to win?
#
#   studies/compare_grouping.sh                       # the synthetic demo table: the machinery, in minutes
#   EPOCHS=30 MOLECULES=1500 studies/compare_grouping.sh
#   TRAIN=train.csv TEST=test.csv TASKS="LogD,KSOL,HLM CLint" ID=Name studies/compare_grouping.sh
#
# Writes models/ and results/final_comparison.{csv,json,html,png,svg} below the working folder.
set -euo pipefail

EPOCHS="${EPOCHS:-10}"
GROUPS_OF_TASKS="${N_GROUPS:-3}"
SEED="${SEED:-0}"
IFS=, read -ra tasks <<< "${TASKS:-LogP,LogS,QED,MR,TPSA,Fsp3}"
id="${ID:-Molecule Name}"
mkdir -p data models/baseline models/affinity results

if [ -z "${TRAIN:-}" ]; then
    molpool-data demo --output data/demo.csv --n "${MOLECULES:-800}" --seed 0 --force
    # Every fifth molecule is for the test alone.
    awk 'NR == 1 || NR % 5 != 0' data/demo.csv > data/demo_train.csv
    awk 'NR == 1 || NR % 5 == 0' data/demo.csv > data/demo_test.csv
    TRAIN=data/demo_train.csv
    TEST=data/demo_test.csv
fi

common=(
    --data-path "$TRAIN" --target-columns "${tasks[@]}" --data.id-column "$id"
    --data.split-type random --data.split-ratios 0.85 0.15 0
    --training.epochs "$EPOCHS" --seed "$SEED" --overwrite true
)

# Single-task baseline: a group a task, and a model of its own for each group.
{
    echo "sharing: separate"
    echo "groups:"
    for task in "${tasks[@]}"; do echo "  - [\"$task\"]"; done
} > models/baseline/single_task.yaml
molpool-train chemprop --config models/baseline/single_task.yaml "${common[@]}" \
    --save-dir models/baseline/single_task

# Standard multi-task (no affinity)
molpool-train chemprop "${common[@]}" \
    --task-affinity.enabled false \
    --save-dir models/baseline/multi_task

# Task affinity multi-task
molpool-train chemprop "${common[@]}" \
    --task-affinity.enabled true \
    --task-affinity.n-groups "$GROUPS_OF_TASKS" \
    --save-dir models/affinity/multi_head

# Compare all three
molpool-evaluate compare \
    --model-dirs models/baseline/single_task \
                 models/baseline/multi_task \
                 models/affinity/multi_head \
    --test-data "$TEST" --id-column "$id" \
    --output results/final_comparison.csv --overwrite true
