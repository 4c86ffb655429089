#!/usr/bin/env bash
# Reviews the submissions that a pull request adds or changes, on any forge.
#
#   reports/review-changes.sh BASE [HEAD]
#
# BASE is the commit that the pull request is to be merged into, HEAD its newest commit (`HEAD` when absent). The
# environment may set
#   KFCONFORM        the program; `kfconform` when absent
#   COMMENT          the file that the comment is written to; `review.md` when absent
#   KEYS             the folder of BASE with keys that people know, as PRODUCT/*.pub; `reports/keys` when absent
#   ONLINE           `on`: the products' pages are looked at too, as advice
#   MAX_SUBMISSIONS  how many are reviewed at once; 20 when absent
#
# Exits as `kfconform review` does: 0 every submission is accepted (or there is none), 1 one is refused, 2 this cannot be
# done as asked, 3 there is no verdict on one.
#
# A pull request is hostile until it is merged. So this script and the program are to be BASE's; of HEAD only the
# objects are read, and nothing is checked out, configured or executed: no file has the name, the mode or the place that
# the pull request wants, but those that a submission may have. Which keys are known only BASE says: those that people
# put into KEYS, and those with which earlier submissions of the same product were signed.
set -euo pipefail
export LC_ALL=C GIT_LITERAL_PATHSPECS=1 GIT_NO_REPLACE_OBJECTS=1 GIT_OPTIONAL_LOCKS=0

# What a pull request may hold at most; one with a submission changes eight files.
max_changes=5000
max_files=32
max_file_bytes=$((64 << 20))
# Forges take comments of up to 65,536 characters.
max_comment_bytes=60000

usage() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

[[ $# -ge 1 && $# -le 2 ]] || usage 'give the base commit, and the newest commit of the pull request'
program=$(command -v -- "${KFCONFORM:-kfconform}") || usage "there is no program ${KFCONFORM:-kfconform}; set KFCONFORM"
[[ $program == /* ]] || program=$PWD/$program
comment=${COMMENT:-review.md}
keys=${KEYS:-reports/keys}
max_submissions=${MAX_SUBMISSIONS:-20}

commit() {
  git rev-parse --quiet --verify --end-of-options "$1^{commit}" || usage "there is no commit $1"
}
base=$(commit "$1")
head=$(commit "${2:-HEAD}")
from=$(git merge-base "$base" "$head") || usage 'the two commits have nothing in common; fetch their history'

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# A submission's folder, below reports/ or, for samples, reports/sample/; then the release, the product and the version.
release='[0-9]{1,4}\.[0-9]{1,4}'
product='[a-z0-9]+(-[a-z0-9]+)*'
version='[A-Za-z0-9][A-Za-z0-9._+-]{0,63}'
place="^(reports/(sample/)?$release/($product)/$version)/"
plain='^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'

# Somebody else's words in a code span: in it nothing acts but what would end it.
shown() {
  local text=${1//[^A-Za-z0-9 ._\/+-]/?}
  printf '`%s`' "${text:0:160}"
}

# The first names of a list.
some() {
  local name n=0
  for name in "$@"; do
    ((n += 1))
    [[ $n -le 10 ]] || break
    [[ $n -eq 1 ]] || printf ', '
    shown "$name"
  done
  [[ $# -le 10 ]] || printf ' and %d more' $(($# - 10))
}

accepted=0 refused=0 undecided=0
count() {
  case $1 in
    0) ((accepted += 1)) ;;
    1) ((refused += 1)) ;;
    *) ((undecided += 1)) ;;
  esac
}

refuse() { # WHAT WHY: a submission that does not even come to the program
  count 1
  printf '### ❌ %s: refused\n\n%s\n\n' "$1" "$2" >>"$work/reviews"
}

# 1. What is changed.
git diff-tree -r -z --raw --no-renames --no-ext-diff --no-commit-id "$from" "$head" >"$work/changes"
folders=() misplaced=() elsewhere=()
changes=0 last=
while IFS= read -r -d '' meta && IFS= read -r -d '' path; do
  ((changes += 1))
  [[ $changes -le $max_changes ]] || break
  if [[ $path =~ $place ]]; then
    [[ ${BASH_REMATCH[1]} == "$last" ]] || folders+=("${BASH_REMATCH[1]}")
    last=${BASH_REMATCH[1]}
  elif [[ $path == reports/*/* && $path != "$keys"/* && $meta == *' A' ]]; then
    misplaced+=("$path")
  else
    elsewhere+=("$path")
  fi
done <"$work/changes"

# 2. Which keys are known, by product.
git ls-tree -r -z "$base" >"$work/base"
while IFS= read -r -d '' entry; do
  path=${entry#*$'\t'}
  mode=${entry%% *}
  [[ $mode == 100* ]] || continue
  if [[ $path =~ ^reports/$release/($product)/$version/key\.pub$ ]]; then
    name=${BASH_REMATCH[1]}
  elif [[ $path == "$keys"/* && ${path#"$keys"/} =~ ^($product)/[A-Za-z0-9._-]+\.pub$ ]]; then
    name=${BASH_REMATCH[1]}
  else
    continue
  fi
  entry=${entry%%$'\t'*}
  printf '%s %s\n' "$name" "${entry##* }"
done <"$work/base" | sort -u >"$work/known"

# Takes a folder of HEAD out of the repository, as far as it can be a submission; says why where it cannot.
take_out() { # FOLDER INTO
  local entry mode kind object name files=0
  while IFS= read -r -d '' entry; do
    name=${entry#*$'\t'}
    read -r mode kind object <<<"${entry%%$'\t'*}"
    ((files += 1))
    if [[ $files -gt $max_files ]]; then
      printf 'It holds more than %d files.' "$max_files"
      return 1
    elif [[ $mode != 100* || $kind != blob || ! $name =~ $plain ]]; then
      printf '%s is no plain file with a plain name.' "$(shown "$name")"
      return 1
    elif [[ $(git cat-file -s "$object") -gt $max_file_bytes ]]; then
      printf '%s is larger than any run makes it.' "$(shown "$name")"
      return 1
    fi
    git cat-file blob "$object" >"$2/$name"
  done < <(git ls-tree -z "$head:$1")
}

# 3. The review of each.
: >"$work/reviews"
removed=() merged=()
reviewed=0
for folder in ${folders[@]+"${folders[@]}"}; do
  git cat-file -e "$base:$folder" 2>/dev/null && before=1 || before=
  if [[ $(git cat-file -t "$head:$folder" 2>/dev/null) != tree ]]; then
    removed+=("$folder")
    continue
  fi
  [[ -z $before ]] || merged+=("$folder")
  ((reviewed += 1))
  if [[ $reviewed -gt $max_submissions ]]; then
    continue
  fi
  [[ $folder/ =~ $place ]]
  name=${BASH_REMATCH[3]}
  here=$work/$reviewed
  mkdir -p "$here/$folder" "$here/keys"
  if ! why=$(take_out "$folder" "$here/$folder"); then
    refuse "$(shown "$folder")" "$why"
    continue
  fi
  options=()
  [[ ${ONLINE:-off} != on ]] || options+=(--online)
  if [[ $folder == reports/sample/* ]]; then
    # A sample counts for nothing, and each is signed with a key of its own.
    options+=(--allow-sample)
  else
    while read -r of object; do
      [[ $of == "$name" ]] || continue
      git cat-file blob "$object" >"$here/keys/$object.pub"
      options+=(--trust "$here/keys/$object.pub")
    done <"$work/known"
  fi
  code=0
  (cd "$here" && "$program" review "$folder" --format markdown ${options[@]+"${options[@]}"}) \
    >"$here/said" 2>"$here/complaint" </dev/null || code=$?
  if [[ $code -ne 0 && $code -ne 1 && $code -ne 3 ]]; then
    # The program could not do its work: that is no verdict, and says nothing about the submission.
    tail -n 5 "$here/complaint" >&2
    printf '### ❔ %s: no verdict\n\nThe review ended with exit code %d.\n\n' "$(shown "$folder")" "$code" >>"$work/reviews"
    code=3
  else
    cat "$here/said" >>"$work/reviews"
    printf '\n' >>"$work/reviews"
  fi
  count "$code"
  rm -rf -- "$here"
done
if [[ $reviewed -gt $max_submissions ]]; then
  refuse "$((reviewed - max_submissions)) more submissions" "At most $max_submissions are reviewed at once; spread them over several pull requests."
fi
if [[ ${#misplaced[@]} -gt 0 ]]; then
  refuse 'Files that are at no place of a submission' \
    "A submission is at \`reports/RELEASE/PRODUCT/VERSION\`, where \`kfconform submit\` puts it; these are not: $(some "${misplaced[@]}")."
fi
if [[ $changes -gt $max_changes ]]; then
  refuse 'The pull request' "It changes more than $max_changes files, and was not looked at as a whole."
fi

# 4. The comment.
mkdir -p -- "$(dirname -- "$comment")"
said=$((accepted + refused + undecided))
{
  printf '<!-- kfconform-review submissions=%d -->\n' "$said"
  if [[ $said -eq 0 ]]; then
    printf '## Conformance review: nothing to review\n\nThis pull request adds or changes no submission.\n\n'
  else
    what=
    [[ $accepted -eq 0 ]] || what+=", $accepted accepted"
    [[ $refused -eq 0 ]] || what+=", $refused refused"
    [[ $undecided -eq 0 ]] || what+=", $undecided without a verdict"
    printf '## Conformance review: %s\n\n' "${what:2}"
  fi
  # Cut between lines, so that no code span is left open.
  if [[ $(wc -c <"$work/reviews") -gt $max_comment_bytes ]]; then
    head -c "$max_comment_bytes" "$work/reviews" | sed '$d'
    printf '\n…\n\nThere is more; run `kfconform review` on the folders.\n\n'
  else
    cat "$work/reviews"
  fi
  if [[ ${#removed[@]} -gt 0 || ${#merged[@]} -gt 0 || ($said -gt 0 && ${#elsewhere[@]} -gt 0) ]]; then
    printf '### What else the pull request does\n\nThis is for people to decide, too:\n\n'
    [[ ${#merged[@]} -eq 0 ]] ||
      printf -- '- [ ] It changes what was merged before, where submissions are added and not changed: %s\n' "$(some "${merged[@]}")"
    [[ ${#removed[@]} -eq 0 ]] || printf -- '- [ ] It removes %s\n' "$(some "${removed[@]}")"
    [[ ${#elsewhere[@]} -eq 0 ]] ||
      printf -- '- [ ] It changes files that are no part of a submission: %s\n' "$(some "${elsewhere[@]}")"
    printf '\n'
  fi
  printf 'Commit %s, compared with %s.\n' "${head:0:12}" "${from:0:12}"
} >"$comment"

printf '%d accepted, %d refused, %d without a verdict; the comment is in %s\n' \
  "$accepted" "$refused" "$undecided" "$comment"
if [[ $refused -gt 0 ]]; then
  exit 1
elif [[ $undecided -gt 0 ]]; then
  exit 3
fi
