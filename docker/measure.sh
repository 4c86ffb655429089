#!/bin/sh
# How much a launch costs beside a bare Job: of an empty plan, `launch`, its result on disk and the removal of everything,
# against `kubectl create job`, wait, logs and delete with the same image, in turn.
#
#   docker/measure.sh [ROUNDS]      KFCONFORM=… IMAGE=… NAMESPACE=… (an existing namespace, for both)
#
# A first round of both, in which a node may still have to pull the image, does not count. It ends with 1 where the median of
# launches is more than 1.6 times that of bare Jobs, and with 2 where one of them cannot be made.
set -eu
rounds=${1:-5}
kfconform=${KFCONFORM:-kfconform}
namespace=${NAMESPACE:-default}
job=kfconform-bare-$$

fail() {
  echo "measure: $*" >&2
  exit 2
}

case $rounds in '' | *[!0-9]* | 0) fail "\`$rounds\` is no number of rounds" ;; esac
for program in kubectl "$kfconform"; do
  command -v "$program" >/dev/null || fail "there is no $program"
done
case $(date +%N) in *[!0-9]* | '') fail "date tells no nanoseconds here" ;; esac
image=${IMAGE:-$("$kfconform" images | head -n 1)}
kubectl get namespace "$namespace" >/dev/null || fail "there is no namespace $namespace"

dir=$(mktemp -d)
trap 'rm -rf "$dir"; kubectl -n "$namespace" delete job "$job" --ignore-not-found --wait=false >/dev/null 2>&1' EXIT
trap 'exit 2' INT TERM
# The image as both name it.
printf 'image: %s\n' "$image" >"$dir/config.yaml"

now() { date +%s%N; }

bare() {
  kubectl -n "$namespace" create job "$job" --image="$image" -- kfconform --version &&
    kubectl -n "$namespace" wait --for=condition=complete --timeout=180s "job/$job" &&
    kubectl -n "$namespace" logs "job/$job" >"$dir/bare.log" &&
    kubectl -n "$namespace" delete job "$job" &&
    test -s "$dir/bare.log"
}

launched() {
  rm -rf "$dir/result"
  "$kfconform" launch --dry-run --config "$dir/config.yaml" --namespace "$namespace" --out "$dir/result" --delete --quiet &&
    test -s "$dir/result/results.json"
}

# Says how long a thing took, in milliseconds, once it is done.
timed() {
  start=$(now)
  "$1" >"$dir/said" 2>&1 || {
    cat "$dir/said" >&2
    fail "$1 did not come to its end"
  }
  took=$((($(now) - start) / 1000000))
}

timed bare
timed launched
for round in $(seq "$rounds"); do
  for what in bare launched; do
    timed "$what"
    echo "$took" >>"$dir/$what.ms"
    echo "round $round: $what $took ms"
  done
done

median() { sort -n "$1" | awk '{a[NR] = $1} END {print (NR % 2) ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2}'; }
a=$(median "$dir/bare.ms")
b=$(median "$dir/launched.ms")
awk -v a="$a" -v b="$b" 'BEGIN {
  printf "median: bare Job %d ms, launch %d ms, ratio %.2f (at most 1.6)\n", a, b, b / a
  exit !(b <= 1.6 * a)
}'
