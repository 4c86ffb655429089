#!/usr/bin/env bash
# Runs the suite and tells GitHub what came of it: annotations, the job's summary, the step's outputs. It ends well
# whatever the verdict is, so that the result is kept; gate.sh fails the job.
#
# The environment gives KFCONFORM (the program), OUT (the result folder), and what the inputs of the action say.
set -euo pipefail

arguments=(run "--out=$OUT")
[[ -z ${KUBECONFIG_FILE:-} ]] || arguments+=("--kubeconfig=$KUBECONFIG_FILE")
[[ -z ${CONTEXT:-} ]] || arguments+=("--context=$CONTEXT")
[[ -z ${CONFIG:-} ]] || arguments+=("--config=$CONFIG")
[[ -z ${PROFILE:-} ]] || arguments+=("--profile=$PROFILE")
[[ -z ${RELEASE:-} ]] || arguments+=("--release=$RELEASE")
[[ -z ${KEY:-} ]] || arguments+=("--key=$KEY")
while IFS= read -r argument; do
  [[ -z $argument ]] || arguments+=("$argument")
done <<<"${ARGUMENTS:-}"

# What a cluster answers is printed, and must not be taken for commands of the runner.
token=kfconform-$RANDOM$RANDOM$RANDOM
printf '::stop-commands::%s\n' "$token"
code=0
"$KFCONFORM" "${arguments[@]}" || code=$?
diff=
if [[ -n ${BASELINE:-} ]]; then
  diff=0
  # Without a result there is nothing to compare, and that is no pass: it is not usable as given.
  "$KFCONFORM" diff "$BASELINE" "$OUT" || diff=$?
fi
printf '::%s::\n' "$token"

verdict=
if [[ -f $OUT/results.json ]]; then
  # `report` exits as the run did.
  "$KFCONFORM" report "$OUT" --format github || true
  "$KFCONFORM" report "$OUT" --format markdown >>"$GITHUB_STEP_SUMMARY" || true
  if [[ -n ${BASELINE:-} ]]; then
    printf '\n' >>"$GITHUB_STEP_SUMMARY"
    "$KFCONFORM" diff "$BASELINE" "$OUT" --format markdown >>"$GITHUB_STEP_SUMMARY" || true
  fi
  case $code in
    0) verdict=conformant ;;
    1) verdict=non-conformant ;;
    3) verdict=incomplete ;;
  esac
else
  printf '::error title=Kubeflow conformance::The suite left no result; it ended with exit code %d.\n' "$code"
fi
case $diff in
  "" | 0) ;;
  1) printf '::error title=Kubeflow conformance::It got worse than the baseline; the summary says where.\n' ;;
  *) printf '::error title=Kubeflow conformance::The baseline could not be compared with; the log says why.\n' ;;
esac
{
  printf 'code=%d\n' "$code"
  printf 'verdict=%s\n' "$verdict"
  printf 'diff=%s\n' "$diff"
  printf 'folder=%s\n' "$OUT"
} >>"$GITHUB_OUTPUT"
