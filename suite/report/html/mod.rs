//! `report.html`: one page that needs nothing else, neither a server nor a network.

pub mod page;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use maud::{Markup, html};

use super::model::{
    Attempt, CheckResult, Component, EndpointKind, Outcome, Results, Target, Totals,
};
use super::plugins;
use super::text::{first_line, one_line, parts, printable};
use crate::cluster::Evidence;
use crate::outcome::shorten;
use crate::spec::{Level, Specs};
use page::{address, bar, chip, counted, facts, list, paths, prose, sign, verdict_sign};
use timeline::TimeLines;

/// The name of the file in a result folder.
pub const HTML_FILE: &str = "report.html";

const SCRIPT: &str = include_str!("report.js");

/// Evidence by its path in the archive.
pub type Exchanges = BTreeMap<String, Evidence>;

/// Whose product the results are about, where that is known.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The product's name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Who offers it.
    pub vendor: &'a str,
    /// Its page.
    pub website: &'a str,
    /// How to reach them.
    pub contact: &'a str,
}

/// What the page is made of: it is a function of these alone.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The results.
    pub results: &'a Results,
    /// The requirements, for their texts.
    pub specs: &'a Specs,
    /// The evidence, for the time lines; what is not there has none.
    pub exchanges: &'a Exchanges,
    /// The product.
    pub whose: Option<Whose<'a>>,
}

/// The text of `report.html`.
pub fn render(report: &Report) -> String {
    let Report { results, whose, .. } = report;
    let lines = TimeLines::new(report.exchanges);
    // What failed comes first to the time lines, whose room is bounded.
    let mut checks: Vec<(usize, &CheckResult)> = results.checks.iter().enumerate().collect();
    checks.sort_by_key(|(_, check)| check.outcome.is_settled());
    let mut shown: Vec<(usize, Markup)> = checks
        .into_iter()
        .map(|(at, check)| (at, self::check(report, &lines, check)))
        .collect();
    shown.sort_by_key(|(at, _)| *at);
    let shown: Vec<Markup> = shown.into_iter().map(|(_, markup)| markup).collect();
    let name = whose.map(|whose| format!("{} {}", whose.name, whose.version));
    let what = format!("Kubeflow {} conformance", one_line(&results.run.release));
    let body = html! {
        header.top {
            @if let Some(name) = &name {
                p.eyebrow { (what) }
                h1 { (one_line(name)) }
            } @else {
                h1 { (what) }
            }
            p.verdict { (chip(verdict_sign(results.verdict), results.verdict.as_str())) }
            (bar(&results.all_totals()))
            p.counts { (counted(&results.all_totals())) }
        }
        main id="main" {
            (verdict(results))
            (about(results, *whose))
            (components(results))
            (not_passed(results))
            (requirements(results, &shown))
            (plugins::section(results))
            (rest(results, &lines))
        }
        footer { p {
            "Made by kfconform " (one_line(&results.suite.version)) " from " code { "results.json" } " and "
            code { "evidence.tar.gz" } ", which say more. " code { "kfconform explain ID" } " says all about a requirement."
        } }
    };
    let whose = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let title = format!("{whose}{what}: {}", results.verdict);
    page::page(&title, &body, SCRIPT, false)
}

/// Why the verdict is what it is, and why nobody may submit it.
fn verdict(results: &Results) -> Markup {
    html! {
        (list(&results.reasons))
        @if !results.submittable {
            details open[results.not_submittable_because.len() <= 4] {
                summary { "This result cannot be submitted" }
                (list(&results.not_submittable_because))
            }
        }
    }
}

fn about(results: &Results, whose: Option<Whose>) -> Markup {
    let Results {
        run,
        suite,
        cluster,
        timing,
        ..
    } = results;
    let text = |text: &str| html! { (one_line(text)) };
    let mut about = Vec::new();
    if let Some(whose) = whose {
        about.push((
            "Product",
            text(&format!("{} {}", whose.name, whose.version)),
        ));
        about.push(("Vendor", text(whose.vendor)));
        about.push(("Website", address(whose.website)));
        about.push(("Contact", text(whose.contact)));
    }
    about.push(("Profile", text(&run.profile)));
    about.push(("Release", html! { "Kubeflow " (one_line(&run.release)) }));
    about.push((
        "Checked",
        text(match run.target {
            Target::Cluster => "a cluster",
            Target::Reference => "the embedded reference",
        }),
    ));
    let (platform, nodes) = (&cluster.platform, &cluster.architecture);
    // A platform is often called by its architecture, which need not be said twice.
    let nodes = nodes.as_deref().filter(|nodes| {
        let platform = platform.as_deref().unwrap_or_default();
        platform.rsplit('/').next() != Some(nodes)
    });
    let kubernetes = [cluster.version.as_deref(), platform.as_deref(), nodes];
    let kubernetes: Vec<_> = kubernetes.into_iter().flatten().collect();
    if !kubernetes.is_empty() {
        about.push(("Kubernetes", text(&kubernetes.join(", "))));
    }
    about.push((
        "Started",
        html! { time datetime=(run.started) { (run.started.strftime("%F %T UTC")) } },
    ));
    about.push(("Took", text(&duration(timing.wall_seconds))));
    if let (Some(longest), Some(ratio)) = (&timing.longest_setup, timing.ratio) {
        let seconds = duration(longest.seconds);
        let said = format!(
            "{} ({seconds}; the run took {ratio:.2} × as long)",
            longest.id
        );
        about.push(("Longest set-up", paths(&said)));
    }
    about.push(("Run", html! { code { (one_line(&run.id)) } }));
    about.push(("Suite", text(&suite.version)));
    about.push((
        "Digest of the requirements",
        html! { code { (one_line(&suite.specs_digest)) } },
    ));
    if !run.faults.is_empty() {
        about.push(("Faults", paths(&run.faults.join(", "))));
    }
    html! { section aria-label="About" { (facts(&about)) } }
}

/// Seconds as people say them.
fn duration(seconds: f64) -> String {
    if seconds < 120.0 || !seconds.is_finite() {
        format!("{seconds:.1} s")
    } else {
        format!(
            "{:.0} min {:.0} s",
            (seconds / 60.0).floor(),
            seconds % 60.0
        )
    }
}

/// A card a component: what was found of it, and how it did.
fn components(results: &Results) -> Markup {
    let found = |name: &str| results.components.iter().find(|c| c.name == name);
    let others = results.components.iter();
    let others: Vec<&Component> = others
        .filter(|c| !results.totals.contains_key(&c.name))
        .collect();
    let total = |totals: &Totals, level: Level| {
        html! {
            @if totals.all() > 0 { li { span.level { (level) } " " (counted(totals)) } }
        }
    };
    html! {
        section aria-labelledby="components" {
            h2 id="components" { "Components" }
            ul.cards {
                @for (name, levels) in &results.totals {
                    @let all = levels.core + levels.extended;
                    li.card {
                        h3 { (one_line(name)) " " @if let Some(version) = found(name).and_then(|c| c.version.as_ref()) {
                            small { (one_line(version)) }
                        } }
                        (bar(&all))
                        ul.plain { (total(&levels.core, Level::Core)) (total(&levels.extended, Level::Extended)) }
                        @if let Some(component) = found(name) { (reached(component)) }
                    }
                }
                @for component in others {
                    li.card {
                        h3 { (one_line(&component.name)) " " small { (one_line(component.version.as_deref().unwrap_or("version not told"))) } }
                        p.none { "nothing was checked of it" }
                        (reached(component))
                    }
                }
            }
        }
    }
}

fn reached(component: &Component) -> Markup {
    let way = match component.endpoint_kind {
        Some(EndpointKind::KubernetesApi) => "Kubernetes API",
        Some(EndpointKind::PortForward) => "port-forward",
        Some(EndpointKind::InCluster) => "in-cluster address",
        Some(EndpointKind::Url) => "URL",
        None => "not found",
    };
    html! { p.faint { (way) ": " (one_line(&component.how_found)) } }
}

/// What did not pass, first of all, each with the way to it. What one thing kept from running, or from passing, stands together.
fn not_passed(results: &Results) -> Markup {
    const NAMED: usize = 12;
    let mut groups = IndexMap::<_, Vec<&str>>::new();
    for outcome in [Outcome::Failed, Outcome::CouldNotRun] {
        for check in results
            .checks
            .iter()
            .filter(|check| check.outcome == outcome)
        {
            let why = parts(check).first().map_or_else(String::new, |(_, why)| {
                one_line(&shorten(first_line(why), 200)).into_owned()
            });
            groups.entry((outcome, why)).or_default().push(&check.id);
        }
    }
    html! {
        @if !groups.is_empty() {
            section aria-labelledby="open" {
                h2 id="open" { "What did not pass" }
                ul.plain.open { @for ((outcome, why), ids) in &groups {
                    li {
                        (chip(sign(*outcome), outcome.as_str()))
                        div {
                            @for (at, id) in ids.iter().take(NAMED).enumerate() {
                                @if at > 0 { ", " }
                                a href=(format!("#{}", one_line(id))) { code { (one_line(id)) } }
                            }
                            @if let Some(more) = ids.len().checked_sub(NAMED + 1) { " and " (more + 1) " more" }
                            @if !why.is_empty() { p.faint { (prose(why)) } }
                        }
                    }
                } }
            }
        }
    }
}

fn requirements(results: &Results, shown: &[Markup]) -> Markup {
    let totals = results.all_totals();
    html! {
        section aria-labelledby="requirements" {
            h2 id="requirements" { "Requirements" }
            form role="search" id="filter" hidden {
                label.search { "Search " input type="search" id="search" autocomplete="off" placeholder="/ to search"; }
                fieldset {
                    legend { "Outcome" }
                    @for outcome in Outcome::ALL {
                        label { input type="checkbox" name="outcome" value=(outcome) checked; " " (sign(outcome).0) " " (outcome) " (" (totals.of(outcome)) ")" }
                    }
                }
                fieldset {
                    legend { "Level" }
                    @for level in [Level::Core, Level::Extended] {
                        label { input type="checkbox" name="level" value=(level) checked; " " (level) }
                    }
                }
                button type="button" id="unfold" { "Open all shown" }
                button type="button" id="theme" { "Dark or light" }
                output id="shown" for="search" aria-live="polite" {}
            }
            div.checks id="checks" {
                @for check in shown { (check) }
            }
        }
    }
}

/// One requirement: what it asks for, and what was seen.
fn check(report: &Report, lines: &TimeLines, check: &CheckResult) -> Markup {
    let failed = !check.outcome.is_settled();
    let requirement = report.specs.requirement(&check.id);
    let parts = parts(check);
    let (symbol, class) = sign(check.outcome);
    html! {
        details.check id=(one_line(&check.id)) data-outcome=(check.outcome) data-level=(check.level) open[check.outcome == Outcome::Failed] {
            summary {
                span.outcome.(class) { span aria-hidden="true" { (symbol) } " " (check.outcome) }
                span.what { code { (one_line(&check.id)) } span.title { (printable(&check.title)) } }
                span.level { (check.level) }
                span.number { (format!("{:.3} s", check.seconds)) }
            }
            div.inside {
                @if let Some(requirement) = requirement { blockquote { (prose(&requirement.text)) } }
                @if let Some(reason) = &check.reason { p { "Reason: " code { (one_line(reason)) } } }
                @for (name, text) in &parts { @if name.is_empty() { pre { (text) } } }
                div.parts { @for (name, text) in &parts { @if !name.is_empty() { div { h4 { (name) } pre { (text) } } } } }
                @for attempt in &check.attempts { (self::attempt(lines, attempt)) }
                @if let Some(evidence) = &check.evidence { (exchanges(lines, &evidence.path, failed)) }
            }
        }
    }
}

/// The time line of a piece of evidence, and what it builds on.
fn exchanges(lines: &TimeLines, path: &str, bodies: bool) -> Markup {
    let uses = lines.uses(path);
    html! {
        @if !uses.is_empty() {
            p { "Builds on " @for (at, (id, _)) in uses.iter().take(12).enumerate() {
                @if at > 0 { ", " }
                a href=(format!("#{}", one_line(id))) { code { (one_line(id)) } }
            } }
        }
        @match lines.of(path, bodies) {
            Some(line) => (line),
            None => p.faint { "Evidence: " code { (one_line(path)) } },
        }
    }
}

fn attempt(lines: &TimeLines, attempt: &Attempt) -> Markup {
    html! {
        p { "Before: " (attempt.outcome) " in run " code { (one_line(&attempt.run)) }
            @if let Some(message) = &attempt.message { ": " (one_line(&shorten(message, 400))) } }
        @if let Some(evidence) = &attempt.evidence { (lines.of(&evidence.path, false).unwrap_or_default()) }
    }
}

/// The evidence that checks built on that did not pass: what was said there may be why.
fn built_on_by_failures(results: &Results, lines: &TimeLines) -> BTreeSet<String> {
    let open = results
        .checks
        .iter()
        .filter(|check| !check.outcome.is_settled());
    let evidence = open.filter_map(|check| check.evidence.as_ref());
    let uses = evidence.flat_map(|evidence| lines.uses(&evidence.path));
    uses.map(|(id, attempt)| Evidence::path(id, *attempt))
        .collect()
}

fn rest(results: &Results, lines: &TimeLines) -> Markup {
    html! {
        @if !results.setups.is_empty() {
            @let looked_at = built_on_by_failures(results, lines);
            section aria-labelledby="setups" {
                h2 id="setups" { "Shared set-ups" }
                div.checks {
                    @for setup in &results.setups {
                        @let (symbol, class) = sign(setup.outcome);
                        @let path = setup.evidence.as_ref().map(|e| e.path.as_str()).unwrap_or_default();
                        details.check id=(one_line(path.trim_end_matches(".json"))) {
                            summary {
                                span.outcome.(class) { span aria-hidden="true" { (symbol) } " " (setup.outcome) }
                                span.what { code { (one_line(&setup.id)) } }
                                span.level {}
                                span.number { (format!("{:.3} s", setup.seconds)) }
                            }
                            div.inside {
                                @if let Some(message) = &setup.message { pre { (printable(message)) } }
                                (exchanges(lines, path, !setup.outcome.is_settled() || looked_at.contains(path)))
                            }
                        }
                    }
                }
            }
        }
        @if !results.features.is_empty() {
            section aria-labelledby="features" {
                h2 id="features" { "Features" }
                div.wide { table {
                    thead { tr { @for name in ["Feature", "Present", "Told by"] { th scope="col" { (name) } } } }
                    tbody { @for (name, feature) in &results.features { tr {
                        th scope="row" { (one_line(name)) }
                        td { @if feature.present { "yes" } @else { "no" } }
                        td { (one_line(&feature.how)) }
                    } } }
                } }
            }
        }
        @if !results.images.is_empty() {
            section aria-labelledby="images" {
                h2 id="images" { "Images" }
                ul { @for image in &results.images {
                    li { code { (one_line(&image.name)) } " " code.faint { (one_line(image.digest.as_deref().unwrap_or(""))) } }
                } }
            }
        }
        @if !results.leftovers.is_empty() {
            section aria-labelledby="left" { h2 id="left" { "Left behind" } (list(&results.leftovers)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
    use sha2::{Digest, Sha256};

    use super::page::STYLE;
    use super::*;
    use crate::cluster::exchange::{Answer, Body, Reply};
    use crate::cluster::{Asked, Endpoint, Exchange, Identity};
    use crate::report::sample;

    const WHOSE: Whose = Whose {
        name: "Aurora",
        version: "3.2.0",
        vendor: "Aurora Ltd",
        website: "https://aurora.example",
        contact: "kf@aurora.example",
    };

    fn page(results: &Results) -> String {
        page_with(results, &Exchanges::new(), None)
    }

    fn page_with(results: &Results, exchanges: &Exchanges, whose: Option<Whose>) -> String {
        render(&Report {
            results,
            specs: Specs::embedded(),
            exchanges,
            whose,
        })
    }

    fn exchange(at: u64, path: &str, status: u16, said: &str) -> Exchange {
        Exchange {
            at,
            end: at + 5,
            asked: Asked {
                to: Endpoint::Component("katib".to_owned()),
                identity: Identity::Nobody,
                method: "POST".to_owned(),
                path: path.to_owned(),
                headers: BTreeMap::new(),
                body: Body::Text("what was sent".to_owned()),
            },
            reply: Reply::Answer(Answer {
                status,
                headers: BTreeMap::new(),
                body: Body::Text(said.to_owned()),
            }),
        }
    }

    /// Evidence of the checks of [`sample::mixed`] that ask something.
    fn asked(id: &str, exchanges: Vec<Exchange>) -> Exchanges {
        let path = format!("checks/{id}.jsonl");
        let evidence = Evidence {
            api_version: crate::API_VERSION.to_owned(),
            kind: "Evidence".to_owned(),
            run: "r7k2m".to_owned(),
            id: id.to_owned(),
            attempt: 1,
            started: 1000,
            deadline: 61_000,
            uses: vec![("setup/katib/goal".to_owned(), 1)],
            exchanges,
            collected: Vec::new(),
            removed: Vec::new(),
        };
        [(path, evidence)].into()
    }

    #[test]
    fn the_page_holds_what_the_results_hold() {
        let page = page(&sample::mixed());
        for text in [
            "Kubeflow 1.10 conformance: non-conformant",
            // What the requirement asks for stands beside what was seen.
            "<blockquote>An Experiment whose objective",
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
        assert_eq!(page.matches("<details class=\"check\"").count(), 5);
        let open: Vec<&str> = page.split("<details class=\"check\"").skip(1).collect();
        let open = open.iter().filter(|d| {
            d.split('>')
                .next()
                .is_some_and(|tag| tag.ends_with(" open"))
        });
        assert_eq!(open.count(), 1, "what failed is open");
        assert!(!self::page(&sample::conformant()).contains("cannot be submitted"));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = page(&sample::mixed());
        for attribute in ["src=", "@import", "url(", "<link", "<img", "<iframe"] {
            assert!(!page.contains(attribute), "{attribute}");
        }
        let links = page.split("href=\"").skip(1);
        assert!(links.clone().count() > 2);
        assert!(links.into_iter().all(|to| to.starts_with('#')));
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
        let mut exchanges = asked(
            "katib/experiment/optimal-trial",
            vec![exchange(1000, evil, 400, evil)],
        );
        let mut evidence = exchanges.pop_first().unwrap().1;
        evidence.uses = vec![(evil.to_owned(), 1)];
        exchanges.insert(evil.to_owned(), evidence);
        let whose = Whose {
            name: evil,
            version: evil,
            vendor: evil,
            website: evil,
            contact: evil,
        };
        let page = page_with(&results, &exchanges, Some(whose));
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("</script").count(), 1);
        assert_eq!(page.matches("</style").count(), 1);
        assert!(!page.contains("onload=\"x\""));
        assert!(!page.contains(['\u{202e}', '\0']));
    }
    #[test]
    fn the_product_is_named_where_it_is_known() {
        let whole = page_with(&sample::conformant(), &Exchanges::new(), Some(WHOSE));
        for text in [
            "<h1>Aurora 3.2.0</h1>",
            "Aurora Ltd",
            "href=\"https://aurora.example\"",
            "kf@aurora.example",
        ] {
            assert!(whole.contains(text), "{text}");
        }
        let odd = Whose {
            website: "javascript:alert(1)",
            ..WHOSE
        };
        let odd = page_with(&sample::conformant(), &Exchanges::new(), Some(odd));
        assert!(!odd.contains("href=\"javascript"));
    }

    #[test]
    fn the_exchanges_are_a_time_line_in_which_polls_are_one_row() {
        let id = "katib/experiment/optimal-trial";
        let mut exchanges = vec![
            exchange(1000, "/a", 404, "gone"),
            exchange(1439, "/a", 404, "gone"),
            exchange(2500, "/a", 200, "it is there"),
        ];
        let whole = page_with(&sample::mixed(), &asked(id, exchanges.clone()), None);
        for text in [
            "0.000",
            "/a</code>",
            "as nobody",
            ">404<",
            "× 2, to 0.444",
            "1.500",
            "what was sent",
            "it is there",
            "href=\"#setup/katib/goal\"",
        ] {
            assert!(whole.contains(text), "{text}");
        }
        // What passed has its time line too, without bodies.
        let passed = page_with(
            &sample::mixed(),
            &asked("katib/experiment/reaches-goal", exchanges.clone()),
            None,
        );
        assert!(passed.contains(">404<") && !passed.contains("it is there"));
        for n in 0..500 {
            exchanges.push(exchange(
                3000 + n,
                &format!("/p{n}"),
                200,
                &"x".repeat(100_000),
            ));
        }
        let long = page_with(&sample::mixed(), &asked(id, exchanges), None);
        assert!(long.contains("… 472 more, in the evidence …") && long.contains("/p499"));
        assert!(long.len() < 300_000, "{}", long.len());
    }

    #[test]
    fn a_page_is_bounded_whatever_the_evidence_holds() {
        let mut results = sample::mixed();
        let mut exchanges = Exchanges::new();
        let failed = results.checks[1].clone();
        results.checks.clear();
        for n in 0..600 {
            let id = format!("katib/experiment/n{n}");
            let many = (0..30).map(|at| exchange(at, &format!("/{at}"), 500, &"<".repeat(5000)));
            exchanges.extend(asked(&id, many.collect()));
            let path = format!("checks/{id}.jsonl");
            let evidence = failed
                .evidence
                .clone()
                .map(|e| crate::report::model::Evidence { path, ..e });
            results.checks.push(CheckResult {
                id,
                evidence,
                ..failed.clone()
            });
        }
        let page = page_with(&results, &exchanges, None);
        assert!(page.contains("The page is full"));
        assert!(page.len() < 6 << 20, "{}", page.len());
    }
}
