//! Choosing by name: patterns over ids, and the nearest known word for a mistyped one.

use std::fmt;

/// A word that names nothing, with what may have been meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Unknown {
    /// What the word should name, like `profile`.
    pub what: &'static str,
    /// The word.
    pub word: String,
    /// The known word nearest to it, if one is near.
    pub meant: Option<String>,
    /// Every known word.
    pub known: Vec<String>,
}

impl Unknown {
    /// A word that is none of the known ones.
    pub fn new<S: AsRef<str>>(
        what: &'static str,
        word: &str,
        known: impl IntoIterator<Item = S>,
    ) -> Unknown {
        let known: Vec<String> = known
            .into_iter()
            .map(|known| known.as_ref().to_owned())
            .collect();
        let meant = nearest(word, &known).map(str::to_owned);
        Unknown {
            what,
            word: word.to_owned(),
            meant,
            known,
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {} `{}`", self.what, self.word)?;
        match (&self.meant, self.known.as_slice()) {
            (Some(meant), _) => write!(f, "; did you mean `{meant}`?"),
            (None, []) => write!(f, "; there is none"),
            // A list of hundreds of ids helps nobody.
            (None, known) if known.len() > 20 => {
                let mut beginnings: Vec<&str> = Vec::new();
                for id in known {
                    let beginning = id.split('/').next().unwrap_or(id);
                    if !beginnings.contains(&beginning) {
                        beginnings.push(beginning);
                    }
                }
                write!(f, "; known ones begin with {}/", beginnings.join("/, "))
            }
            (None, known) => write!(f, "; known: {}", known.join(", ")),
        }
    }
}

/// Chooses from ids, keeping their order: those that one of `only` matches (all if it is empty) and none of `skip` does.
///
/// # Errors
///
/// A pattern that matches no id: it would otherwise leave out, or keep, what its author never meant.
pub fn select<'a>(
    ids: &[&'a str],
    only: &[String],
    skip: &[String],
) -> Result<Vec<&'a str>, Unknown> {
    for pattern in only.iter().chain(skip) {
        if !ids.iter().any(|id| glob(pattern, id)) {
            let mut unknown = Unknown::new("requirement", pattern, ids);
            if unknown.meant.is_none() || pattern.contains(['*', '?']) {
                let group = nearest_group(pattern, &unknown.known);
                unknown.meant = group.or(unknown.meant);
            }
            return Err(unknown);
        }
    }
    let any = |patterns: &[String], id: &str| patterns.iter().any(|pattern| glob(pattern, id));
    Ok(ids
        .iter()
        .copied()
        .filter(|id| (only.is_empty() || any(only, id)) && !any(skip, id))
        .collect())
}

/// Whether a pattern matches a whole id. `*` and `?` stand for any text and any one character, `/` included,
/// so that `katib/*` means everything below `katib`; `**` is the same as `*`.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star was and how much of the text it has taken: on a mismatch it takes one more.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// The candidate that a mistyped word most likely meant, if one is near enough to be worth a suggestion.
pub fn nearest<'a, S: AsRef<str> + ?Sized + 'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    // A third of the word may be wrong: `katib/experimnt/…` is a slip, an unrelated word is not.
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        .map(AsRef::as_ref)
        // Lengths tell the least distance: a word of a megabyte is not compared with one of ten letters.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The pattern for the group of ids that a mistyped pattern (`katib/validaton/*`) or a bare group most likely meant.
fn nearest_group(word: &str, known: &[String]) -> Option<String> {
    let head = word.split(['*', '?']).next().unwrap_or_default();
    let head = head.trim_end_matches('/');
    let groups: Vec<&str> = known
        .iter()
        .flat_map(|id| id.match_indices('/').map(|(at, _)| &id[..at]))
        .collect();
    nearest(head, groups).map(|group| format!("{group}/*"))
}

/// How many insertions, deletions, substitutions and swaps of neighbours turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = substituted.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_a_whole_id_and_its_star_crosses_slashes() {
        let id = "katib/experiment/reaches-goal";
        for pattern in [
            id,
            "katib/*",
            "katib/**",
            "*",
            "*/reaches-goal",
            "katib/*/reaches-goal",
            "*experiment*",
            "katib/experiment/reaches-goa?",
        ] {
            assert!(glob(pattern, id), "{pattern} should match");
        }
        for pattern in [
            "",
            "katib",
            "katib/",
            "kserve/*",
            "katib/experiment",
            "*/goal",
            "katib/experiment/reaches-goal?",
        ] {
            assert!(!glob(pattern, id), "{pattern} should not match");
        }
    }

    #[test]
    fn many_stars_take_linear_time_each() {
        assert!(!glob(&"*a".repeat(200), &"a".repeat(150)));
    }

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        let known = [
            "katib/experiment/reaches-goal",
            "katib/experiment/created",
            "kserve/inferenceservice/ready",
        ];
        assert_eq!(
            nearest("katib/experimnt/reaches-gaol", known),
            Some(known[0])
        );
        assert_eq!(nearest("1.12", ["1.9", "1.10", "26.03"]), Some("1.10"));
        assert_eq!(
            nearest("certifeid", ["certified", "katib"]),
            Some("certified")
        );
        assert_eq!(nearest("nothing", known), None);
        assert_eq!(nearest(&"k".repeat(50_000_000), known), None);
    }

    #[test]
    fn patterns_choose_and_one_that_chooses_nothing_is_an_error() {
        let ids = ["katib/a/b", "katib/a/c", "kserve/a/b"];
        let patterns = |patterns: &[&str]| {
            patterns
                .iter()
                .map(|pattern| (*pattern).to_owned())
                .collect::<Vec<_>>()
        };
        let choose = |only: &[&str], skip: &[&str]| select(&ids, &patterns(only), &patterns(skip));
        assert_eq!(choose(&[], &[]).unwrap(), ids);
        assert_eq!(choose(&["katib/*"], &["*/c"]).unwrap(), ["katib/a/b"]);
        assert_eq!(choose(&["*"], &["*"]).unwrap(), [""; 0]);
        assert_eq!(
            choose(&["katib/a/d"], &[]).unwrap_err().meant.as_deref(),
            Some("katib/a/b")
        );
        assert_eq!(
            choose(&[], &["nothing/*"]).unwrap_err().to_string(),
            "unknown requirement `nothing/*`; known: katib/a/b, katib/a/c, kserve/a/b"
        );
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_told_the_nearest_group() {
        let ids: Vec<String> = (0..30).map(|n| format!("katib/validation/v{n}")).collect();
        let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        ids.push("kserve/a/b");
        let said = |pattern: &str| {
            select(&ids, &[pattern.to_owned()], &[])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            said("katib/validaton/*"),
            "unknown requirement `katib/validaton/*`; did you mean `katib/validation/*`?"
        );
        assert_eq!(
            said("ktaib"),
            "unknown requirement `ktaib`; did you mean `katib/*`?"
        );
        assert_eq!(
            said("nothing/*"),
            "unknown requirement `nothing/*`; known ones begin with katib/, kserve/"
        );
    }

    /// The definition of a pattern, without the backtracking that makes the other one fast.
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=text.len()).any(|taken| matches(rest, &text[taken..])),
            (Some((p, rest)), Some((t, text))) => (*p == '?' || p == t) && matches(rest, text),
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(pattern in "[ab*?/]{0,8}", text in "[ab/]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            proptest::prop_assert_eq!(glob(&pattern, &text), matches(&chars(&pattern), &chars(&text)));
        }
    }
}
