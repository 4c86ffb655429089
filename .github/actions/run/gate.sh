#!/usr/bin/env bash
# Fails the job by the exit code of the run (CODE), as FAIL_ON says, and then by that of the comparison with a baseline
# (DIFF, empty without one). A run that was not usable as given (2), or that left no code, always does: nothing was checked.
set -euo pipefail

case ${FAIL_ON:-incomplete}:${CODE:-none} in
  incomplete:0 | non-conformant:0 | non-conformant:3 | nothing:[013]) exit "${DIFF:-0}" ;;
  incomplete:[0-9]* | non-conformant:[0-9]* | nothing:[0-9]*) exit "$CODE" ;;
  *:none)
    printf 'error: the run did not say how it ended\n' >&2
    exit 2
    ;;
  *)
    printf 'error: fail-on is incomplete, non-conformant or nothing, not %s\n' "$FAIL_ON" >&2
    exit 2
    ;;
esac
