#!/usr/bin/env bash
# The step for a CI job: carries out a committed plan, checks the folder, and fails with exit 5 where
# quality is worse than the conditions allow. Everything comes by the environment:
#   MODEL, PLAN, OUTPUT, DATA   paths
#   FAIL_IF                     conditions, one a line
#   ARGUMENTS                   more of them for "attnc eval"; quotes keep words with spaces together
#   ATTNC                       how to call attnc, if not by its name: words and quotes as in ARGUMENTS
#   JUNIT                       the report to write, attnc.xml if nothing is said
#   SUMMARY                     a file that gets the results as Markdown, if any
set -euo pipefail
# Words as a shell takes them, without anything being expanded; one a line.
words() { [[ -z "${1// /}" ]] || xargs printf '%s\n' <<<"$1"; }
attnc=()
while IFS= read -r word; do attnc+=("$word"); done < <(words "${ATTNC:-attnc}")
arguments=()
while IFS= read -r word; do arguments+=("$word"); done < <(words "${ARGUMENTS:-}")
conditions=()
while IFS= read -r line; do
  [[ -n "${line// /}" ]] && conditions+=(--fail-if "$line")
done <<<"${FAIL_IF:?states no condition}"
summary=(${SUMMARY:+--summary "$SUMMARY"})
# For the bash of macOS an empty list is a name that is not set.
"${attnc[@]}" apply "$MODEL" --plan "$PLAN" -o "$OUTPUT" --force ${summary[@]+"${summary[@]}"}
"${attnc[@]}" verify "$OUTPUT" --against "$MODEL" ${summary[@]+"${summary[@]}"}
"${attnc[@]}" eval "$OUTPUT" --reference "$MODEL" --data "$DATA" ${arguments[@]+"${arguments[@]}"} \
  "${conditions[@]}" --junit "${JUNIT:-attnc.xml}" ${summary[@]+"${summary[@]}"}
