//! Each reader with mutated files: no panic, not for ever, and whatever is accepted is written again to the same bytes.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    path::Path,
    sync::Arc,
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use kfconform::{
    checks::{self, RunContext},
    cluster::{Body, Config, Evidence, redact::Redactor},
    engine::Recording,
    outcome::{Outcome, Stop},
    report::{
        CheckResult, console, html, junit,
        model::{self, Results},
    },
    review::{self, Verdict},
    seal::{PrivateKey, Product, PublicKey, bundle::Bundle, folder, statement::Statement},
    spec::Specs,
};
use proptest::{prelude::*, sample::Index, test_runner::TestCaseResult};
use serde_json::Value;

use crate::{
    base::{Base, base, options, runtime},
    common::PRODUCT,
    mutation::{Edit, edited, edits, fuzz, json_edited, json_edits, quickly},
};

/// Whether a text would act on a terminal or hide a part of itself.
pub fn acts(text: &str) -> bool {
    text.contains(|c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    })
}

/// What is made of results that were accepted.
fn reports(results: &Results) -> TestCaseResult {
    let text = results.to_json();
    let again = Results::parse(text.as_bytes(), Path::new("r"));
    prop_assert_eq!(again.expect("what was written is read").to_json(), text);

    let xml = quickly("junit", || junit::render(results))?;
    let mut reader = quick_xml::Reader::from_str(&xml);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => break,
            Ok(_) => {}
            Err(error) => prop_assert!(false, "junit.xml is not well-formed: {error}"),
        }
    }
    prop_assert!(!acts(&xml), "junit.xml");
    let page = quickly("html", || {
        html::render(&html::Report {
            results,
            specs: Specs::embedded(),
            exchanges: &base().recording.evidence,
            whose: None,
        })
    })?;
    prop_assert_eq!(page.matches("<script").count(), 1);
    prop_assert!(!page.contains("<img") && !page.contains("<svg/") && !acts(&page));
    let style = console::Style {
        color: false,
        width: 100,
    };
    let mut text = quickly("console", || {
        console::summary(results, Some(Path::new("out")), style)
    })?;
    for check in results.checks.iter().take(50) {
        text.push_str(&console::status_line(check, 1, 1, style));
    }
    prop_assert!(!acts(&text), "{text:?}");
    let mut judged = results.clone();
    judged.judge();
    Statement::new(&judged, None, Vec::new());
    Ok(())
}

#[test]
fn results_of_any_bytes() {
    let bytes = base().files["results.json"].clone();
    fuzz("results.json, bytes", edits(), |edits| {
        let edited = edited(&bytes, &edits);
        match quickly("reading", || Results::parse(&edited, Path::new("r")))? {
            Ok(results) => reports(&results),
            Err(_) => Ok(()),
        }
    });
}

#[test]
fn results_of_any_values() {
    let value = serde_json::to_value(&base().results).expect("JSON");
    fuzz("results.json, values", json_edits(), |edits| {
        let text = json_edited(&value, &edits).to_string();
        match quickly("reading", || {
            Results::parse(text.as_bytes(), Path::new("r"))
        })? {
            Ok(results) => reports(&results),
            Err(_) => Ok(()),
        }
    });
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    GzDecoder::new(bytes)
        .read_to_end(&mut out)
        .expect("it is gzip");
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("written");
    gzip.finish().expect("written")
}

/// What is accepted is what the suite packs.
fn unpacked(archive: &[u8]) -> TestCaseResult {
    if let Ok(recording) = quickly("unpacking", || Recording::unpack(archive))? {
        let again = recording.pack().expect("it is packed");
        prop_assert!(gunzip(&again) == gunzip(archive), "it is packed otherwise");
    }
    Ok(())
}

#[test]
fn archives_of_any_bytes() {
    let bytes = base().files["evidence.tar.gz"].clone();
    fuzz("evidence.tar.gz, bytes", edits(), |edits| {
        unpacked(&edited(&bytes, &edits))
    });
}

#[test]
fn archives_of_any_tar() {
    // A few entries are an archive, too, and take less time.
    let all = entries(base());
    let step = (all.len() / 8).max(1);
    let mut some: BTreeMap<&str, Vec<u8>> = all
        .iter()
        .step_by(step)
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    some.insert("run.json", all["run.json"].clone());
    let tar = gunzip(&packed(&some));
    // Headers matter most, and are a small part of it.
    let headers: Vec<usize> = (0..tar.len())
        .step_by(512)
        .filter(|at| tar[*at..].get(257..262) == Some(b"ustar"))
        .collect();
    let header = (any::<Index>(), 0..512_usize, any::<u8>());
    let input = (
        prop::option::of(edits()),
        prop::collection::vec(header, 0..3),
    );
    fuzz("evidence.tar.gz, tar", input, |(edits, flips)| {
        let mut tar = edited(&tar, &edits.unwrap_or_default());
        for (index, at, byte) in flips {
            let header = headers[index.index(headers.len())];
            if let Some(block) = tar.get_mut(header..header + 512) {
                block[at] = byte;
                // With the right sum, so that more than the sum is looked at.
                block[148..156].copy_from_slice(b"        ");
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        unpacked(&gzip(&tar))
    });
}

#[test]
fn entries_of_any_bytes() {
    let entries = entries(base());
    let names: Vec<&String> = entries.keys().collect();
    let input = (any::<Index>(), edits());
    fuzz("evidence entry, bytes", input, |(at, edits)| {
        let name = names[at.index(names.len())];
        let bytes = edited(&entries[name], &edits);
        // Alone with the context: an archive of one piece of evidence is one, too.
        let mut some = BTreeMap::from([(name.as_str(), bytes)]);
        some.entry("run.json")
            .or_insert_with(|| entries["run.json"].clone());
        unpacked(&packed(&some))
    });
}

fn entries(base: &Base) -> BTreeMap<String, Vec<u8>> {
    let tar = gunzip(&base.files["evidence.tar.gz"]);
    let mut archive = tar::Archive::new(tar.as_slice());
    let entries = archive.entries().expect("it is an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a name").display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("readable");
            (name, bytes)
        })
        .collect()
}

/// An archive as a run packs it.
pub fn packed(entries: &BTreeMap<&str, Vec<u8>>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, name, bytes.as_slice())
            .expect("appended");
    }
    gzip(&tar.into_inner().expect("written"))
}

/// A check's code never breaks, whatever it is told to have been answered.
fn unbroken<T>(what: &str, outcome: &Outcome<T>) -> TestCaseResult {
    if let Err(Stop::CouldNotRun(_, why)) = outcome {
        prop_assert!(!why.starts_with("the check broke"), "{what}: {why}");
    }
    Ok(())
}

/// The checks that read the evidence of this id, some of them.
fn readers<'a>(base: &'a Base, id: &'a str) -> impl Iterator<Item = &'a CheckResult> {
    let reads = move |result: &&CheckResult| {
        let needs = checks::find(&result.id).map_or(&[][..], |check| check.needs);
        result.id == id || id == "run.json" || needs.iter().any(|setup| setup.id == id)
    };
    let step = if id == "run.json" { 25 } else { 1 };
    base.results
        .checks
        .iter()
        .filter(reads)
        .step_by(step)
        .take(8)
}

/// The evidence of this id, and of what is executed with it.
fn needed(base: &Base, id: &str) -> BTreeMap<String, Evidence> {
    let mut ids: Vec<&str> = vec![id];
    ids.extend(readers(base, id).map(|result| result.id.as_str()));
    let mut at = 0;
    while let Some(id) = ids.get(at) {
        let needs = checks::find(id).map(|check| check.needs);
        let needs = needs.or_else(|| checks::find_setup(id).map(|setup| setup.needs));
        ids.extend(needs.unwrap_or_default().iter().map(|setup| setup.id));
        at += 1;
    }
    let path = |id: &str| Evidence::path(id, 1);
    ids.into_iter()
        .filter_map(|id| Some((path(id), base.recording.evidence.get(&path(id))?.clone())))
        .collect()
}

/// Executes again whatever reads the evidence of this id.
async fn replayed(base: &Base, recording: &Recording, id: &str) -> TestCaseResult {
    let replay = recording.replay();
    match id {
        "run/discovery" => unbroken(id, &replay.facts(1).await)?,
        "run/cleanup" => unbroken(id, &replay.leftovers(1).await)?,
        _ => {}
    }
    if let Some(setup) = checks::find_setup(id) {
        unbroken(id, &replay.value(setup, 1).await)?;
    }
    for result in readers(base, id) {
        // What a broken check would say is asked for by saying all of it but the message.
        let broken = CheckResult {
            outcome: model::Outcome::CouldNotRun,
            reason: Some("defect".to_owned()),
            message: None,
            ..result.clone()
        };
        if let Err(why) = replay.judge(&broken).await {
            prop_assert!(!why.contains("the check broke"), "{}: {why}", result.id);
        }
    }
    Ok(())
}

#[test]
fn checks_over_any_answers() {
    let base = base();
    let mut values: Vec<(String, Value)> = base
        .recording
        .evidence
        .values()
        .map(|evidence| {
            let value = serde_json::to_value(evidence).expect("JSON");
            (evidence.id.clone(), value)
        })
        .collect();
    let context = serde_json::to_value(base.recording.context.as_ref()).expect("JSON");
    values.push(("run.json".to_owned(), context));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    // What a check was answered is most of what it reads; the rest of its evidence less often.
    let input = (
        any::<Index>(),
        any::<Index>(),
        prop::option::of(any::<Index>()),
        json_edits(),
    );
    fuzz("replay", input, |(at, exchange, whole, edits)| {
        let (id, value) = &values[at.index(values.len())];
        let mut value = value.clone();
        match value["exchanges"].as_array_mut() {
            Some(exchanges) if !exchanges.is_empty() && whole.is_none_or(|i| i.index(4) > 0) => {
                let at = exchange.index(exchanges.len());
                let reply = &mut exchanges[at]["reply"];
                *reply = json_edited(reply, &edits);
            }
            _ => value = json_edited(&value, &edits),
        }
        let mut recording = Recording {
            context: Arc::clone(&base.recording.context),
            evidence: needed(base, id),
            digests: BTreeMap::new(),
        };
        if id == "run.json" {
            let Ok(context) = serde_json::from_value::<RunContext>(value) else {
                return Ok(());
            };
            recording.context = Arc::new(context);
        } else {
            let Ok(evidence) = serde_json::from_value::<Evidence>(value) else {
                return Ok(());
            };
            recording.evidence.insert(Evidence::path(id, 1), evidence);
        }
        quickly("replay", || {
            runtime.block_on(replayed(base, &recording, id))
        })?
    });
}

#[test]
fn attestations_of_any_bytes() {
    let base = base();
    let (name, key) = (folder::ATTESTATION_FILE, base.key.public());
    let whole = Bundle::verify(&base.files[name], &key).expect("it is ours");
    fuzz("attestation", edits(), |edits| {
        let bytes = edited(&base.files[name], &edits);
        if let Ok(statement) = quickly("verifying", || Bundle::verify(&bytes, &key))? {
            prop_assert_eq!(statement, whole.clone());
        }
        Ok(())
    });
}

#[test]
fn statements_of_any_values() {
    let base = base();
    let bundle = &base.files[folder::ATTESTATION_FILE];
    let whole = Bundle::verify(bundle, &base.key.public()).expect("it is ours");
    let value = serde_json::to_value(&whole).expect("JSON");
    let root = tempfile::tempdir().expect("a folder");
    let dir = Base::write(root.path(), &base.files);
    fuzz("statement", json_edits(), |edits| {
        let text = json_edited(&value, &edits).to_string();
        let Ok(statement) = Statement::parse(text.as_bytes()) else {
            return Ok(());
        };
        let written = statement.to_json();
        let again = Statement::parse(written.as_bytes()).expect("what was written is read");
        prop_assert_eq!(again.to_json(), written);
        // Signed with the right key, it is still no other claim about these files.
        let bundle = Bundle::sign(&statement, &base.key).to_json();
        std::fs::write(dir.join(folder::ATTESTATION_FILE), bundle).expect("written");
        if let Ok(verified) = folder::verify(&dir, &base.key.public()) {
            prop_assert_eq!(verified.files.len(), whole.subject.len());
        }
        Ok(())
    });
}

#[test]
fn keys_of_any_bytes() {
    let base = base();
    let read = |name| std::fs::read(base.dir.path().join(name)).expect("readable");
    let (private, public) = (read("key.key"), read("key.pub"));
    fuzz("key.pub", edits(), |edits| {
        let bytes = edited(&public, &edits);
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Ok(key) = PublicKey::from_pem(text)
        {
            prop_assert_eq!(
                key.to_pem(),
                PublicKey::from_pem(&key.to_pem()).expect("read").to_pem()
            );
        }
        Ok(())
    });
    fuzz("key.key", edits(), |edits| {
        let bytes = edited(&private, &edits);
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Ok(key) = quickly("opening", || PrivateKey::open(text, b"x"))?
        {
            prop_assert_eq!(key.public(), base.key.public());
        }
        Ok(())
    });
}

#[test]
fn products_of_any_bytes() {
    let template = kfconform::seal::product::TEMPLATE;
    let input = (any::<bool>(), edits());
    fuzz("product.yaml", input, |(filled, edits)| {
        let text = if filled { PRODUCT } else { template };
        let bytes = edited(text.as_bytes(), &edits);
        match quickly("reading", || Product::parse(&bytes, "p"))? {
            Ok(product) => {
                let value = serde_json::to_value(&product).expect("JSON");
                let text = value.to_string();
                prop_assert!(
                    !text.contains(['<', '>', '\u{1b}', '\0', '\u{202e}']),
                    "{text}"
                );
                let again = serde_json::to_vec(&product).expect("JSON");
                // JSON is YAML, so that what was accepted is accepted again.
                prop_assert_eq!(Product::parse(&again, "p").ok(), Some(product));
            }
            Err(error) => {
                let error = error.to_string();
                let start: String = error.chars().take(300).collect();
                prop_assert!(error.len() < 20_000, "{} bytes: {start}", error.len());
            }
        }
        Ok(())
    });
}

const CONFIG: &str = "\
apiVersion: conformance.kubeflow.org/v1
kind: Config
namespace: team-a
profileOwner: user@kubeflow.org
image: registry.local/kfconform:1
imagePullSecrets: [one, two]
tolerations:
  - {key: dedicated, operator: Exists}
nodeSelector: {kubernetes.io/arch: amd64}
storageClass: fast
inCluster: false
components:
  pipelines: {url: 'https://kf.local/pipeline', token: abcdef, version: 2.5.0}
  katib: {namespace: kubeflow, service: katib, port: 80}
redact: [hunter2-long]
timeouts: {request: 30s}
";

#[test]
fn configurations_of_any_bytes() {
    fuzz("configuration", edits(), |edits| {
        let bytes = edited(CONFIG.as_bytes(), &edits);
        let text = String::from_utf8_lossy(&bytes);
        match quickly("reading", || Config::parse(&text, "c"))? {
            Ok(config) => {
                // JSON is YAML, so that what was accepted is accepted again; a text may have become none.
                let again = serde_json::to_string(&config).expect("JSON");
                if let Ok(read) = Config::parse(&again, "c") {
                    prop_assert_eq!(serde_json::to_string(&read).expect("JSON"), again);
                } else {
                    prop_assert!(again.contains("null"), "{again}");
                }
            }
            Err(error) => prop_assert!(error.to_string().len() < 20_000),
        }
        Ok(())
    });
}

const SPECS: [(&str, &str); 4] = [
    (
        "requirements/katib.yaml",
        "\
apiVersion: conformance.kubeflow.org/v1
kind: Requirements
component: katib
group: AutoML
features:
  grpc: {title: Metrics over gRPC, found: The Service has a port of that name}
requirements:
  - id: katib/experiment/created
    title: An experiment is created
    text: An Experiment MUST be created.
    level: core
    since: '1.9'
    why: It is needed.
    how: It is created.
    breaks: Nothing.
    budget: 1m
    timeout: 90s
    deviations: [{component: katib, versions: '>=0.17.0', says: No., issue: 'https://github.com/'}]
    sources: [https://www.kubeflow.org/]
",
    ),
    (
        "releases/1.9.yaml",
        "\
apiVersion: conformance.kubeflow.org/v1
kind: Release
name: '1.9'
released: 2024-07-22
kubernetes: {min: '1.29', tested: ['1.29']}
versions:
  - version: 1.9.0
    components: {katib: 0.17.0}
    dependencies: {}
sources: [https://www.kubeflow.org/]
",
    ),
    (
        "profiles.yaml",
        "\
apiVersion: conformance.kubeflow.org/v1
kind: Profiles
profiles:
  - {name: katib, title: Katib, about: All of it., components: [katib], levels: [core]}
",
    ),
    (
        "program.yaml",
        "\
apiVersion: conformance.kubeflow.org/v1
kind: Program
mark: {name: Certified Kubeflow, status: proposed, note: Undecided.}
validityMonths: 12
reviewMonths: 6
supportedReleases: 3
cureDays: 90
voters: []
graduated: []
documents: []
naming: []
reruns: {accepted: true, attempts: 3, checks: 10, hours: 168}
suites: []
",
    ),
];

#[test]
fn specs_of_any_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in SPECS {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    Specs::load(dir.path()).expect("they are valid");
    let input = (0..SPECS.len(), edits());
    fuzz("specs", input, |(file, edits)| {
        let (name, text) = SPECS[file];
        let path = dir.path().join(name);
        std::fs::write(&path, edited(text.as_bytes(), &edits)).expect("written");
        let loaded = quickly("loading", || Specs::load(dir.path()))?;
        std::fs::write(&path, text).expect("written");
        match loaded {
            Ok(specs) => {
                for requirement in specs.requirements() {
                    kfconform::spec::explain(&specs, requirement, &[], 80);
                }
            }
            Err(error) => prop_assert!(error.to_string().chars().count() < 150_000),
        }
        Ok(())
    });
}

#[test]
fn answers_of_any_bytes() {
    let answers: Vec<Vec<u8>> = base()
        .recording
        .evidence
        .values()
        .flat_map(|evidence| &evidence.exchanges)
        .filter_map(|exchange| match &exchange.reply {
            kfconform::cluster::Reply::Answer(answer) => Some(answer.body.bytes()),
            _ => None,
        })
        .collect();
    let redactor = Redactor::new(["hunter2-long".to_owned()]);
    let input = (any::<Index>(), edits());
    fuzz("answers", input, |(at, edits)| {
        let bytes = edited(&answers[at.index(answers.len())], &edits);
        let mut body = quickly("reading", || Body::of(&bytes))?;
        match &mut body {
            Body::Json(value) => quickly("redacting", || redactor.value(value))?,
            Body::Text(text) => *text = quickly("redacting", || redactor.text(text))?,
            Body::Empty | Body::Base64(_) => {}
        }
        // What is recorded is read as it was recorded, within the evidence of a check.
        let mut evidence = base().recording.evidence["run/discovery.json"].clone();
        evidence.exchanges.truncate(1);
        if let kfconform::cluster::Reply::Answer(answer) = &mut evidence.exchanges[0].reply {
            answer.body = body.clone();
            prop_assert!(answer.summary().chars().count() <= 601);
        }
        let written = serde_json::to_string(&evidence).expect("JSON");
        let read: Evidence = match serde_json::from_str(&written) {
            Ok(read) => read,
            Err(error) => {
                prop_assert!(false, "what was recorded cannot be read: {error}");
                return Ok(());
            }
        };
        prop_assert_eq!(serde_json::to_string(&read).expect("JSON"), written);
        // What was redacted once has nothing left to redact.
        let mut again = body.clone();
        match &mut again {
            Body::Json(value) => redactor.value(value),
            Body::Text(text) => *text = redactor.text(text),
            Body::Empty | Body::Base64(_) => {}
        }
        prop_assert_eq!(again, body);
        Ok(())
    });
}

#[derive(Debug, Clone)]
struct Changed {
    file: Index,
    edits: Vec<Edit>,
    signed: bool,
}

#[test]
fn no_changed_submission_is_accepted() {
    let base = base();
    let names: Vec<&String> = base.files.keys().collect();
    let input =
        (any::<Index>(), edits(), any::<bool>()).prop_map(|(file, edits, signed)| Changed {
            file,
            edits,
            signed,
        });
    let runtime = runtime();
    fuzz("review", input, |changed| {
        let name = names[changed.file.index(names.len())];
        let mut files = base.files.clone();
        let bytes = edited(&files[name], &changed.edits);
        let same = bytes == files[name];
        files.insert(name.clone(), bytes);
        if changed.signed && *name != folder::ATTESTATION_FILE {
            base.sign(&mut files);
        }
        let root = tempfile::tempdir().expect("a folder");
        let dir = Base::write(root.path(), &files);
        let review = quickly("review", || {
            runtime.block_on(review::review(&dir, &options()))
        })?;
        let text = review::text(&review);
        prop_assert!(!acts(&text), "{text:?}");
        // The attestation is no part of what was signed, and white space in it is nobody's; comments in product.yaml are
        // the vendor's own.
        let own = ["product.yaml", folder::ATTESTATION_FILE].contains(&name.as_str());
        if !same && !own {
            prop_assert!(
                review.verdict != Verdict::Accepted,
                "{name} was changed and is accepted"
            );
        }
        Ok(())
    });
}
