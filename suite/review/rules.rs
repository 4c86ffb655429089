//! What any result is held to: that nothing in it contradicts anything else, and that all of it follows from the
//! evidence.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::case::{Case, Of, Rule, last_attempt};
use crate::checks::{self, timeouts};
use crate::cluster::exchange::{Answer, Reply};
use crate::cluster::session::millis;
use crate::cluster::{Evidence, Exchange};
use crate::engine::{self, plan, plugins::PLUGINS, recording::OF_THE_RUN};
use crate::report::model::{self, Outcome, Target};
use crate::report::{html, junit};
use crate::seal::Product;
use crate::seal::folder::signable;
use crate::seal::statement::{Descriptor, Statement};

/// How far the clocks of a reviewer and of a run may be apart.
const SKEW: SignedDuration = SignedDuration::from_mins(10);
/// How far the clocks of a cluster and of a run may be apart. More than a wrong time zone is no accident.
const CLUSTER_SKEW: SignedDuration = SignedDuration::from_hours(15);
/// Exchanges that a network could not have had: so many answers in a millisecond, over the whole run.
const ANSWERS_PER_MS: u64 = 20;
/// What the nodes of the embedded reference say of themselves.
const REFERENCE_NODE: &str = "kfconform reference";

const fn rule(id: &'static str, title: &'static str, find: fn(&Case) -> Vec<String>) -> Rule {
    Rule {
        id,
        title,
        of: Of::Result,
        find,
    }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "signature/statement",
        "What was signed is what the results say, word for word",
        statement,
    ),
    rule(
        "suite/specs",
        "The requirements are those of this version of the suite",
        specs,
    ),
    rule(
        "results/plan",
        "What was planned is what the profile needs for the release",
        planned,
    ),
    rule(
        "results/checks",
        "There is one result for each planned check, in order, and no other",
        each_check,
    ),
    rule(
        "results/setups",
        "There is a result for each set-up that the checks need, and no other",
        each_setup,
    ),
    rule(
        "results/texts",
        "Component, level and title of a check are its requirement's",
        texts,
    ),
    rule(
        "results/totals",
        "The totals are the sums of the checks",
        totals,
    ),
    rule(
        "results/verdict",
        "The verdict and its reasons follow from the checks",
        verdict,
    ),
    rule(
        "results/timing",
        "The timing follows from the run and its set-ups",
        timing,
    ),
    rule(
        "results/deviations",
        "A failure is called known exactly where it is",
        deviations,
    ),
    rule(
        "results/junit",
        "junit.xml is what the results give, to the byte",
        junit_file,
    ),
    rule(
        "results/report",
        "report.html is what the results give, to the byte",
        html_file,
    ),
    rule(
        "evidence/inventory",
        "There is evidence of everything that the results name, and of nothing else",
        inventory,
    ),
    rule(
        "evidence/digests",
        "Each piece of evidence is the one that the results name",
        digests,
    ),
    rule(
        "evidence/run",
        "Each piece of evidence is of this run",
        of_this_run,
    ),
    rule(
        "run/context",
        "The run was made as the results say",
        context,
    ),
    rule(
        "run/facts",
        "What was found on the cluster follows from the evidence",
        facts,
    ),
    rule(
        "run/reference",
        "A run on the reference says that it is one",
        reference,
    ),
    rule(
        "run/images",
        "The images are those that the nodes reported",
        images,
    ),
    rule(
        "run/namespace",
        "The namespace in which the checks ran was made as the evidence says",
        namespaces,
    ),
    rule(
        "run/leftovers",
        "What was left behind follows from the evidence",
        leftovers,
    ),
    rule(
        "replay/outcomes",
        "Every check and set-up, executed again over its evidence, ends as the results say",
        outcomes,
    ),
    rule(
        "replay/not-applicable",
        "A check was left out exactly where the requirement does not concern the cluster",
        not_applicable,
    ),
    rule(
        "replay/plugins",
        "What each plugin reported follows from its evidence",
        plugins,
    ),
    rule(
        "times/run",
        "The run ended after it began, and before now",
        run_times,
    ),
    rule(
        "times/exchanges",
        "Every exchange lies within its check, and within the run, in order",
        exchange_times,
    ),
    rule(
        "times/starts",
        "Every check and set-up began when its evidence did",
        starts,
    ),
    rule(
        "times/deadlines",
        "Nobody had more time than the requirements give",
        deadlines,
    ),
    rule(
        "times/order",
        "No check began before what it builds on was there",
        order,
    ),
    rule(
        "times/wire",
        "No answer came faster than a network could bring it",
        wire,
    ),
    rule(
        "times/cluster",
        "The cluster's own times are those of the run",
        cluster_times,
    ),
    rule(
        "attempts/disclosed",
        "Each attempt but the last of a check is told, oldest first",
        attempts,
    ),
];

/// The signed text is made again from what is there. So nothing can be claimed that the files do not say.
fn statement(case: &Case) -> Vec<String> {
    let file = |name: &str| case.verified.files.iter().find(|file| file.name == name);
    let subject = signable()
        .filter_map(file)
        .map(|file| Descriptor::sha256(file.name.as_str(), file.sha256.as_str()))
        .collect();
    let claim = Statement::new(&case.results, case.record(), subject);
    if claim.to_json().as_bytes() == case.verified.payload {
        return Vec::new();
    }
    let signed = &case.verified.statement;
    let mut broken = Vec::new();
    if signed.subject != claim.subject {
        broken.push("the signed list of files is not the folder's, in order".to_owned());
    }
    let (said, is) = (&signed.predicate, &claim.predicate);
    if said.result != is.result
        || said.passed_tests != is.passed_tests
        || said.warned_tests != is.warned_tests
        || said.failed_tests != is.failed_tests
    {
        broken.push("the signed outcome is not that of the results".to_owned());
    }
    if said.configuration != is.configuration {
        broken.push("the signed suite or requirements are not those of the results".to_owned());
    }
    let submission = |result: &crate::seal::statement::TestResult| {
        result
            .conformance
            .as_ref()
            .and_then(|c| c.submission.clone())
    };
    match (submission(said), submission(is)) {
        (Some(said), Some(is)) if said != is => {
            for (what, said, is) in [
                ("vendor", &said.vendor, &is.vendor),
                ("product", &said.product, &is.product),
                ("version", &said.version, &is.version),
                (
                    "first day",
                    &said.valid_from.to_string(),
                    &is.valid_from.to_string(),
                ),
                (
                    "last day",
                    &said.valid_until.to_string(),
                    &is.valid_until.to_string(),
                ),
                (
                    "day of the next review",
                    &said.next_review.to_string(),
                    &is.next_review.to_string(),
                ),
                (
                    "mark of a sample",
                    &said.sample.to_string(),
                    &is.sample.to_string(),
                ),
            ] {
                if said != is {
                    broken.push(format!("the signed {what} is `{said}`, not `{is}`"));
                }
            }
        }
        (said, is) if said != is => {
            broken.push("what was signed is no submission of this product".to_owned());
        }
        _ => {}
    }
    if broken.is_empty() {
        broken.push("the signed text is not the one that the results give".to_owned());
    }
    broken
}

fn specs(case: &Case) -> Vec<String> {
    let suite = &case.results.suite;
    let mut broken = Vec::new();
    if suite.specs_digest != case.specs.digest() {
        broken.push(format!(
            "the requirements' digest is `{}`; that of version {} is `{}`",
            suite.specs_digest,
            suite.version,
            case.specs.digest()
        ));
    }
    if suite.specs_overridden {
        broken.push("`--specs` put other requirements in place".to_owned());
    }
    broken
}

fn planned(case: &Case) -> Vec<String> {
    let plan = match &case.plan {
        Ok(plan) => plan.ids(),
        Err(error) => return vec![error.clone()],
    };
    let run = &case.results.run;
    if plan == run.planned {
        return Vec::new();
    }
    let said: HashSet<&str> = run.planned.iter().map(String::as_str).collect();
    let is: HashSet<&str> = plan.iter().map(String::as_str).collect();
    let what = format!("profile {} for Kubeflow {}", run.profile, run.release);
    let mut broken: Vec<String> = plan
        .iter()
        .filter(|id| !said.contains(id.as_str()))
        .map(|id| format!("`{id}` was not planned, and {what} needs it"))
        .collect();
    let more = run.planned.iter().filter(|id| !is.contains(id.as_str()));
    broken.extend(more.map(|id| format!("`{id}` was planned, and is not of {what}")));
    if broken.is_empty() {
        broken.push(format!(
            "the plan is not in the order of {what}, or has doubles"
        ));
    }
    broken
}

fn each_check(case: &Case) -> Vec<String> {
    let planned = &case.results.run.planned;
    let ids: Vec<&String> = case.results.checks.iter().map(|check| &check.id).collect();
    if planned.iter().eq(ids.iter().copied()) {
        return Vec::new();
    }
    let there: HashSet<&str> = ids.iter().map(|id| id.as_str()).collect();
    let wanted: HashSet<&str> = planned.iter().map(String::as_str).collect();
    let mut broken: Vec<String> = planned
        .iter()
        .filter(|id| !there.contains(id.as_str()))
        .map(|id| format!("`{id}` was planned and has no result"))
        .collect();
    let mut seen = HashSet::new();
    for id in ids {
        if !wanted.contains(id.as_str()) {
            broken.push(format!("`{id}` has a result and was not planned"));
        } else if !seen.insert(id.as_str()) {
            broken.push(format!("`{id}` has two results"));
        }
    }
    if broken.is_empty() {
        broken.push("the results are not in the order of the plan".to_owned());
    }
    broken
}

fn each_setup(case: &Case) -> Vec<String> {
    let Ok(plan) = &case.plan else {
        return Vec::new();
    };
    let needed: BTreeSet<&str> = plan::setups(&plan.items).iter().map(|s| s.id).collect();
    let setups = &case.results.setups;
    let mut broken = Vec::new();
    for id in &needed {
        if !setups.iter().any(|setup| setup.id == *id) {
            broken.push(format!("`{id}` is needed and has no result"));
        }
    }
    let mut places = HashSet::new();
    for setup in setups {
        if !needed.contains(setup.id.as_str()) {
            broken.push(format!("`{}` has a result and no check needs it", setup.id));
        }
        if !places.insert(setup.evidence.as_ref().map(|evidence| &evidence.path)) {
            broken.push(format!("`{}` is there twice", setup.id));
        }
    }
    if !setups.is_sorted_by_key(|setup| &setup.id) {
        broken.push("the set-ups are not in order".to_owned());
    }
    broken
}

fn texts(case: &Case) -> Vec<String> {
    let mut broken = Vec::new();
    for (check, requirement) in case.known() {
        for (what, said, is) in [
            (
                "component",
                check.component.as_str(),
                requirement.component().as_str(),
            ),
            ("level", check.level.as_str(), requirement.level.as_str()),
            ("title", check.title.as_str(), requirement.title.as_str()),
        ] {
            if said != is {
                broken.push(format!(
                    "`{}`: its {what} is `{said}`, not `{is}`",
                    check.id
                ));
            }
        }
    }
    broken
}

fn totals(case: &Case) -> Vec<String> {
    let is = model::totals(&case.results.checks);
    let said = &case.results.totals;
    let mut broken: Vec<String> = is
        .iter()
        .filter(|(component, totals)| said.get(*component) != Some(totals))
        .map(|(component, _)| format!("the totals of {component} are not the sums of its checks"))
        .collect();
    if broken.is_empty() && !is.iter().eq(said.iter()) {
        broken.push("there are totals of a component without checks, or out of order".to_owned());
    }
    broken
}

fn verdict(case: &Case) -> Vec<String> {
    let said = &case.results;
    let mut is = said.clone();
    is.judge();
    let mut broken = Vec::new();
    if said.verdict != is.verdict {
        broken.push(format!(
            "the verdict is {}, and follows to be {}",
            said.verdict, is.verdict
        ));
    }
    if said.reasons != is.reasons {
        broken.push("the reasons of the verdict are not those that follow".to_owned());
    }
    if said.submittable != is.submittable
        || said.not_submittable_because != is.not_submittable_because
    {
        broken.push("whether it may be submitted does not follow".to_owned());
    }
    broken
}

fn timing(case: &Case) -> Vec<String> {
    let mut is = case.results.clone();
    is.judge();
    if is.timing == case.results.timing {
        Vec::new()
    } else {
        vec![format!(
            "the run took {} s, and says {} s; or its longest set-up was another",
            is.timing.wall_seconds, case.results.timing.wall_seconds
        )]
    }
}

fn deviations(case: &Case) -> Vec<String> {
    let Ok(facts) = &case.facts else {
        return Vec::new();
    };
    let is = |check: &model::CheckResult, requirement| {
        if check.outcome == Outcome::Failed {
            engine::known_deviation(requirement, facts)
        } else {
            None
        }
    };
    case.known()
        .filter(|(check, requirement)| check.known_deviation != is(check, requirement))
        .map(|(check, _)| {
            format!(
                "`{}`: what is known of its failure is not what it says",
                check.id
            )
        })
        .collect()
}

fn junit_file(case: &Case) -> Vec<String> {
    same("junit.xml", &case.junit, &junit::render(&case.results))
}

fn html_file(case: &Case) -> Vec<String> {
    let page = html::render(&html::Report {
        results: &case.results,
        specs: case.specs,
        exchanges: &case.recording.evidence,
        whose: case.product.as_ref().map(Product::whose),
    });
    same("report.html", &case.html, &page)
}

fn same(name: &str, is: &[u8], wanted: &str) -> Vec<String> {
    if is == wanted.as_bytes() {
        return Vec::new();
    }
    let differs = is
        .split(|byte| *byte == b'\n')
        .zip(wanted.lines())
        .position(|(is, wanted)| is != wanted.as_bytes());
    let line = differs.unwrap_or_else(|| wanted.lines().count()) + 1;
    vec![format!(
        "`{name}` differs from line {line} on from what results.json gives"
    )]
}

fn inventory(case: &Case) -> Vec<String> {
    let mut broken = Vec::new();
    let mut wanted = BTreeSet::new();
    for entry in case.entries() {
        match entry.evidence {
            None => broken.push(format!("`{}` names no evidence", entry.id)),
            Some(place) => {
                if !case.recording.evidence.contains_key(&place.path) {
                    broken.push(format!(
                        "there is no `{}`, which `{}` names",
                        place.path, entry.id
                    ));
                }
                if !wanted.insert(place.path.clone()) {
                    broken.push(format!("`{}` is named twice", place.path));
                }
            }
        }
    }
    let last = last_attempt(&case.recording);
    for id in OF_THE_RUN {
        let path = Evidence::path(id, last);
        if !case.recording.evidence.contains_key(&path) {
            broken.push(format!("there is no `{path}`"));
        }
        wanted.extend((1..=last).map(|attempt| Evidence::path(id, attempt)));
    }
    let other = case.recording.evidence.keys();
    let other = other.filter(|path| !wanted.contains(*path));
    broken.extend(other.map(|path| format!("no result names the evidence `{path}`")));
    broken
}

fn digests(case: &Case) -> Vec<String> {
    let wrong = |place: &&model::Evidence| {
        let digest = case.recording.digests.get(&place.path);
        digest.is_some_and(|digest| *digest != place.sha256)
    };
    case.entries()
        .filter_map(|entry| entry.evidence)
        .filter(wrong)
        .map(|place| {
            format!(
                "`{}` is not what the results name by its SHA-256",
                place.path
            )
        })
        .collect()
}

fn of_this_run(case: &Case) -> Vec<String> {
    let run = &case.results.run.id;
    case.recording
        .evidence
        .iter()
        .filter(|(_, evidence)| {
            evidence.run != *run
                || evidence.api_version != crate::API_VERSION
                || evidence.kind != "Evidence"
        })
        .map(|(path, evidence)| {
            format!("`{path}` is of the run `{}`, not of `{run}`", evidence.run)
        })
        .collect()
}

fn context(case: &Case) -> Vec<String> {
    let (run, context) = (&case.results.run, &case.recording.context);
    let mut broken = Vec::new();
    let mut hold = |what: &str, said: &str, is: &str| {
        if said != is {
            broken.push(format!(
                "the {what} is `{said}`, and `{is}` in the evidence"
            ));
        }
    };
    hold("run's id", &run.id, &context.id);
    hold("release", &run.release, &context.release);
    let started = run.started.as_second().to_string();
    hold(
        "second of the start",
        &started,
        &context.started.to_string(),
    );
    let said: BTreeMap<&str, f64> = run.timeouts.iter().map(|(n, s)| (n.as_str(), *s)).collect();
    let is: BTreeMap<&str, f64> = timeouts::ALL
        .iter()
        .map(|named| (named.name, model::seconds(context.timeout(named.name))))
        .collect();
    if said != is {
        broken.push("the time-outs are not those of the evidence".to_owned());
    }
    broken
}

fn facts(case: &Case) -> Vec<String> {
    let facts = match &case.facts {
        Ok(facts) => facts,
        Err(why) => return vec![format!("the cluster cannot be looked at again: {why}")],
    };
    let results = &case.results;
    let mut broken = Vec::new();
    if *facts != case.recording.context.facts {
        broken.push("what the run went by is not what was found on the cluster".to_owned());
    }
    if results.cluster != engine::cluster_of(facts) {
        broken.push("the cluster is not the one that was found".to_owned());
    }
    if results.features != engine::features(facts) {
        broken.push("the features are not those that were found".to_owned());
    }
    if let Ok(plan) = &case.plan
        && results.components != engine::components(plan, facts)
    {
        broken.push("the components are not those that were found".to_owned());
    }
    broken
}

fn reference(case: &Case) -> Vec<String> {
    let discovered = case.recording.evidence.values();
    let marked = discovered
        .filter(|evidence| evidence.id == "run/discovery")
        .flat_map(|evidence| &evidence.exchanges)
        .filter_map(answer)
        .any(|answer| answer.text().contains(REFERENCE_NODE));
    match (case.results.run.target, marked) {
        (Target::Cluster, true) => {
            vec!["the evidence is of the embedded reference, not of a cluster".to_owned()]
        }
        (Target::Reference, false) => {
            vec!["the evidence is not of the embedded reference".to_owned()]
        }
        (Target::Cluster, false) | (Target::Reference, true) => Vec::new(),
    }
}

fn images(case: &Case) -> Vec<String> {
    let needs_image = case
        .results
        .setups
        .iter()
        .any(|setup| setup.id == checks::IMAGE.id);
    let is = [model::Image {
        name: case.recording.context.image.clone(),
        digest: case.image.clone().filter(|_| needs_image),
    }];
    if case.results.images == is {
        Vec::new()
    } else {
        vec!["the images are not those of the evidence".to_owned()]
    }
}

fn namespaces(case: &Case) -> Vec<String> {
    let made = case.namespaces.iter().cloned();
    made.filter_map(Result::err).collect()
}

fn leftovers(case: &Case) -> Vec<String> {
    match &case.leftovers {
        Err(why) => vec![format!("the clean-up cannot be followed: {why}")],
        Ok(left) if *left == case.results.leftovers => Vec::new(),
        Ok(left) => vec![format!(
            "{} objects were left behind, and {} are told",
            left.len(),
            case.results.leftovers.len()
        )],
    }
}

fn outcomes(case: &Case) -> Vec<String> {
    let broken = case.replayed.iter();
    broken
        .filter_map(|(id, again)| Some(format!("`{id}`: {}", again.as_ref().err()?)))
        .collect()
}

/// They count for nothing, and are still not to be told otherwise than they were.
fn plugins(case: &Case) -> Vec<String> {
    let followed = case.plugins.iter();
    let mut broken: Vec<String> = followed
        .filter_map(|(name, again)| Some(format!("`{name}`: {}", again.as_ref().err()?)))
        .collect();
    let told = case.results.plugins.iter().map(|plugin| &plugin.name);
    let had = case.recording.context.plugins.iter();
    let had = had.map(|plugin| &plugin.name);
    // A run that only looks has none.
    let looks = case.results.run.planned.is_empty();
    if looks && told.len() > 0 || !looks && case.results.run.complete && !told.eq(had) {
        broken.push("the plugins are not those that the run had, in order".to_owned());
    }
    broken
}

fn not_applicable(case: &Case) -> Vec<String> {
    let (Ok(facts), Ok(plan)) = (&case.facts, &case.plan) else {
        return Vec::new();
    };
    let mut broken = Vec::new();
    for (check, requirement) in case.known() {
        let asked = case
            .evidence(check.evidence.as_ref())
            .is_some_and(|e| !e.exchanges.is_empty() || !e.uses.is_empty());
        match engine::not_to_run(requirement, &plan.release, facts) {
            Some(stop) => {
                let is = check.clone().ended(&Err(stop));
                if is != *check || asked {
                    broken.push(format!(
                        "`{}` is {}, and the requirement is {} here",
                        check.id, check.outcome, is.outcome
                    ));
                }
            }
            None if check.outcome == Outcome::NotApplicable && !asked => {
                broken.push(format!(
                    "`{}` was left out, and concerns this cluster",
                    check.id
                ));
            }
            None => {}
        }
    }
    broken
}

fn run_times(case: &Case) -> Vec<String> {
    let run = &case.results.run;
    let mut broken = Vec::new();
    if run.finished <= run.started {
        broken.push("the run ended before it began".to_owned());
    }
    if run.finished.duration_since(case.options.now) > SKEW {
        broken.push(format!(
            "the run ended at {}, which has not come yet",
            run.finished
        ));
    }
    if let Some(resumed) = &run.resumed
        && !(run.started..=run.finished).contains(&resumed.at)
    {
        broken.push("the run was gone on with outside its time".to_owned());
    }
    broken
}

fn exchange_times(case: &Case) -> Vec<String> {
    let length = case
        .results
        .run
        .finished
        .duration_since(case.results.run.started)
        .as_millis();
    let mut broken = Vec::new();
    for (path, evidence) in &case.recording.evidence {
        let mut last = evidence.started;
        if evidence.started > evidence.deadline {
            broken.push(format!("`{path}` begins after its time was up"));
        }
        let judged = evidence.exchanges.iter();
        for exchange in judged.chain(&evidence.collected).chain(&evidence.removed) {
            let what = || format!("`{path}`: {}", exchange.asked.line());
            // A clean-up does several things at once, and records each when it is done.
            let ordered = exchange.at >= last || evidence.id == "run/cleanup";
            if !ordered || exchange.end < exchange.at {
                broken.push(format!("{} is out of order", what()));
            }
            last = exchange.at;
            if i128::from(exchange.end) > length {
                broken.push(format!("{} was answered after the run's end", what()));
            }
            if let Reply::Lines { lines, .. } = &exchange.reply {
                let times = || lines.iter().map(|(at, _)| *at);
                let within = times().all(|at| (exchange.at..=exchange.end).contains(&at));
                if !within || !times().is_sorted() {
                    broken.push(format!("{} gave lines out of order", what()));
                }
            }
        }
        let late = |exchange: &&Exchange| exchange.at > evidence.deadline;
        if let Some(exchange) = evidence.exchanges.iter().find(late) {
            broken.push(format!(
                "`{path}`: {} was asked after its time was up",
                exchange.asked.line()
            ));
        }
    }
    broken
}

fn starts(case: &Case) -> Vec<String> {
    let mut broken = Vec::new();
    for entry in case.entries() {
        let Some(evidence) = case.evidence(entry.evidence) else {
            continue;
        };
        let is = at(case, evidence.started);
        if is != Some(entry.started) {
            broken.push(format!("`{}` did not begin when it says", entry.id));
        }
    }
    broken
}

/// The time of day of a moment in the run.
fn at(case: &Case, ms: u64) -> Option<Timestamp> {
    let since = std::time::Duration::from_millis(ms);
    case.results.run.started.checked_add(since).ok()
}

fn deadlines(case: &Case) -> Vec<String> {
    let context = &case.recording.context;
    let limit = |id: &str| match id {
        "run/discovery" => Some(std::time::Duration::from_secs(60)),
        "run/namespace" => Some(context.timeout("namespace") * 2),
        "run/cleanup" => Some(context.timeout("cleanup") * 2),
        id if id.starts_with("setup/") => {
            checks::find_setup(id).map(|setup| context.extended(setup.limit))
        }
        id => match id.strip_prefix(PLUGINS) {
            Some(name) => {
                let plugin = context.plugins.iter().find(|plugin| plugin.name == name)?;
                Some(engine::plugins::limit(plugin))
            }
            None => Some(context.limit(case.specs.requirement(id)?)),
        },
    };
    let all = case.recording.evidence.iter();
    all.filter(|(_, evidence)| {
        let is = evidence.deadline.saturating_sub(evidence.started);
        limit(&evidence.id).is_some_and(|limit| millis(limit) != is)
    })
    .map(|(path, _)| format!("`{path}` had another time than it is given"))
    .collect()
}

fn order(case: &Case) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, evidence) in &case.recording.evidence {
        let needs = checks::find(&evidence.id)
            .map(|check| check.needs)
            .or_else(|| checks::find_setup(&evidence.id).map(|setup| setup.needs));
        let needs: BTreeSet<&str> = needs.unwrap_or_default().iter().map(|s| s.id).collect();
        let uses: BTreeSet<&str> = evidence.uses.iter().map(|(id, _)| id.as_str()).collect();
        // What is decided before it is executed builds on nothing.
        if (uses != needs && !(uses.is_empty() && evidence.exchanges.is_empty()))
            || uses.len() != evidence.uses.len()
        {
            broken.push(format!("`{path}` does not build on what its code needs"));
        }
        for (id, attempt) in &evidence.uses {
            let Some(used) = case.recording.evidence.get(&Evidence::path(id, *attempt)) else {
                broken.push(format!(
                    "`{path}` builds on `{id}`, of which there is no evidence"
                ));
                continue;
            };
            let there = used.exchanges.iter().map(|exchange| exchange.end).max();
            // Set-ups begin beside the image's: what they made counts only once a pod of it has run.
            let beside = *id == checks::IMAGE.id && evidence.id.starts_with("setup/");
            if !beside && there.is_some_and(|there| there > evidence.started) {
                broken.push(format!("`{path}` began before `{id}` was there"));
            }
        }
    }
    broken
}

fn wire(case: &Case) -> Vec<String> {
    if case.results.run.target == Target::Reference {
        // It answers from the same process.
        return Vec::new();
    }
    let (mut count, mut took) = (0_u64, 0_u64);
    for evidence in case.recording.evidence.values() {
        for exchange in evidence.exchanges.iter().filter(|e| answer(e).is_some()) {
            count += 1;
            took = took.saturating_add(exchange.end.saturating_sub(exchange.at));
        }
    }
    if count > 0 && took.saturating_mul(ANSWERS_PER_MS) < count {
        vec![format!(
            "{count} answers came in {took} ms: no network is that fast"
        )]
    } else {
        Vec::new()
    }
}

/// Who dates a run anew to make it count longer would have to date the cluster's own stamps too, each of them.
fn cluster_times(case: &Case) -> Vec<String> {
    let namespace = case.recording.evidence.iter();
    let mut broken = Vec::new();
    for (path, evidence) in namespace.filter(|(_, e)| !e.id.starts_with("run/discovery")) {
        for exchange in &evidence.exchanges {
            let created = answer(exchange)
                .filter(|answer| answer.status == 201)
                .and_then(|answer| answer.json()["metadata"]["creationTimestamp"].as_str())
                .and_then(|stamp| stamp.parse::<Timestamp>().ok());
            let (Some(created), Some(answered)) = (created, at(case, exchange.end)) else {
                continue;
            };
            if created.duration_since(answered).abs() > CLUSTER_SKEW {
                broken.push(format!(
                    "`{path}`: the cluster says that it was {created} when by the run it was {answered}"
                ));
            }
        }
    }
    broken
}

fn attempts(case: &Case) -> Vec<String> {
    let mut broken = Vec::new();
    for check in &case.results.checks {
        let number = |place: Option<&model::Evidence>| case.evidence(place).map(|e| e.attempt);
        let mut made: Vec<Option<u32>> = check
            .attempts
            .iter()
            .map(|attempt| number(attempt.evidence.as_ref()))
            .collect();
        made.push(number(check.evidence.as_ref()));
        if !made.is_sorted_by(|earlier, later| earlier < later) {
            broken.push(format!("`{}`: its attempts are not in order", check.id));
        }
        let earlier = (check.attempts.iter()).find(|attempt| attempt.run != case.results.run.id);
        if let Some(attempt) = earlier {
            broken.push(format!(
                "`{}`: an attempt is of the run `{}`",
                check.id, attempt.run
            ));
        }
    }
    broken
}

/// The answer of an exchange, if there is one.
fn answer(exchange: &Exchange) -> Option<&Answer> {
    match &exchange.reply {
        Reply::Answer(answer) => Some(answer),
        Reply::Lines { .. } | Reply::Error(_) => None,
    }
}
