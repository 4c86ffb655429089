//! Coverage in words: a table, and what is missing.

use super::{Coverage, Covered, Item};
use crate::report::text::one_line;
use crate::spec::Level;

/// Numbers of one list.
struct Count {
    core: usize,
    extended: usize,
    excluded: usize,
    all: usize,
}

impl Count {
    fn of(items: &[Item]) -> Self {
        let with = |level| items.iter().filter(|i| i.level == Some(level)).count();
        Self {
            core: with(Level::Core),
            extended: with(Level::Extended),
            excluded: items.iter().filter(|i| i.excluded.is_some()).count(),
            all: items.len(),
        }
    }

    fn exercised(&self) -> usize {
        self.core + self.extended
    }

    fn gaps(&self) -> usize {
        self.all - self.exercised() - self.excluded
    }

    /// As a cell: how many of how many, how many of them by core requirements.
    fn cell(&self) -> String {
        if self.all == 0 {
            return "–".to_owned();
        }
        format!("{} of {} ({} core)", self.exercised(), self.all, self.core)
    }
}

fn gaps(items: &[Item]) -> Vec<&str> {
    let gaps = items.iter().filter(|item| item.is_gap());
    gaps.map(|item| item.what.as_str()).collect()
}

fn both(api: &Covered) -> impl Iterator<Item = &Item> {
    api.operations.iter().chain(&api.fields)
}

/// For a terminal: a line an API, what nothing exercises, and with `by` which requirement exercises what.
pub fn text(coverage: &Coverage, by: bool) -> String {
    let mut text = String::new();
    for api in &coverage.apis {
        let (operations, fields) = (Count::of(&api.operations), Count::of(&api.fields));
        text.push_str(&format!(
            "{} ({}): operations {}",
            api.name,
            api.component,
            operations.cell()
        ));
        if fields.all > 0 {
            text.push_str(&format!(", fields {}", fields.cell()));
        }
        let excluded = operations.excluded + fields.excluded;
        if excluded > 0 {
            text.push_str(&format!(", {excluded} excluded"));
        }
        text.push('\n');
        for item in both(api).filter(|item| by && !item.by.is_empty()) {
            text.push_str(&format!(
                "  {}: {}\n",
                item.what,
                one_line(&item.by.join(", "))
            ));
        }
        for (what, items) in [("operations", &api.operations), ("fields", &api.fields)] {
            let gaps = gaps(items);
            if !gaps.is_empty() {
                text.push_str(&format!("  gaps in {what}: {}\n", gaps.join(", ")));
            }
        }
    }
    text
}

/// For a page: the table, the gaps, and what is left out on purpose.
pub fn markdown(coverage: &Coverage) -> String {
    let mut text = "| Component | API | Operations exercised | Fields exercised | Excluded | Gaps |\n|---|---|---|---|--:|--:|\n"
        .to_owned();
    for api in &coverage.apis {
        let (operations, fields) = (Count::of(&api.operations), Count::of(&api.fields));
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            api.component,
            api.name,
            operations.cell(),
            fields.cell(),
            operations.excluded + fields.excluded,
            operations.gaps() + fields.gaps()
        ));
    }
    text.push_str("\nNothing exercises:\n\n");
    for api in &coverage.apis {
        let all: Vec<&str> = both(api)
            .filter(|i| i.is_gap())
            .map(|i| i.what.as_str())
            .collect();
        if !all.is_empty() {
            let all: Vec<String> = all.iter().map(|what| format!("`{what}`")).collect();
            text.push_str(&format!("- {}: {}\n", api.name, all.join(", ")));
        }
    }
    text.push_str("\nLeft out on purpose:\n\n");
    for api in &coverage.apis {
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for item in both(api) {
            let Some(why) = &item.excluded else { continue };
            let what = format!("`{}`", item.what);
            match reasons.iter_mut().find(|(known, _)| known == why) {
                Some((_, items)) => items.push(what),
                None => reasons.push((why, vec![what])),
            }
        }
        for (why, items) in reasons {
            text.push_str(&format!("- {}: {}: {why}\n", api.name, items.join(", ")));
        }
    }
    text
}
