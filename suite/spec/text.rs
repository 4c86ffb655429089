//! A requirement as text for a terminal.

use super::{Requirement, Specs};

/// What `explain` prints about a requirement, wrapped to `width` columns: its text, why it is there, how it is
/// checked, what usually breaks it, `faults` that prove that its check can fail, what is known to deviate, the documents
/// that state it, and where to go on.
pub fn explain(specs: &Specs, requirement: &Requirement, faults: &[&str], width: usize) -> String {
    let mut page = Page {
        width: width.max(40),
        text: String::new(),
    };
    let id = requirement.id.as_str();
    page.paragraph(0, id);
    page.paragraph(0, &requirement.title);
    page.text.push('\n');
    page.paragraph(0, &facts(requirement));
    let component = requirement.component();
    let mut belongs = format!("profiles: {}", specs.profiles_of(requirement).join(", "));
    if let Some(group) = specs.group(component) {
        belongs.push_str(&format!(" · answers for it: {group}"));
    }
    page.paragraph(0, &belongs);
    if let Some(name) = &requirement.feature
        && let Some(feature) = specs.feature(component, name)
    {
        let found = format!(
            "{name}: {}. Found on the cluster: {}",
            feature.title, feature.found
        );
        page.section("Only where this feature is", [found.as_str()]);
    }
    page.section("Requirement", [requirement.text.as_str()]);
    page.section("Why", [requirement.why.as_str()]);
    page.section("How it is checked", [requirement.how.as_str()]);
    page.section("What usually breaks it", [requirement.breaks.as_str()]);
    let deviations: Vec<String> = requirement
        .deviations
        .iter()
        .map(|known| {
            format!(
                "{} {}: {} ({})",
                known.component.title(),
                known.versions,
                known.says,
                known.issue
            )
        })
        .collect();
    page.section(
        "How the reference breaks it, to prove that the check can fail",
        faults.iter().copied(),
    );
    page.section("Known deviations", deviations.iter().map(String::as_str));
    page.section("Sources", requirement.sources.iter().map(String::as_str));
    page.text.push_str(&format!(
        "\nGo on\n  kfconform run --only {id}       checks this alone\n  kfconform evidence RESULT {id}  shows what was asked and answered in a result\n  kfconform selftest --only {id}  proves that the check can fail\n"
    ));
    page.text
}

/// Id, level, releases, feature and times in one line.
fn facts(requirement: &Requirement) -> String {
    let mut facts = vec![requirement.level.to_string()];
    facts.push(match &requirement.until {
        Some(until) => format!("Kubeflow {} to {until}", requirement.since),
        None => format!("since Kubeflow {}", requirement.since),
    });
    if let Some(feature) = &requirement.feature {
        facts.push(format!("where the feature {feature} is found"));
    }
    if let Some(budget) = requirement.budget {
        facts.push(format!("takes up to {}", super::format_duration(budget)));
    }
    if requirement.waits {
        facts.push("waits for a clock".to_owned());
    }
    facts.join(" · ")
}

/// Text that grows by wrapped paragraphs.
struct Page {
    width: usize,
    text: String,
}

impl Page {
    /// A heading with indented paragraphs below it; nothing at all if there are none.
    fn section<'a>(&mut self, heading: &str, paragraphs: impl IntoIterator<Item = &'a str>) {
        let mut paragraphs = paragraphs.into_iter().peekable();
        if paragraphs.peek().is_some() {
            self.text.push('\n');
            self.paragraph(0, heading);
        }
        for paragraph in paragraphs {
            self.paragraph(2, paragraph);
        }
    }

    /// Words, wrapped and indented. A word longer than the line, like an address, is not broken.
    fn paragraph(&mut self, indent: usize, words: &str) {
        let mut column = 0;
        for word in words.split_whitespace() {
            let length = word.chars().count();
            if column > 0 && column + 1 + length <= self.width {
                self.text.push(' ');
                column += 1;
            } else {
                if column > 0 {
                    self.text.push('\n');
                }
                self.text.push_str(&" ".repeat(indent));
                column = indent;
            }
            self.text.push_str(word);
            column += length;
        }
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_known_about_a_requirement_is_explained() {
        let requirement: Requirement = serde_json::from_value(serde_json::json!({
            "id": "kserve/graph/routes",
            "title": "A graph routes by condition",
            "text": "A switch node of an InferenceGraph MUST send a request to the first step whose condition it meets.",
            "level": "extended",
            "since": "1.10",
            "until": "26.03",
            "feature": "graph",
            "why": "Graphs are how several models answer as one.",
            "how": "Two requests that differ in one field are sent to a graph of two models that name themselves in their answers.",
            "breaks": "A router image that cannot be pulled.",
            "sources": ["https://kserve.github.io/website/docs/model-serving/inferencegraph/a-very-long-address-that-is-not-broken"],
            "budget": "1m30s",
            "waits": true,
            "deviations": [{
                "component": "kserve",
                "versions": ">=0.13.0, <0.14.0",
                "says": "a condition without a match answers 404 without a body",
                "issue": "https://github.com/kserve/kserve/issues/1",
            }],
        }))
        .unwrap();
        insta::assert_snapshot!(explain(
            Specs::embedded(),
            &requirement,
            &["answers with the second step"],
            72
        ));
    }
}
