#!/usr/bin/env bash
# Puts the comment of a review on its pull request, in the place of the one that is there from an earlier review.
#
#   comment.sh FILE
#
# The environment gives GITHUB_REPOSITORY, NUMBER (the pull request's) and GH_TOKEN, which may write to pull requests.
# FILE was made from a stranger's words: it is posted as it is, and nothing is done because of what stands in it.
set -euo pipefail

file=$1
[[ -f $file && ! -L $file && $(wc -c <"$file") -le 65536 ]] || {
  printf 'error: %s is no comment\n' "$file" >&2
  exit 2
}
[[ $NUMBER =~ ^[0-9]+$ ]] || {
  printf 'error: NUMBER is no number\n' >&2
  exit 2
}

comments=repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments
earlier=$(gh api --paginate "$comments?per_page=100" --jq \
  '.[] | select(.user.type == "Bot" and (.body | startswith("<!-- kfconform-review "))) | .id')
# The oldest is the one that is kept.
earlier=${earlier%%$'\n'*}
if [[ -n $earlier ]]; then
  gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$earlier" --field "body=@$file"
elif ! head -n 1 "$file" | grep -q 'submissions=0 '; then
  gh api --silent --method POST "$comments" --field "body=@$file"
fi
