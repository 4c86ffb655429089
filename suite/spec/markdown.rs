//! `CONFORMANCE.md`: the requirements as a document.

use std::fmt;

use super::{Component, Level, MarkStatus, Requirement, Specs};

/// The whole of `CONFORMANCE.md`. `coverage` says how much of the components' APIs the checks exercise.
pub fn markdown(specs: &Specs, coverage: &str) -> String {
    Document(specs, coverage).to_string()
}

struct Document<'a>(&'a Specs, &'a str);

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Document(specs, coverage) = self;
        introduction(f, specs)?;
        writeln!(f, "{COVERAGE}\n{}", coverage.trim_end())?;
        for component in specs.components() {
            let of = |requirement: &&Requirement| requirement.component() == component;
            let requirements: Vec<&Requirement> = specs.requirements().iter().filter(of).collect();
            chapter(f, specs, component, &requirements)?;
        }
        Ok(())
    }
}

fn introduction(out: &mut fmt::Formatter<'_>, specs: &Specs) -> fmt::Result {
    let program = specs.program();
    let mark = &program.mark;
    writeln!(out, "# What conformance means")?;
    writeln!(
        out,
        "\n<!-- Generated from specs/: change it there, then run `UPDATE=1 cargo test --lib spec`. -->\n"
    )?;
    writeln!(
        out,
        "A distribution of Kubeflow is conformant when it meets the requirements below. Each is one normative sentence \
         that comes from a public document, has an id that never changes, and is proven by exactly one check of \
         `kfconform`. `kfconform explain ID` prints what stands here about it.\n"
    )?;
    writeln!(out, "## The mark\n")?;
    let status = match mark.status {
        MarkStatus::Proposed => "proposed",
        MarkStatus::Decided => "decided",
    };
    writeln!(
        out,
        "The mark's name is *{}* ({status}). {}",
        mark.name, mark.note
    )?;
    writeln!(
        out,
        "\nA result is valid for {} months, and a distribution is reviewed every {} months; it then has {} days to mend \
         what was found. A submission is about one of the {} newest releases: {}.\n",
        program.validity_months,
        program.review_months,
        program.cure_days,
        program.supported_releases,
        join(
            specs
                .supported_releases()
                .iter()
                .rev()
                .map(|release| &release.name)
        ),
    )?;
    for voter in &program.voters {
        writeln!(
            out,
            "- The [{}]({}) decides {}.",
            voter.body, voter.source, voter.decides
        )?;
    }
    writeln!(out, "\nThe documents that govern it:\n")?;
    for document in &program.documents {
        writeln!(out, "- [{}]({})", document.title, document.url)?;
    }

    writeln!(out, "\n## What each profile needs\n")?;
    writeln!(
        out,
        "A profile is the set of requirements that a mark needs, as `--profile` takes it. For a release, it takes every \
         requirement that holds for that release by its own *since* and *until*; what `certified` comes to is frozen in \
         `specs/frozen/`.\n"
    )?;
    let releases: Vec<&str> = specs
        .releases()
        .iter()
        .map(|release| release.name.as_str())
        .collect();
    writeln!(out, "| Profile | | {} |", releases.join(" | "))?;
    writeln!(out, "|---|---|{}", "--:|".repeat(releases.len()))?;
    for profile in specs.profiles() {
        let counts = specs
            .releases()
            .iter()
            .map(|release| specs.profile_ids(profile, &release.name).len());
        writeln!(
            out,
            "| `{}` | {} | {} |",
            profile.name,
            cell(&profile.about),
            join_with(counts, " | ")
        )?;
    }

    out.write_str(TERMS)?;
    writeln!(out, "\n## The requirements\n")?;
    writeln!(
        out,
        "| Component | Owner | Core | Extended |\n|---|---|--:|--:|"
    )?;
    for component in specs.components() {
        let count = |level: Level| {
            let of = |requirement: &&Requirement| {
                requirement.component() == component && requirement.level == level
            };
            specs.requirements().iter().filter(of).count()
        };
        writeln!(
            out,
            "| [{title}](#{}) | {} | {} | {} |",
            anchor(component.title()),
            cell(specs.group(component).unwrap_or_default()),
            count(Level::Core),
            count(Level::Extended),
            title = component.title(),
        )?;
    }
    Ok(())
}

const TERMS: &str = "
## Levels, outcomes, verdict

A requirement's level is `core` (the mark needs it, and it says MUST) or `extended` (it is checked and reported; often it is
behind a feature, which is found on the cluster and never concluded from a version).

| Outcome of a check | means |
|---|---|
| `passed` | the distribution meets the requirement |
| `failed` | the distribution is wrong; the message says what was expected and what was seen |
| `not-applicable` | the requirement is about a feature that the distribution does not have; harmless, with a reason |
| `could-not-run` | the distribution could not be judged: no permission, an image that cannot be pulled, a cluster that cannot be reached; never harmless, with a reason |

| Verdict of a run | means | exit code |
|---|---|--:|
| `conformant` | every requirement of the profile for the release passed | 0 |
| `non-conformant` | at least one of them failed | 1 |
| `incomplete` | neither: something could not run, was left out, or does not apply although the profile needs it | 3 |

A usage error exits with 2. Nothing is skipped silently, and an empty run is `incomplete`.

A known deviation is a defect of a released component that is known upstream. It explains a failure; it does not excuse one.

## Challenging a requirement

A requirement that says more than its sources, a check that proves something else than its requirement says, or a distribution
that is right and fails: [reports/README.md](reports/README.md) says how to challenge it and who answers. A requirement that
is withdrawn keeps its id for ever; ids are never reused or renamed.
";

const COVERAGE: &str = "
## How much of the APIs is exercised

What the components' APIs offer is listed in [`specs/coverage/api.yaml`](specs/coverage/api.yaml). Exercised is what some check asks for when everything
runs on the reference, whether it is granted or, as many requirements want it, refused. `kfconform coverage RESULT` says the same of a
result, and with `--by` by which requirement.
";

fn chapter(
    out: &mut fmt::Formatter<'_>,
    specs: &Specs,
    component: Component,
    requirements: &[&Requirement],
) -> fmt::Result {
    writeln!(out, "\n## {}\n", component.title())?;
    if let Some(group) = specs.group(component) {
        writeln!(out, "Owner: {group}.\n")?;
    }
    let mut features = specs.features(component).peekable();
    if features.peek().is_some() {
        writeln!(
            out,
            "| Feature | What it is | How it is found |\n|---|---|---|"
        )?;
        for (name, feature) in features {
            writeln!(
                out,
                "| `{name}` | {} | {} |",
                cell(&feature.title),
                cell(&feature.found)
            )?;
        }
        writeln!(out)?;
    }
    for requirement in requirements {
        let Requirement {
            id, title, level, ..
        } = requirement;
        writeln!(out, "- [`{id}`](#{}) ({level}) {title}", anchor(id))?;
    }
    for requirement in requirements {
        entry(out, requirement)?;
    }
    Ok(())
}

fn entry(out: &mut fmt::Formatter<'_>, requirement: &Requirement) -> fmt::Result {
    writeln!(out, "\n### `{}`\n", requirement.id)?;
    writeln!(out, "{}\n", one_line(&requirement.text))?;
    let mut facts = vec![format!("**{}**", requirement.level)];
    facts.push(match &requirement.until {
        Some(until) => format!("Kubeflow {} to {until}", requirement.since),
        None => format!("since Kubeflow {}", requirement.since),
    });
    if let Some(feature) = &requirement.feature {
        facts.push(format!("feature `{feature}`"));
    }
    writeln!(out, "{}\n", facts.join(" · "))?;
    writeln!(out, "- *Why:* {}", one_line(&requirement.why))?;
    writeln!(out, "- *How it is checked:* {}", one_line(&requirement.how))?;
    writeln!(
        out,
        "- *What usually breaks it:* {}",
        one_line(&requirement.breaks)
    )?;
    let sources = requirement
        .sources
        .iter()
        .map(|source| format!("<{source}>"));
    writeln!(out, "- *Sources:* {}", join(sources))?;
    for known in &requirement.deviations {
        let says = one_line(&known.says);
        writeln!(
            out,
            "- *Known deviation:* {} `{}`: {says} (<{}>)",
            known.component.title(),
            known.versions,
            known.issue
        )?;
    }
    Ok(())
}

/// The fragment that a heading gets where Markdown is rendered.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| {
        if c == ' ' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    })
    .collect()
}

/// Text in a cell of a table, which ends at a bar or a line's end.
fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    join_with(items, ", ")
}

fn join_with<T: fmt::Display>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(between)
}
