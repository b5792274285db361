#!/usr/bin/env bash
# Task affinities of several tables: data/NAME.csv to results/NAME_affinity.{npz,csv,png,json,html}.
#
#   studies/analyze_task_affinities.sh                    # the three names below
#   studies/analyze_task_affinities.sh my_table another   # others; TASKS="A,B,C" names their columns
set -euo pipefail

datasets=("$@")
if [ ${#datasets[@]} -eq 0 ]; then
    datasets=(admet_small admet_large admet_diverse)
fi
IFS=, read -ra tasks <<< "${TASKS:-LogD,KSOL,PAMPA,hERG,CLint}"

for dataset in "${datasets[@]}"; do
    echo "Analyzing dataset: $dataset"

    molpool-affinity \
        --data-path "data/${dataset}.csv" \
        --smiles-column SMILES \
        --target-columns "${tasks[@]}" \
        --affinity-epochs 2 \
        --affinity-batch-size 64 \
        --save-path "results/${dataset}_affinity.npz" \
        --plot-heatmap "results/${dataset}_affinity.png" \
        --save-groups "results/${dataset}_affinity.json" \
        --report "results/${dataset}_affinity.html"

    echo "Results saved to results/${dataset}_affinity.*"
    echo "---"
done
