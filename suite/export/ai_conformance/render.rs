//! The item of the checklist, and the page that it names.

use super::{CATEGORY, DESCRIPTION, Evidence, Export, ITEM, KNOWN_MINORS, PAGE_FILE, Status};
use crate::report::model::{CheckResult, Results};
use crate::report::text::{code_span, one_line};
use crate::review::{About, Seen};

/// A text as YAML takes it, on one line: JSON's texts are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(one_line(text)).to_string()
}

/// The item, as it stands in a checklist.
pub(super) fn item(export: &Export, results: &Results, links: &[String]) -> String {
    let checklist = export.checklist.as_deref().unwrap_or("v1.NN");
    let (status, place) = match export.status {
        Status::Implemented => (
            "Implemented",
            format!(
                "# For {checklist}/PRODUCT/PRODUCT.yaml of cncf/k8s-ai-conformance, in place of the item of this id; the page goes beside it.\n"
            ),
        ),
        Status::Sample => (
            "",
            "# A sample, of the embedded reference: it claims nothing, and nobody may submit it.\n"
                .to_owned(),
        ),
    };
    let unknown = if export.known {
        String::new()
    } else {
        format!(
            "# The words of the checklists v1.{} to v1.{} are known; hold those of this one against them.\n",
            KNOWN_MINORS.start(),
            KNOWN_MINORS.end()
        )
    };
    let evidence: String = std::iter::once(PAGE_FILE)
        .chain(links.iter().map(String::as_str))
        .map(|link| format!("        - {}\n", quoted(link)))
        .collect();
    format!(
        "{place}{unknown}spec:\n  {CATEGORY}:\n    - id: {ITEM}\n      description: {}\n      level: MUST\n      status: {}\n      \
         evidence:\n{evidence}      notes: {}\n",
        quoted(DESCRIPTION),
        quoted(status),
        quoted(&notes(export, results))
    )
}

fn notes(export: &Export, results: &Results) -> String {
    let mut text = format!(
        "Kubeflow's conformance suite (kfconform {}) found on {}, run {}:",
        results.suite.version,
        match export.status {
            Status::Implemented => "this platform",
            Status::Sample => "its embedded reference",
        },
        results.run.id
    );
    for (at, proof) in export.operators.iter().enumerate() {
        let version = proof.version.as_deref();
        let shown: Vec<String> = proof
            .shown
            .iter()
            .map(|shown| format!("{} ({} requirements)", shown.aspect.says(), shown.passed))
            .collect();
        text.push_str(&format!(
            "{} {}{}: {}",
            if at == 0 { "" } else { ";" },
            proof.operator.title(),
            version.map(|v| format!(" {v}")).unwrap_or_default(),
            shown
                .join(", ")
                .replace(" (1 requirements)", " (1 requirement)")
        ));
    }
    text + "."
}

/// The page. What came from a cluster stands in code spans, where nothing acts.
pub(super) fn page(
    export: &Export,
    results: &Results,
    operators: &[Evidence<'_>],
    about: &About,
    seen: Seen<'_>,
    links: &[String],
) -> String {
    let mut text = format!("# {ITEM}: evidence\n\n> {DESCRIPTION}\n\n");
    text.push_str(match export.status {
        Status::Implemented => "**Implemented.** ",
        Status::Sample => {
            "**A sample, of the embedded reference: it claims nothing, and nobody may submit it.** "
        }
    });
    text.push_str(
        "What follows is what [Kubeflow's conformance suite](https://github.com/kubeflow/conformance) checked. Before this page was \
         written, the signature and every digest of the result were verified, and every check was executed again over the requests \
         and answers that were recorded.\n\n| | |\n|---|---|\n",
    );
    for (what, says) in facts(results, about, seen) {
        text.push_str(&format!("| {what} | {says} |\n"));
    }
    for evidence in operators {
        operator(evidence, &mut text);
    }
    text.push_str(
        "\n## The result\n\nIts files, as they were signed:\n\n| file | sha256 |\n|---|---|\n",
    );
    for file in seen.files {
        let (name, digest) = (code_span(&file.name), code_span(&file.sha256));
        text.push_str(&format!("| {name} | {digest} |\n"));
    }
    if !links.is_empty() {
        text.push_str("\nSee also:\n\n");
        for link in links {
            text.push_str(&format!("- <{link}>\n"));
        }
    }
    let verify = if seen.product.is_some() {
        "kfconform review DIR"
    } else {
        "kfconform verify DIR --trust KEY.pub"
    };
    text.push_str(&format!(
        "\nWith these files in a folder, and the key of this name, anybody can do the same, offline:\n\n```sh\n{verify}\nkfconform \
         evidence DIR --replay\n```\n\nA signature says who claims a result, not that a cluster ran; the evidence is what a reviewer \
         judges.\n"
    ));
    text
}

fn facts(results: &Results, about: &About, seen: Seen<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(product) = seen.product {
        let parts = [&product.name, &product.version, &product.vendor].map(|part| code_span(part));
        let [name, version, vendor] = parts;
        facts.push(("product", format!("{name} {version} by {vendor}")));
    }
    let (run, cluster) = (&results.run, &results.cluster);
    let unknown = || "unknown".to_owned();
    let said = |what: &Option<String>| what.as_deref().map_or_else(unknown, code_span);
    facts.push((
        "Kubernetes",
        format!("{} on {}", said(&cluster.version), said(&cluster.platform)),
    ));
    facts.push((
        "run",
        format!(
            "{}, profile {} for Kubeflow {}, from {} to {}",
            code_span(&run.id),
            code_span(&run.profile),
            code_span(&run.release),
            run.started,
            run.finished
        ),
    ));
    let totals = results.all_totals();
    facts.push((
        "verdict",
        format!(
            "{}: {} passed, {} failed, {} not applicable, {} could not run",
            results.verdict,
            totals.passed,
            totals.failed,
            totals.not_applicable,
            totals.could_not_run
        ),
    ));
    facts.push((
        "suite",
        format!(
            "kfconform {}, requirements {}",
            code_span(&results.suite.version),
            code_span(&results.suite.specs_digest)
        ),
    ));
    facts.push(("signed with the key", code_span(&about.key)));
    facts
}

fn operator(evidence: &Evidence<'_>, text: &mut String) {
    let title = evidence.operator.component.title();
    let version = evidence.found.and_then(|found| found.version.as_deref());
    let version = version.map(|version| format!(" {}", code_span(version)));
    text.push_str(&format!(
        "\n## {title}{}\n\nCustom resources: {}.",
        version.unwrap_or_default(),
        evidence.operator.kinds
    ));
    if let Some(found) = evidence.found {
        text.push_str(&format!(" Found by: {}.", code_span(&found.how_found)));
    }
    text.push_str(
        " Its own pods are not looked for by name: what its webhooks answer and what becomes of its resources is their work.\n",
    );
    for (aspect, checks) in &evidence.shown {
        text.push_str(&format!(
            "\n### {title}: {}\n\n| requirement | says | outcome | evidence (sha256 begins) |\n|---|---|---|---|\n",
            aspect.says()
        ));
        for check in checks {
            row(check, text);
        }
    }
}

fn row(check: &CheckResult, text: &mut String) {
    let digest = check.evidence.as_ref().map(|evidence| {
        let digest = &evidence.sha256;
        code_span(digest.get(..16).unwrap_or(digest))
    });
    text.push_str(&format!(
        "| {} | {} | {} | {} |\n",
        code_span(&check.id),
        // The requirements' own words: the review holds the result to them.
        check.title.replace('|', "¦"),
        check.outcome,
        digest.unwrap_or_default()
    ));
}
