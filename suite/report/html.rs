//! `report.html`: one page that needs nothing else, neither a server nor a network.
//!
//! Everything is written by a template that escapes; the page's policy forbids every load and
//! every script but the one here, so that no text of a cluster can act in a reviewer's browser.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::model::{CheckResult, EndpointKind, Outcome, Results, Target, Totals, Verdict};
use super::text::{one_line, parts, printable};
use crate::spec::Level;

/// The name of the file in a result folder.
pub const HTML_FILE: &str = "report.html";

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// The text of `report.html`.
pub fn render(results: &Results) -> String {
    let run = &results.run;
    let title = format!(
        "Kubeflow {} conformance: {}",
        one_line(&run.release),
        results.verdict
    );
    let hash = |text: &str| BASE64.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Kubeflow " (one_line(&run.release)) " conformance" }
                    (verdict(results))
                }
                main {
                    (facts(results))
                    (totals(results))
                    (components(results))
                    (checks(results))
                    (rest(results))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The symbol and class of an outcome. The word stands beside it, so that colour is not needed.
fn symbol(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Passed => ("✔", "good"),
        Outcome::Failed => ("✘", "bad"),
        Outcome::NotApplicable => ("–", "none"),
        Outcome::CouldNotRun => ("?", "doubt"),
    }
}

fn verdict(results: &Results) -> Markup {
    let (symbol, class) = match results.verdict {
        Verdict::Conformant => ("✔", "good"),
        Verdict::NonConformant => ("✘", "bad"),
        Verdict::Incomplete => ("?", "doubt"),
    };
    html! {
        p.verdict.(class) { span aria-hidden="true" { (symbol) } " " (results.verdict) }
        (list(&results.reasons))
        @if !results.submittable {
            p { "This result cannot be submitted:" }
            (list(&results.not_submittable_because))
        }
    }
}

fn list(items: &[String]) -> Markup {
    html! {
        @if !items.is_empty() {
            ul { @for item in items { li { (one_line(item)) } } }
        }
    }
}

fn facts(results: &Results) -> Markup {
    let Results {
        run,
        suite,
        cluster,
        timing,
        ..
    } = results;
    let target = match run.target {
        Target::Cluster => "a cluster",
        Target::Reference => "the embedded reference",
    };
    let mut facts = vec![
        ("Profile", run.profile.clone()),
        ("Checked", target.to_owned()),
        ("Run", run.id.clone()),
        ("Started", run.started.to_string()),
        ("Took", format!("{:.1} s", timing.wall_seconds)),
        ("Suite", suite.version.clone()),
        ("Digest of the requirements", suite.specs_digest.clone()),
    ];
    if let (Some(longest), Some(ratio)) = (&timing.longest_setup, timing.ratio) {
        let text = format!(
            "{} ({:.1} s; the run took {ratio:.2} × as long)",
            longest.id, longest.seconds
        );
        facts.insert(5, ("Longest set-up", text));
    }
    let kubernetes = [&cluster.version, &cluster.platform, &cluster.architecture];
    let kubernetes: Vec<_> = kubernetes.into_iter().flatten().cloned().collect();
    if !kubernetes.is_empty() {
        facts.insert(2, ("Kubernetes", kubernetes.join(", ")));
    }
    if !run.faults.is_empty() {
        facts.push(("Faults", run.faults.join(", ")));
    }
    html! {
        dl { @for (name, text) in &facts { div { dt { (name) } dd { (one_line(text)) } } } }
    }
}

fn totals(results: &Results) -> Markup {
    let numbers = |totals: &Totals| {
        html! {
            @for outcome in Outcome::ALL {
                @let number = totals.of(outcome);
                td.number.(if number == 0 { "none" } else { symbol(outcome).1 }) { (number) }
            }
        }
    };
    html! {
        section {
            h2 { "Totals" }
            table {
                thead { tr {
                    th scope="col" { "Component" }
                    th scope="col" { "Level" }
                    @for outcome in Outcome::ALL { th.number scope="col" { (outcome) } }
                } }
                tbody {
                    @for (component, levels) in &results.totals {
                        @for level in [Level::Core, Level::Extended] {
                            @if levels.of(level).all() > 0 {
                                tr { th scope="row" { (one_line(component)) } td { (level) } (numbers(levels.of(level))) }
                            }
                        }
                    }
                    tr { th scope="row" { "all" } td {} (numbers(&results.all_totals())) }
                }
            }
        }
    }
}

fn components(results: &Results) -> Markup {
    let way = |kind| match kind {
        Some(EndpointKind::KubernetesApi) => "Kubernetes API",
        Some(EndpointKind::PortForward) => "port-forward",
        Some(EndpointKind::InCluster) => "in-cluster address",
        Some(EndpointKind::Url) => "URL",
        None => "not found",
    };
    html! {
        @if !results.components.is_empty() {
            section {
                h2 { "Components" }
                table {
                    thead { tr {
                        @for name in ["Component", "Version", "Reached through", "Found by"] { th scope="col" { (name) } }
                    } }
                    tbody { @for component in &results.components { tr {
                        th scope="row" { (one_line(&component.name)) }
                        td { (one_line(component.version.as_deref().unwrap_or("not told"))) }
                        td { (way(component.endpoint_kind)) }
                        td { (one_line(&component.how_found)) }
                    } } }
                }
            }
        }
    }
}

fn checks(results: &Results) -> Markup {
    html! {
        section {
            h2 { "Requirements" }
            form role="search" id="filter" hidden {
                label { "Search " input type="search" id="search" autocomplete="off"; }
                @for outcome in Outcome::ALL {
                    label { input type="checkbox" name="outcome" value=(outcome) checked; " " (outcome) }
                }
                output id="shown" for="search" aria-live="polite" {}
            }
            table id="checks" {
                thead { tr {
                    @for name in ["Outcome", "Requirement", "Level"] { th scope="col" { (name) } }
                    th.number scope="col" { "Seconds" }
                } }
                tbody { @for result in &results.checks { (check(result)) } }
            }
        }
    }
}

fn check(check: &CheckResult) -> Markup {
    let (symbol, class) = symbol(check.outcome);
    let parts = parts(check);
    html! {
        tr data-outcome=(check.outcome) {
            td.(class) { span aria-hidden="true" { (symbol) } " " (check.outcome) }
            td {
                code { (one_line(&check.id)) }
                div { (printable(&check.title)) }
                @if !parts.is_empty() {
                    details open[check.outcome == Outcome::Failed] {
                        summary { (one_line(check.reason.as_deref().unwrap_or("why"))) }
                        @for (name, text) in &parts {
                            @if !name.is_empty() { h3 { (name) } }
                            pre { (text) }
                        }
                        @for attempt in &check.attempts {
                            p { "Before: " (attempt.outcome) " in run " (one_line(&attempt.run)) }
                        }
                        @if let Some(evidence) = &check.evidence {
                            p { "Evidence: " code { (one_line(&evidence.path)) } }
                        }
                        p { code { "kfconform explain " (one_line(&check.id)) } }
                    }
                }
            }
            td { (check.level) }
            td.number { (format!("{:.3}", check.seconds)) }
        }
    }
}

fn rest(results: &Results) -> Markup {
    html! {
        @if !results.setups.is_empty() {
            section {
                h2 { "Shared set-ups" }
                table {
                    thead { tr {
                        @for name in ["Outcome", "Set-up"] { th scope="col" { (name) } }
                        th.number scope="col" { "Seconds" }
                    } }
                    tbody { @for setup in &results.setups {
                        @let (symbol, class) = symbol(setup.outcome);
                        tr {
                            td.(class) { span aria-hidden="true" { (symbol) } " " (setup.outcome) }
                            td {
                                code { (one_line(&setup.id)) }
                                @if let Some(message) = &setup.message { div { (printable(message)) } }
                            }
                            td.number { (format!("{:.3}", setup.seconds)) }
                        }
                    } }
                }
            }
        }
        @if !results.features.is_empty() {
            section {
                h2 { "Features" }
                table {
                    thead { tr { @for name in ["Feature", "Present", "Found by"] { th scope="col" { (name) } } } }
                    tbody { @for (name, feature) in &results.features { tr {
                        th scope="row" { (one_line(name)) }
                        td { @if feature.present { "yes" } @else { "no" } }
                        td { (one_line(&feature.how)) }
                    } } }
                }
            }
        }
        @if !results.images.is_empty() {
            section {
                h2 { "Images" }
                ul { @for image in &results.images {
                    li { code { (one_line(&image.name)) } " " (one_line(image.digest.as_deref().unwrap_or(""))) }
                } }
            }
        }
        @if !results.leftovers.is_empty() {
            section { h2 { "Left behind" } (list(&results.leftovers)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_page_holds_what_the_results_hold() {
        let page = render(&sample::mixed());
        for text in [
            "Kubeflow 1.10 conformance: non-conformant",
            "katib/experiment/optimal-trial",
            "the optimal trial is `a`, not `b`",
            "may not `create` `notebooks.kubeflow.org`",
            "parameter `lr` = `0.3` &amp; &lt;b&gt;bold&lt;/b&gt;",
            "&quot;phase&quot;: &quot;Running&quot;",
            "https://github.com/kubeflow/katib/issues/1",
            "Notebook/kfc-r7k2m/one",
            "v1.33.1, kind, amd64",
            "This result cannot be submitted",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(page.matches("<details").count(), 3);
        assert_eq!(
            page.matches("<details open").count(),
            1,
            "what failed is open"
        );
        assert!(!render(&sample::conformant()).contains("cannot be submitted"));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = render(&sample::mixed());
        for attribute in [
            "src=", "href=", "@import", "url(", "<link", "<img", "<iframe",
        ] {
            assert!(!page.contains(attribute), "{attribute}");
        }
        // The policy allows the style and the script by their digest, and so nothing else.
        let policy = page.split("content=\"default-src").nth(1).unwrap();
        assert!(policy.starts_with(" 'none';"));
        for text in [STYLE, SCRIPT] {
            assert!(page.contains(text));
            assert!(policy.contains(&BASE64.encode(Sha256::digest(text))));
        }
    }

    #[test]
    fn no_text_of_a_cluster_acts_in_the_page() {
        let evil = "</pre></script></style><script>alert(1)</script>\" onload=\"x\" '>&\u{202e}\0";
        let mut results = sample::mixed();
        let run = &mut results.run;
        (run.id, run.profile, run.release) = (evil.into(), evil.into(), evil.into());
        run.faults = vec![evil.into()];
        results.suite.version = evil.into();
        results.suite.specs_digest = evil.into();
        results.cluster.version = Some(evil.into());
        results.leftovers = vec![evil.into()];
        results.setups[0].id = evil.into();
        results.setups[0].message = Some(evil.into());
        results.images[0].name = evil.into();
        results.images[0].digest = Some(evil.into());
        results.components[0].name = evil.into();
        results.components[0].version = Some(evil.into());
        results.components[0].how_found = evil.into();
        let feature = results.features["profiles"].clone();
        results.features.insert(
            evil.into(),
            super::super::model::Feature {
                how: evil.into(),
                ..feature
            },
        );
        for check in &mut results.checks {
            (check.id, check.component, check.title) = (evil.into(), evil.into(), evil.into());
            for text in [
                &mut check.reason,
                &mut check.message,
                &mut check.expected,
                &mut check.observed,
                &mut check.last_state,
            ] {
                *text = Some(evil.into());
            }
            check.attempts.iter_mut().for_each(|a| a.run = evil.into());
            check.evidence.iter_mut().for_each(|e| e.path = evil.into());
            check
                .known_deviation
                .iter_mut()
                .for_each(|k| (k.issue, k.summary) = (evil.into(), evil.into()));
        }
        results.judge();
        let page = render(&results);
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("</script").count(), 1);
        assert_eq!(page.matches("</style").count(), 1);
        assert!(!page.contains("onload=\"x\""));
        assert!(!page.contains(['\u{202e}', '\0']));
    }
}
