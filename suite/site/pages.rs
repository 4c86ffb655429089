//! The pages: the readiness of all distributions, and one page a distribution.

use jiff::civil::Date;
use maud::{Markup, html};

use super::{Entry, Shown, Standing, newest_first};
use crate::report::Verdict;
use crate::report::html::page::{self, address, bar, chip, counted, facts, list};
use crate::report::model::{LevelTotals, Totals};
use crate::report::text::{one_line, printable};
use crate::seal::product::ProductType;
use crate::spec::{Component, ReleaseName};

const SCRIPT: &str = include_str!("site.js");

/// The most refused submissions that are listed.
const MAX_REFUSED: usize = 200;

/// The sign, class and word of a standing.
fn standing(entry: &Entry, date: Date) -> Markup {
    let Some(shown) = &entry.shown else {
        return chip(("✘", "bad"), "refused");
    };
    match entry.standing(date) {
        Standing::Valid if shown.verdict == Verdict::Conformant => {
            chip(("✔", "good"), "conformant")
        }
        Standing::Valid => chip(("?", "doubt"), shown.verdict.as_str()),
        Standing::Claimed => chip(("✎", "none"), "as claimed"),
        Standing::Ended => chip(("–", "none"), "ended"),
        Standing::Sample => chip(("◇", "doubt"), "sample"),
        Standing::Refused => chip(("✘", "bad"), "refused"),
    }
}

/// How a component did: its core requirements, and how many of the extended ones it meets.
fn component(totals: Option<&LevelTotals>) -> Markup {
    let Some(LevelTotals { core, extended }) = totals else {
        return html! { span.none title="not checked" { "–" } };
    };
    let met = |totals: &Totals| {
        format!(
            "{}/{}",
            totals.passed,
            totals.all().saturating_sub(totals.not_applicable)
        )
    };
    let (sign, class) = match core {
        core if core.failed > 0 => ("✘", "bad"),
        core if core.could_not_run > 0 => ("?", "doubt"),
        _ => ("✔", "good"),
    };
    html! {
        span.(class) { span aria-hidden="true" { (sign) } " " (met(core)) }
        @if extended.all() > 0 { " " small.faint title="extended requirements" { "+" (met(extended)) } }
    }
}

/// The readiness page.
pub fn index(entries: &[Entry], date: Date) -> String {
    let of = |sample: bool| {
        let entries = entries
            .iter()
            .filter(move |e| e.shown.is_some() && e.place.sample == sample);
        newest(entries.collect())
    };
    let (counting, samples) = (of(false), of(true));
    let refused: Vec<&Entry> = entries.iter().filter(|e| e.shown.is_none()).collect();
    let mut releases: Vec<&str> = counting.iter().map(|e| e.place.release.as_str()).collect();
    releases.dedup();
    let body = html! {
        header.top {
            p.eyebrow { "Kubeflow conformance" }
            h1 { "Which distributions are ready for which release" }
            p.counts {
                "As of " time datetime=(date) { (date) } ": " (counting.iter().filter(|e| e.standing(date) == Standing::Valid).count()) " valid, "
                (counting.iter().filter(|e| e.standing(date) != Standing::Valid).count()) " others, "
                (refused.len()) " refused, " (samples.len()) " samples. For programs: " a href="feed.json" { "feed.json" } "."
            }
        }
        main id="main" {
            form role="search" id="filter" hidden {
                label.search { "Search " input type="search" id="search" autocomplete="off"; }
                button type="button" id="theme" { "Dark or light" }
                output id="shown" for="search" aria-live="polite" {}
            }
            @for release in &releases {
                section aria-labelledby=(format!("r{release}")) {
                    h2 id=(format!("r{release}")) { "Kubeflow " (release) }
                    @let of_release: Vec<&Entry> = counting.iter().copied().filter(|e| e.place.release == *release).collect();
                    (readiness(&of_release, date))
                }
            }
            @if counting.is_empty() { p.none { "There is no submission yet." } }
            @if !samples.is_empty() {
                section aria-labelledby="samples" {
                    h2 id="samples" { "Samples" }
                    p.faint { "Made from the reference distribution that the suite embeds, to show how a submission looks. Nobody may carry a mark for one." }
                    (readiness(&samples, date))
                }
            }
            @if !refused.is_empty() {
                section aria-labelledby="refused" {
                    h2 id="refused" { "Refused" }
                    p.faint { "What the review does not accept is not shown, whatever it says of itself." }
                    ul.plain { @for entry in refused.iter().take(MAX_REFUSED) { li.entry {
                        (chip(("✘", "bad"), "refused")) " " code { (one_line(&entry.place.path())) }
                        ul { @for refusal in &entry.refusals { li { code { (refusal.rule) } " " (printable(&refusal.message)) } } }
                    } } }
                    @if let Some(more) = refused.len().checked_sub(MAX_REFUSED + 1) { p { "… and " (more + 1) " more" } }
                }
            }
            (what_it_means())
        }
    };
    page::page(
        "Kubeflow conformance: which distributions are ready",
        &body,
        SCRIPT,
        false,
    )
}

/// Of each product and release the newest submission, newest release first, then by name.
fn newest(mut entries: Vec<&Entry>) -> Vec<&Entry> {
    entries.sort_by_key(|entry| std::cmp::Reverse(newest_first(entry)));
    let mut seen = std::collections::BTreeSet::new();
    entries.retain(|entry| seen.insert((&entry.place.release, &entry.place.product)));
    entries.sort_by_key(|entry| {
        let release: Option<ReleaseName> = entry.place.release.parse().ok();
        (std::cmp::Reverse(release), entry.place.product.as_str())
    });
    entries
}

/// The components that anything was checked of.
fn checked(entries: &[&Entry]) -> Vec<Component> {
    let any = |component: &Component| {
        let mut totals = entries
            .iter()
            .filter_map(|e| e.shown.as_ref())
            .map(|s| &s.totals);
        totals.any(|totals| totals.contains_key(component.as_str()))
    };
    Component::ALL.into_iter().filter(any).collect()
}

fn readiness(entries: &[&Entry], date: Date) -> Markup {
    let components = checked(entries);
    html! {
        div.wide tabindex="0" role="region" aria-label="Readiness" {
            table.readiness {
                thead { tr {
                    @for name in ["Distribution", "Release", "Standing", "Valid until"] { th scope="col" { (name) } }
                    @for component in &components { th scope="col" { (component.title()) } }
                    th scope="col" { "Known deviations" }
                } }
                tbody { @for entry in entries { @if let Some(shown) = &entry.shown { tr.entry {
                    th scope="row" {
                        a href=(entry.place.page()) { (one_line(&shown.product.name)) }
                        " " (one_line(&shown.product.version))
                        small { (one_line(&shown.product.vendor)) }
                        small { (one_line(&shown.product.contact)) }
                    }
                    td data-name="Release" { (entry.place.release) }
                    td data-name="Standing" { (standing(entry, date)) }
                    td data-name="Valid until" { (valid_until(shown, date)) }
                    @for component in &components {
                        td data-name=(component.title()) { (self::component(shown.totals.get(component.as_str()))) }
                    }
                    td data-name="Known deviations" { (shown.deviations.len()) }
                } } } }
            }
        }
    }
}

fn valid_until(shown: &Shown, date: Date) -> Markup {
    let until = shown.record.valid_until;
    html! { time datetime=(until) { (until) } @if until < date { " " span.bad { "(over)" } } }
}

fn what_it_means() -> Markup {
    html! {
        section aria-labelledby="means" {
            h2 id="means" { "What this says, and what not" }
            ul {
                li { "A component's numbers are its core requirements that are met, of those that concern the distribution; after + the extended ones, which no mark needs." }
                li { "Each accepted submission was judged again from its recorded evidence when this page was made. “As claimed” is what another version of the suite found; that version judges it." }
                li { "A signature says who claims a result. It does not prove that a cluster ran." }
                li { "A known deviation is a defect of a released component with an issue upstream. It explains a failure and excuses none." }
            }
        }
    }
}

/// The page of a distribution: its submissions, newest first.
pub fn distribution(entries: &[&Entry], date: Date) -> String {
    let newest = entries[0];
    let Some(shown) = &newest.shown else {
        return String::new();
    };
    let product = &shown.product;
    // The page lies one folder below, a sample's two.
    let up = "../".repeat(newest.place.page().matches('/').count());
    let badge = newest.place.badge();
    let text = |text: &str| html! { (printable(text)) };
    let kind = match product.type_ {
        ProductType::Distribution => "distribution: software on clusters of one's own",
        ProductType::Hosted => "hosted: a service that the vendor runs",
        ProductType::Installer => "installer: puts Kubeflow on a cluster",
    };
    let mut about = vec![
        ("Vendor", text(&product.vendor)),
        ("Type", text(kind)),
        ("Website", address(&product.website)),
        ("Documentation", address(&product.documentation)),
        ("Contact", text(&product.contact)),
        ("Kubernetes", text(&product.kubernetes_targets.join(", "))),
        ("Releases", text(&product.release_cadence)),
        ("Adopters", address(&product.adopters)),
    ];
    if let Some(repository) = &product.repository {
        about.push(("Source code", address(repository)));
    }
    let body = html! {
        nav { p { a href=(format!("{up}index.html")) { "All distributions" } } }
        header.top {
            p.eyebrow { "Kubeflow " (newest.place.release) }
            h1 { (one_line(&product.name)) " " small { (one_line(&product.version)) } }
            p.verdict { (standing(newest, date)) }
            p { (printable(product.description.trim())) }
        }
        main id="main" {
            section aria-label="About" { (facts(&about)) }
            section aria-labelledby="badge" {
                h2 id="badge" { "Badge" }
                p { img src=(format!("{up}{badge}")) alt=(format!("Badge of {}", one_line(&product.name))) height="22"; }
                p.faint { "In Markdown: " code { "![Kubeflow conformance](…/" (badge) ")" } }
            }
            section aria-labelledby="submissions" {
                h2 id="submissions" { "Submissions" }
                @for (at, entry) in entries.iter().enumerate() { (submission(entry, date, &up, at == 0)) }
            }
        }
    };
    let title = format!("{}: Kubeflow conformance", product.name);
    page::page(&title, &body, "", true)
}

fn submission(entry: &Entry, date: Date, up: &str, open: bool) -> Markup {
    let Some(shown) = &entry.shown else {
        return Markup::default();
    };
    let record = &shown.record;
    let about = [
        ("Profile", html! { (one_line(&shown.profile)) }),
        (
            "Run on",
            html! { (one_line(shown.kubernetes.as_deref().unwrap_or("not told"))) },
        ),
        ("Valid from", html! { (record.valid_from) }),
        ("Valid until", valid_until(shown, date)),
        ("Next review", html! { (record.next_review) }),
        ("Suite", html! { (one_line(&shown.suite)) }),
    ];
    html! {
        details.submission open[open] {
            summary {
                strong { "Kubeflow " (entry.place.release) ", version " (one_line(&entry.place.version)) } " " (standing(entry, date))
            }
            (facts(&about))
            @let refusals: Vec<String> = entry.refusals.iter().map(|r| r.message.clone()).collect();
            (list(&refusals))
            ul.cards { @for (name, totals) in &shown.totals { li.card {
                h3 { (title(name)) " " @if let Some(version) = shown.versions.get(name) { small { (one_line(version)) } } }
                (bar(&(totals.core + totals.extended)))
                ul.plain {
                    li { span.level { "core" } " " (counted(&totals.core)) }
                    @if totals.extended.all() > 0 { li { span.level { "extended" } " " (counted(&totals.extended)) } }
                }
            } } }
            h3 { "Known deviations" }
            @if shown.deviations.is_empty() { p.none { "none" } } @else {
                ul { @for (id, says, issue) in &shown.deviations { li {
                    code { (one_line(id)) } ": " (printable(says)) " " (address(issue))
                } } }
            }
            p { a href=(format!("{up}{}", entry.place.report_page())) { "The whole report, requirement by requirement" } }
        }
    }
}

/// A component's name as people write it.
fn title(name: &str) -> String {
    name.parse::<Component>().map_or_else(
        |_| one_line(name).into_owned(),
        |component| component.title().to_owned(),
    )
}
