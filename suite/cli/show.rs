//! Commands that only show something.

use std::{fmt::Write, io::IsTerminal};

use clap::CommandFactory;
use serde_json::{Value, json};

use super::{
    Done, Failure,
    args::{
        Cli, Completer, CompletionsArgs, EvidenceArgs, ExplainArgs, Format, ImagesArgs, ListArgs,
        ManArgs, PlanArgs, RbacArgs, ReportArgs, ReportFormat,
    },
    exit_code, print, print_json, program_name,
    run::{image, specs},
};
use crate::{
    checks,
    cluster::{
        Config, Evidence, Exchange,
        exchange::{Body, Reply},
        rbac,
    },
    engine::{Plan, Recording, plan as plan_of, recording::EVIDENCE_FILE},
    outcome::shorten,
    reference,
    report::{
        console, html, junit, markdown,
        model::{self, Results},
    },
    seal::product::{PRODUCT_FILE, Product},
    spec::{self, Specs, select},
};

pub(super) fn list(args: &ListArgs) -> Done {
    let (specs, _) = specs(args.specs.as_ref())?;
    let all: Vec<&str> = specs.requirements().iter().map(|r| r.id.as_str()).collect();
    let ids = select(&all, &args.only, &[]).map_err(Failure::usage)?;
    let release = args
        .release
        .as_ref()
        .map(|r| specs.release(r).map(|r| r.name.clone()))
        .transpose()
        .map_err(Failure::usage)?;
    if let Some(name) = &args.profile {
        specs.profile(name).map_err(Failure::usage)?;
    }
    let rows: Vec<Value> = specs
        .requirements()
        .iter()
        .filter(|r| ids.contains(&r.id.as_str()))
        .filter(|r| release.as_ref().is_none_or(|release| r.holds_for(release)))
        .map(|r| {
            let profiles: Vec<&str> =
                specs.profiles().iter().filter(|p| p.takes(r)).map(|p| p.name.as_str()).collect();
            (r, profiles)
        })
        .filter(|(_, profiles)| args.profile.as_ref().is_none_or(|name| profiles.contains(&name.as_str())))
        .map(|(r, profiles)| {
            json!({
                "id": r.id, "component": r.component().as_str(), "level": r.level.as_str(), "profile": profiles,
                "since": r.since.as_str(), "title": r.title,
            })
        })
        .collect();
    match args.format {
        Format::Json => print_json(&rows)?,
        Format::Text => {
            let width = rows
                .iter()
                .filter_map(|r| r["id"].as_str())
                .map(str::len)
                .max()
                .unwrap_or(0)
                .min(100);
            let mut text = String::new();
            for row in &rows {
                let field = |key: &str| row[key].as_str().unwrap_or_default();
                let _ = writeln!(
                    text,
                    "{:width$}  {:8}  {}",
                    field("id"),
                    field("level"),
                    field("title")
                );
            }
            let _ = writeln!(text, "{} requirements", rows.len());
            print(&text)?;
        }
    }
    Ok(exit_code::OK)
}

pub(super) fn explain(args: &ExplainArgs) -> Done {
    let specs = Specs::embedded();
    let Some(requirement) = specs.requirement(&args.id) else {
        let known = specs.requirements().iter().map(|r| r.id.as_str());
        return Err(Failure::usage(spec::Unknown::new(
            "requirement",
            &args.id,
            known,
        )));
    };
    match args.format {
        Format::Json => print_json(requirement)?,
        Format::Text => {
            let own = reference::faults().filter(|fault| fault.requirement() == requirement.id);
            let says: Vec<&str> = own.map(|fault| fault.says).collect();
            // Lines longer than this are hard to read, however wide the terminal is.
            let width = super::run::style(true).width.min(100);
            print(&spec::explain(specs, requirement, &says, width.into()))?;
        }
    }
    Ok(exit_code::OK)
}

pub(super) fn plan(args: &PlanArgs) -> Done {
    let (specs, _) = specs(args.select.specs.as_ref())?;
    let profile = specs
        .profile(&args.select.profile)
        .map_err(Failure::usage)?;
    let release = match &args.select.release {
        Some(name) => specs.release(name).map_err(Failure::usage)?,
        None => specs.latest_release(),
    };
    let plan = Plan::new(
        &specs,
        profile,
        &release.name,
        &args.select.only,
        &args.select.skip,
    )
    .map_err(Failure::usage)?;
    let setups = plan_of::setups(&plan.items);
    if args.format == Format::Json {
        print_json(&json!({
            "profile": plan.profile,
            "release": plan.release.as_str(),
            "checks": plan.items.iter().map(|p| json!({
                "id": p.requirement.id,
                "needs": p.check.needs.iter().map(|s| s.id).collect::<Vec<_>>(),
                "budgetSeconds": p.requirement.budget.map(|b| b.as_secs()),
            })).collect::<Vec<_>>(),
            "setups": setups.iter().map(|s| json!({"id": s.id, "needs": s.needs.iter().map(|n| n.id).collect::<Vec<_>>(), "limitSeconds": s.limit.as_secs()})).collect::<Vec<_>>(),
            "timeouts": checks::timeouts::ALL.iter().map(|t| json!({"name": t.name, "seconds": t.seconds, "what": t.what})).collect::<Vec<_>>(),
        }))?;
        return Ok(exit_code::OK);
    }
    let mut text = format!(
        "profile {} for Kubeflow {}: {} checks\n",
        plan.profile,
        plan.release,
        plan.items.len()
    );
    for planned in &plan.items {
        let needs: Vec<&str> = planned.check.needs.iter().map(|s| s.id).collect();
        let _ = writeln!(
            text,
            "  {}{}",
            planned.requirement.id,
            if needs.is_empty() {
                String::new()
            } else {
                format!("  after {}", needs.join(", "))
            }
        );
    }
    let _ = writeln!(text, "{} shared set-ups, each made once:", setups.len());
    for setup in &setups {
        let readers = plan
            .items
            .iter()
            .filter(|p| p.check.needs.iter().any(|s| s.id == setup.id))
            .count();
        let _ = writeln!(text, "  {}  read by {readers}", setup.id);
    }
    text.push_str("timeouts (--timeout NAME=DURATION):\n");
    for named in checks::timeouts::ALL {
        let _ = writeln!(
            text,
            "  {:24} {:>4}s  {}",
            named.name, named.seconds, named.what
        );
    }
    print(&text)?;
    Ok(exit_code::OK)
}

pub(super) fn images(args: &ImagesArgs) -> Done {
    let image = image(args.registry.as_deref(), &Config::default());
    match args.format {
        Format::Json => {
            print_json(&[json!({"name": image, "what": "everything that runs in the cluster"})])?;
        }
        Format::Text => print(&format!("{image}\n"))?,
    }
    Ok(exit_code::OK)
}

pub(super) fn rbac(args: &RbacArgs) -> Done {
    let account = match &args.bind {
        Some(account) => Some(
            account
                .split_once('/')
                .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
                .ok_or_else(|| {
                    Failure::usage(format!("`--bind {account}` is not NAMESPACE/NAME"))
                })?,
        ),
        None => None,
    };
    let manifests = rbac::manifests(account);
    match args.format {
        Format::Json => {
            print_json(&json!({"apiVersion": "v1", "kind": "List", "items": manifests}))?;
        }
        Format::Text => {
            let documents: Result<Vec<String>, _> =
                manifests.iter().map(serde_saphyr::to_string).collect();
            print(&documents.map_err(Failure::incomplete)?.join("---\n"))?;
        }
    }
    Ok(exit_code::OK)
}

pub(super) fn completions(args: &CompletionsArgs) -> Done {
    let mut out = Vec::new();
    match args.shell {
        Completer::Kubectl => {
            print(
                "#!/bin/sh\n# kubectl asks this for completions: put it on the path as kubectl_complete-kfconform.\nexec kubectl-kfconform __complete \"$@\"\n",
            )?;
            return Ok(exit_code::OK);
        }
        Completer::Of(shell) => {
            clap_complete::generate(shell, &mut Cli::command(), program_name(), &mut out);
        }
    }
    print(&String::from_utf8_lossy(&out))?;
    Ok(exit_code::OK)
}

/// What may follow the words of a command, as `kubectl` takes it from a plugin: lines, and what to do with them.
pub(super) fn complete(words: &[String]) -> Done {
    const NO_FILES: &str = ":4";
    const FILES: &str = ":0";
    let (last, before) = words
        .split_last()
        .map_or(("", words), |(last, before)| (last.as_str(), before));
    let root = Cli::command();
    let mut command = &root;
    for word in before {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let line = |name: &str, about: Option<&clap::builder::StyledStr>| {
        let about = about.map(ToString::to_string).unwrap_or_default();
        let about = about.lines().next().unwrap_or_default().to_owned();
        if about.is_empty() {
            format!("{name}\n")
        } else {
            format!("{name}\t{about}\n")
        }
    };
    let mut text = String::new();
    if last.starts_with('-') {
        let flags = command.get_arguments().filter(|a| !a.is_hide_set());
        for (name, flag) in flags.filter_map(|f| Some((format!("--{}", f.get_long()?), f))) {
            if name.starts_with(last) {
                text.push_str(&line(&name, flag.get_help()));
            }
        }
    } else {
        let commands = command.get_subcommands().filter(|c| !c.is_hide_set());
        for command in commands.filter(|c| c.get_name().starts_with(last)) {
            text.push_str(&line(command.get_name(), command.get_about()));
        }
    }
    // Where no command can follow, a file may.
    let then = if command.has_subcommands() || last.starts_with('-') {
        NO_FILES
    } else {
        FILES
    };
    print(&format!("{text}{then}\n"))?;
    Ok(exit_code::OK)
}

pub(super) fn man(args: &ManArgs) -> Done {
    if let Some(dir) = &args.out {
        let unwritable =
            |e: std::io::Error| Failure::usage(format!("cannot write to {}: {e}", dir.display()));
        std::fs::create_dir_all(dir).map_err(unwritable)?;
        clap_mangen::generate_to(Cli::command(), dir).map_err(unwritable)?;
        return Ok(exit_code::OK);
    }
    let mut out = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut out)
        .map_err(Failure::incomplete)?;
    print(&String::from_utf8_lossy(&out))?;
    Ok(exit_code::OK)
}

pub(super) async fn evidence(args: EvidenceArgs) -> Done {
    let path = args.dir.join("evidence.tar.gz");
    let recording =
        Recording::read(&path).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    if args.replay {
        return replay(&args, &recording).await;
    }
    let Some(id) = &args.id else {
        let mut text = String::new();
        for (path, evidence) in &recording.evidence {
            let _ = writeln!(
                text,
                "{:5} exchanges  {}",
                evidence.exchanges.len(),
                path.trim_end_matches(".json")
            );
        }
        match args.format {
            Format::Json => print_json(&recording.evidence.keys().collect::<Vec<_>>())?,
            Format::Text => print(&text)?,
        }
        return Ok(exit_code::OK);
    };
    let evidence = recording
        .evidence
        .get(&format!("{id}.json"))
        .ok_or_else(|| {
            let known = recording
                .evidence
                .keys()
                .map(|k| k.trim_end_matches(".json"));
            Failure::usage(spec::Unknown::new("evidence", id, known))
        })?;
    match args.format {
        Format::Json => print_json(evidence)?,
        Format::Text => print(&readable(evidence))?,
    }
    Ok(exit_code::OK)
}

/// A result once more, made from what its folder holds.
pub(super) fn report(args: &ReportArgs) -> Done {
    let results = Results::read(&args.dir.join(model::RESULTS_FILE)).map_err(Failure::usage)?;
    match args.format {
        ReportFormat::Json => print_json(&results)?,
        ReportFormat::Junit => print(&junit::render(&results))?,
        ReportFormat::Markdown => print(&markdown::markdown(&results))?,
        ReportFormat::Github => print(&markdown::annotations(&results))?,
        ReportFormat::Html => {
            let recording = Recording::read(&args.dir.join(EVIDENCE_FILE));
            let exchanges = recording.map_or_else(|_| html::Exchanges::new(), |r| r.evidence);
            let product = Product::read(&args.dir.join(PRODUCT_FILE)).ok();
            print(&html::render(&html::Report {
                results: &results,
                specs: Specs::embedded(),
                exchanges: &exchanges,
                whose: product.as_ref().map(Product::whose),
            }))?;
        }
        ReportFormat::Text => {
            let style = super::run::style(std::io::stdout().is_terminal());
            print(&console::summary(&results, Some(&args.dir), style))?;
        }
    }
    Ok(results.verdict.exit_code())
}

/// The exchanges of one check as a person reads them.
fn readable(evidence: &Evidence) -> String {
    let mut text = format!(
        "{} of run {}, attempt {}\n",
        evidence.id, evidence.run, evidence.attempt
    );
    for (id, attempt) in &evidence.uses {
        let _ = writeln!(
            text,
            "builds on {}",
            Evidence::path(id, *attempt).trim_end_matches(".json")
        );
    }
    for exchange in &evidence.exchanges {
        exchange_text(exchange, &mut text);
    }
    let after = [
        ("collected after it had failed", &evidence.collected),
        ("removed since nobody needed it any more", &evidence.removed),
    ];
    for (what, exchanges) in after.into_iter().filter(|(_, all)| !all.is_empty()) {
        let _ = writeln!(text, "\n{what}:");
        for exchange in exchanges {
            exchange_text(exchange, &mut text);
        }
    }
    crate::report::text::printable(&text).into_owned()
}

fn exchange_text(exchange: &Exchange, text: &mut String) {
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let asked = &exchange.asked;
    let _ = writeln!(
        text,
        "\n{:>9} s  {} {} {}",
        seconds(exchange.at),
        asked.method,
        asked.to,
        asked.path
    );
    if !asked.body.is_empty() {
        let _ = writeln!(text, "             > {}", body_text(&asked.body));
    }
    match &exchange.reply {
        Reply::Answer(answer) => {
            let _ = writeln!(text, "{:>9} s  {}", seconds(exchange.end), answer.status);
            if !answer.body.is_empty() {
                let _ = writeln!(text, "             < {}", body_text(&answer.body));
            }
        }
        Reply::Lines { lines, ended } => {
            for (at, line) in lines {
                let _ = writeln!(
                    text,
                    "{:>9} s  < {}",
                    seconds(*at),
                    shorten(&line.to_string(), 2000)
                );
            }
            let _ = writeln!(
                text,
                "{:>9} s  stream ended: {ended:?}",
                seconds(exchange.end)
            );
        }
        Reply::Error(error) => {
            let _ = writeln!(text, "{:>9} s  no answer: {error}", seconds(exchange.end));
        }
    }
}

fn body_text(body: &Body) -> String {
    match body {
        Body::Empty => String::new(),
        Body::Json(value) => shorten(&value.to_string(), 4000),
        Body::Text(text) => shorten(text, 4000),
        Body::Base64(bytes) => format!("{} bytes that are not text", bytes.len() / 4 * 3),
    }
}

/// Executes the checks of a result again over its evidence and compares.
async fn replay(args: &EvidenceArgs, recording: &Recording) -> Done {
    let results = Results::read(&args.dir.join(model::RESULTS_FILE)).map_err(Failure::usage)?;
    let replay = recording.replay();
    let (mut same, mut other) = (0, Vec::new());
    for check in results
        .checks
        .iter()
        .filter(|c| args.id.as_ref().is_none_or(|id| *id == c.id))
    {
        match replay.judge(check).await {
            Ok(()) => same += 1,
            Err(why) => other.push(format!("{}: {why}", check.id)),
        }
    }
    match args.format {
        Format::Json => print_json(&json!({"same": same, "different": other}))?,
        Format::Text => {
            let lines: String = other.iter().map(|l| format!("  {l}\n")).collect();
            print(&format!(
                "{same} checks come to the same outcome over their evidence, {} do not\n{lines}",
                other.len()
            ))?;
        }
    }
    Ok(if other.is_empty() && same > 0 {
        exit_code::OK
    } else {
        exit_code::NO
    })
}
