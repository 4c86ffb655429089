//! A review cannot be fooled: every byte of a submission counts, and whoever holds the key and edits a submission
//! until it looks right is told what is wrong with it.
//!
//! The forger here knows the suite. After each edit everything that follows is made again: digests, totals, verdict,
//! JUnit, report, and the signature, with the same valid key. A new kind of edit is one row of [`KINDS`].

#![allow(
    clippy::assigning_clones,
    clippy::semicolon_if_nothing_returned,
    clippy::type_complexity,
    reason = "an edit is a row of a table, and reads best as short as it can be"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{PLACE, PRODUCT};
use jiff::{Timestamp, ToSpan};
use kfconform::checks::RunContext;
use kfconform::cluster::Evidence;
use kfconform::cluster::exchange::{Body, Ended, Reply};
use kfconform::engine::Recording;
use kfconform::report::model::{
    Attempt, CheckResult, Image, KnownDeviation, Outcome, Results, Target, Verdict,
};
use kfconform::report::{Level, html, junit};
use kfconform::review::{self, Options, Review};
use kfconform::seal::bundle::Bundle;
use kfconform::seal::folder::{self, ATTESTATION_FILE, KEY_FILE, TRUSTED_ROOT_FILE};
use kfconform::seal::statement::{Statement, TestOutcome};
use kfconform::seal::{PrivateKey, Product};
use kfconform::spec::{Specs, Suite};

/// A check without exchanges that reads what a set-up saw, one that asks, and the set-up.
const READS: &str = "notebooks/server/one-replica";
const ASKS: &str = "notebooks/validation/container-name";
const MAKES: &str = "setup/notebooks/ready";

/// A submission in the forger's hands.
struct Forged {
    results: Results,
    context: RunContext,
    evidence: BTreeMap<String, Evidence>,
    product: String,
    place: PathBuf,
    /// Whether what follows from the edited results is made again.
    follow: bool,
    /// Whether the digests of evidence are.
    digest: bool,
    now: Timestamp,
    /// Edits of files before they are signed.
    files: Vec<(&'static str, fn(Vec<u8>) -> Vec<u8>)>,
    /// An edit of what is signed.
    statement: fn(&mut Statement),
    /// An edit of the folder after signing.
    after: fn(&Path),
}

impl Forged {
    fn check(&mut self, id: &str) -> &mut CheckResult {
        let check = self.results.checks.iter_mut().find(|check| check.id == id);
        check.expect("the check is in the results")
    }

    fn evidence(&mut self, id: &str) -> &mut Evidence {
        let path = Evidence::path(id, 1);
        self.evidence.get_mut(&path).expect("there is evidence")
    }

    /// Makes of a check's one attempt two that both passed.
    fn run_again(&mut self, id: &str) {
        let mut second = self.evidence(id).clone();
        second.attempt = 2;
        let path = Evidence::path(id, 2);
        self.evidence.insert(path.clone(), second);
        let run = self.results.run.id.clone();
        let check = self.check(id);
        let earlier = attempt(check);
        check.attempts.push(Attempt { run, ..earlier });
        let evidence = check.evidence.as_mut();
        evidence.expect("it has evidence").path = path;
    }

    fn watched(&mut self) -> &mut Vec<(u64, serde_json::Value)> {
        watched(&mut self.evidence).expect("a watch saw a change")
    }

    /// Edits the body of the first answer to a check or set-up in whose text `from` stands.
    fn edit_answer(&mut self, id: &str, from: &str, to: &str) {
        for exchange in &mut self.evidence(id).exchanges {
            if let Reply::Answer(answer) = &mut exchange.reply
                && let Body::Json(body) = &mut answer.body
                && body.to_string().contains(from)
            {
                let text = body.to_string().replace(from, to);
                *body = serde_json::from_str(&text).expect("it is JSON still");
                return;
            }
        }
        panic!("no answer to {id} holds {from}");
    }

    /// Dates everything that is the forger's to date anew.
    fn redate(&mut self, days: i64) {
        let later = |at: &mut Timestamp| {
            *at = at.checked_add((days * 24).hours()).expect("it is in time");
        };
        later(&mut self.results.run.started);
        later(&mut self.results.run.finished);
        self.results
            .checks
            .iter_mut()
            .for_each(|c| later(&mut c.started));
        self.results
            .setups
            .iter_mut()
            .for_each(|s| later(&mut s.started));
        self.context.started += days * 24 * 3600;
    }

    fn write(mut self, dir: &Path, key: &PrivateKey) {
        if self.digest {
            let digests: BTreeMap<&String, String> = self
                .evidence
                .iter()
                .map(|(path, evidence)| (path, Recording::digest(evidence)))
                .collect();
            let checks = self.results.checks.iter_mut();
            let places = checks.flat_map(|check| {
                let attempts = check.attempts.iter_mut().map(|a| &mut a.evidence);
                attempts.chain([&mut check.evidence])
            });
            let setups = self.results.setups.iter_mut().map(|s| &mut s.evidence);
            for place in places.chain(setups).flatten() {
                if let Some(digest) = digests.get(&place.path) {
                    place.sha256.clone_from(digest);
                }
            }
        }
        if self.follow {
            self.results.judge();
        }
        let recording = Recording {
            context: Arc::new(self.context),
            evidence: self.evidence,
            digests: BTreeMap::new(),
        };
        let product = Product::parse(self.product.as_bytes(), "product.yaml").ok();
        let page = html::render(&html::Report {
            results: &self.results,
            specs: specs(),
            exchanges: &recording.evidence,
            whose: product.as_ref().map(Product::whose),
        });
        let mut files = vec![
            ("results.json", self.results.to_json().into_bytes()),
            ("junit.xml", junit::render(&self.results).into_bytes()),
            ("report.html", page.into_bytes()),
            (
                "evidence.tar.gz",
                recording.pack().expect("it can be packed"),
            ),
            ("product.yaml", self.product.into_bytes()),
            (KEY_FILE, key.public().to_pem().into_bytes()),
        ];
        for (name, edit) in self.files {
            let file = files.iter_mut().find(|file| file.0 == name);
            let bytes = &mut file.expect("the file is known").1;
            *bytes = edit(std::mem::take(bytes));
        }
        for (name, bytes) in files {
            std::fs::write(dir.join(name), bytes).expect("it can be written");
        }
        // What does not even parse cannot be signed by the suite; the forger signs an older statement of it.
        if folder::sign_for(dir, key, specs().program()).is_ok() {
            let attestation = std::fs::read(dir.join(ATTESTATION_FILE)).expect("it is signed");
            let mut statement = Bundle::verify(&attestation, &key.public()).expect("it verifies");
            (self.statement)(&mut statement);
            let bundle = Bundle::sign(&statement, key).to_json();
            std::fs::write(dir.join(ATTESTATION_FILE), bundle).expect("it can be written");
        } else {
            let statement = resigned(dir);
            let bundle = Bundle::sign(&statement, key).to_json();
            std::fs::write(dir.join(ATTESTATION_FILE), bundle).expect("it can be written");
            folder::write_trusted_root(dir).expect("it can be written");
        }
        (self.after)(dir);
    }
}

/// The lines of a watch that was left with the change that it waited for: a set-up's, or else a check's. Which of them
/// have to wait differs by machine, and from run to run.
fn watched(
    evidence: &mut BTreeMap<String, Evidence>,
) -> Option<&mut Vec<(u64, serde_json::Value)>> {
    let entries = evidence.values_mut().rev();
    let mut watches = entries
        .filter(|evidence| !evidence.id.starts_with("run/"))
        .flat_map(|evidence| &mut evidence.exchanges)
        .filter_map(|exchange| match &mut exchange.reply {
            Reply::Lines {
                lines,
                ended: Ended::Taken,
            } if !lines.is_empty() => Some(lines),
            Reply::Lines { .. } | Reply::Answer(_) | Reply::Error(_) => None,
        });
    watches.next()
}

/// A statement with the right digests and some outcome.
fn resigned(dir: &Path) -> Statement {
    use sha2::{Digest, Sha256};
    let subjects: Vec<serde_json::Value> = [
        "results.json",
        "junit.xml",
        "report.html",
        "evidence.tar.gz",
        "product.yaml",
        KEY_FILE,
    ]
    .iter()
    .map(|name| {
        let bytes = std::fs::read(dir.join(name)).expect("it is there");
        let digest: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        serde_json::json!({"name": name, "digest": {"sha256": digest}})
    })
    .collect();
    let statement = serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {"result": "PASSED", "configuration": []},
    });
    Statement::parse(statement.to_string().as_bytes()).expect("it is a statement")
}

/// The requirements under a programme that has released this version of the suite.
fn specs() -> &'static Specs {
    static SPECS: std::sync::LazyLock<Specs> = std::sync::LazyLock::new(|| {
        let specs = Specs::embedded().clone();
        let mut program = specs.program().clone();
        program.suites.push(Suite {
            version: env!("CARGO_PKG_VERSION").parse().expect("a version"),
            specs: specs.digest().to_owned(),
            released: "2026-01-01".parse().expect("a date"),
        });
        specs.with_program(program)
    });
    &SPECS
}

/// What a run left, read once.
struct Base {
    results: Results,
    context: RunContext,
    evidence: BTreeMap<String, Evidence>,
    key: PrivateKey,
}

impl Base {
    /// A run in which something had to be waited for. Where all is there at once the cluster was too quick for the
    /// forger, who runs it again.
    async fn new() -> Self {
        for _ in 0..20 {
            let mut base = Self::run().await;
            if watched(&mut base.evidence).is_some() {
                return base;
            }
        }
        panic!("in none of 20 runs a watch saw a change");
    }

    async fn run() -> Self {
        let (results, dir) = Box::pin(common::run_with_the_wall(&[], |options| {
            options.profile = "notebooks".to_owned();
        }))
        .await;
        assert_eq!(results.verdict, Verdict::Conformant);
        let path = dir.path().join("evidence.tar.gz");
        let recording = Recording::read(&path).expect("the evidence is readable");
        Self {
            results,
            context: recording.context.as_ref().clone(),
            evidence: recording.evidence,
            key: PrivateKey::generate().expect("a key"),
        }
    }

    /// A submission with which nothing is wrong, as far as anybody can see: made of a run on the reference, with all
    /// marks of that removed.
    fn forged(&self) -> Forged {
        let mut evidence = self.evidence.clone();
        let text = serde_json::to_string(&evidence["run/discovery.json"]).expect("it is JSON");
        let text = text.replace("kfconform reference", "Ubuntu 24.04");
        evidence.insert(
            "run/discovery.json".to_owned(),
            serde_json::from_str(&text).expect("it is JSON still"),
        );
        let mut results = self.results.clone();
        results.run.target = Target::Cluster;
        Forged {
            now: results.run.finished,
            results,
            context: self.context.clone(),
            evidence,
            product: PRODUCT.to_owned(),
            place: PLACE.into(),
            follow: true,
            digest: true,
            files: Vec::new(),
            statement: |_| {},
            after: |_| {},
        }
    }
}

fn reviewed(dir: &Path, place: &Path, now: Timestamp) -> Review {
    let options = Options {
        specs: specs(),
        trust: Vec::new(),
        allow_sample: false,
        now,
        place: Some(place.to_owned()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(review::review(dir, &options))
}

fn review_of(base: &Base, edit: impl FnOnce(&mut Forged)) -> Review {
    let mut forged = base.forged();
    edit(&mut forged);
    let dir = tempfile::tempdir().expect("a folder");
    let (place, now) = (forged.place.clone(), forged.now);
    forged.write(dir.path(), &base.key);
    reviewed(dir.path(), &place, now)
}

/// What the forger does, the rule that refuses it, and words of the refusal.
type Kind = (&'static str, &'static str, &'static str, fn(&mut Forged));

const KINDS: &[Kind] = &[
    // Results.
    (
        "a failure for a pass",
        "replay/outcomes",
        "failed in the result and passed",
        |f| {
            f.check(READS).outcome = Outcome::Failed;
        },
    ),
    (
        "a pass left out as not applicable",
        "replay/not-applicable",
        "concerns this cluster",
        |f| {
            let check = f.check("notebooks/api/serves-notebooks");
            check.outcome = Outcome::NotApplicable;
            check.reason = Some("feature-absent".to_owned());
            check.message = Some("the feature `x` was not found on the cluster".to_owned());
            let evidence = f.evidence("notebooks/api/serves-notebooks");
            evidence.exchanges.clear();
        },
    ),
    (
        "a required check not applicable",
        "policy/required",
        "is required",
        |f| {
            f.check(READS).outcome = Outcome::NotApplicable;
        },
    ),
    (
        "a check that could not run",
        "policy/conformant",
        "could not run",
        |f| {
            f.check(READS).outcome = Outcome::CouldNotRun;
        },
    ),
    (
        "a message on a pass",
        "replay/outcomes",
        "its message is",
        |f| {
            f.check(READS).message = Some("all is very well".to_owned());
        },
    ),
    (
        "what was expected, on a pass",
        "replay/outcomes",
        "its expected is",
        |f| {
            f.check(READS).expected = Some("1".to_owned());
        },
    ),
    (
        "another length of a check",
        "replay/outcomes",
        "its seconds is",
        |f| {
            f.check(ASKS).seconds += 1.5;
        },
    ),
    (
        "another start of a check",
        "times/starts",
        "did not begin when",
        |f| {
            let check = f.check(ASKS);
            check.started = check.started.checked_add(1.second()).expect("in time");
        },
    ),
    ("a check removed", "results/checks", "has no result", |f| {
        f.results.checks.remove(3);
    }),
    (
        "a check removed, and from the plan",
        "results/plan",
        "needs it",
        |f| {
            let check = f.results.checks.remove(3);
            f.results.run.planned.retain(|id| *id != check.id);
            f.evidence.remove(&Evidence::path(&check.id, 1));
        },
    ),
    (
        "a check of nothing added",
        "results/plan",
        "is not of profile",
        |f| {
            let mut check = f.check(READS).clone();
            check.id = "notebooks/server/is-fast".to_owned();
            f.results.run.planned.push(check.id.clone());
            f.results.checks.push(check);
        },
    ),
    ("a check twice", "results/checks", "has two results", |f| {
        let check = f.check(READS).clone();
        f.results.checks.push(check);
    }),
    (
        "a check renamed",
        "results/checks",
        "was not planned",
        |f| {
            f.check(READS).id = "notebooks/server/is-fast".to_owned();
        },
    ),
    (
        "two checks exchanged",
        "results/checks",
        "not in the order",
        |f| f.results.checks.swap(2, 3),
    ),
    (
        "two planned ids exchanged",
        "results/plan",
        "not in the order",
        |f| {
            f.results.run.planned.swap(2, 3);
            f.results.checks.swap(2, 3);
        },
    ),
    (
        "a core check called extended",
        "results/texts",
        "its level is",
        |f| {
            f.check(READS).level = Level::Extended;
        },
    ),
    ("another title", "results/texts", "its title is", |f| {
        f.check(READS).title = "Is wonderful".to_owned();
    }),
    (
        "another component",
        "results/texts",
        "its component is",
        |f| {
            f.check(READS).component = "katib".to_owned();
        },
    ),
    ("totals changed", "results/totals", "not the sums", |f| {
        f.follow = false;
        f.results.judge();
        f.results.totals["notebooks"].core.passed += 1;
    }),
    (
        "totals of another component",
        "results/totals",
        "without checks",
        |f| {
            f.follow = false;
            f.results.judge();
            f.results.totals.insert(
                "katib".to_owned(),
                kfconform::report::model::LevelTotals::default(),
            );
        },
    ),
    (
        "the verdict changed",
        "results/verdict",
        "follows to be conformant",
        |f| {
            f.follow = false;
            f.results.judge();
            f.results.verdict = Verdict::Incomplete;
        },
    ),
    ("a reason added", "results/verdict", "the reasons", |f| {
        f.follow = false;
        f.results.judge();
        f.results.reasons.push("none".to_owned());
    }),
    (
        "not to be submitted",
        "results/verdict",
        "may be submitted",
        |f| {
            f.follow = false;
            f.results.judge();
            f.results.submittable = false;
        },
    ),
    (
        "the length of the run changed",
        "results/timing",
        "the run took",
        |f| {
            f.follow = false;
            f.results.judge();
            f.results.timing.wall_seconds *= 2.0;
        },
    ),
    (
        "a deviation called known",
        "results/deviations",
        "known of its failure",
        |f| {
            f.check(READS).known_deviation = Some(KnownDeviation {
                issue: "https://github.com/kubeflow/kubeflow/issues/1".to_owned(),
                summary: "x".to_owned(),
            });
        },
    ),
    ("a set-up removed", "results/setups", "is needed", |f| {
        f.results.setups.retain(|setup| setup.id != MAKES);
    }),
    ("a set-up twice", "results/setups", "is there twice", |f| {
        let setup = f.results.setups[0].clone();
        f.results.setups.insert(0, setup);
    }),
    (
        "a set-up of nothing",
        "results/setups",
        "no check needs it",
        |f| {
            let mut setup = f.results.setups[0].clone();
            setup.id = "setup/notebooks/zebra".to_owned();
            f.results.setups.push(setup);
        },
    ),
    ("set-ups exchanged", "results/setups", "not in order", |f| {
        f.results.setups.swap(0, 1)
    }),
    (
        "a set-up's outcome",
        "replay/outcomes",
        "its outcome is",
        |f| {
            f.results.setups[0].outcome = Outcome::Failed;
        },
    ),
    (
        "a set-up's length",
        "replay/outcomes",
        "its seconds is",
        |f| {
            f.results.setups[0].seconds += 10.0;
        },
    ),
    // The other faces of the results.
    (
        "JUnit and JSON disagree",
        "results/junit",
        "differs from line",
        |f| {
            f.files.push(("junit.xml", |junit| {
                replaced(&junit, "failures=\"0\"", "failures=\"1\"")
            }));
        },
    ),
    (
        "JUnit with an entity",
        "results/junit",
        "differs from line",
        |f| {
            f.files.push(("junit.xml", |junit| {
                replaced(
                    &junit,
                    "?>\n",
                    "?>\n<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\">]>\n",
                )
            }));
        },
    ),
    (
        "a report with a script",
        "results/report",
        "differs from line",
        |f| {
            f.files.push(("report.html", |html| {
                replaced(&html, "</body>", "<script>alert(1)</script></body>")
            }));
        },
    ),
    (
        "a field that no suite writes",
        "results/form",
        "does not write",
        |f| {
            f.files.push(("results.json", |json| {
                replaced(&json, "{\n", "{\n  \"certified\": true,\n")
            }));
        },
    ),
    (
        "JSON written in another way",
        "results/form",
        "as it writes it",
        |f| {
            f.files
                .push(("results.json", |json| replaced(&json, "\n  ", "\n ")));
        },
    ),
    (
        "results of another kind",
        "results/form",
        "not a valid result",
        |f| {
            f.files.push(("results.json", |json| {
                replaced(&json, "\"conformant\"", "\"splendid\"")
            }));
        },
    ),
    (
        "results nested without end",
        "results/form",
        "not a valid result",
        |f| {
            f.files.push(("results.json", |_| b"[".repeat(10_000)));
        },
    ),
    (
        "a second verdict",
        "results/form",
        "not a valid result",
        |f| {
            f.files.push(("results.json", |json| {
                replaced(
                    &json,
                    "\"verdict\"",
                    "\"verdict\": \"incomplete\",\n  \"verdict\"",
                )
            }));
        },
    ),
    // The suite and what it asks for.
    ("older requirements", "suite/specs", "digest is", |f| {
        f.results.suite.specs_digest = "0".repeat(64);
    }),
    ("other requirements", "suite/specs", "--specs", |f| {
        f.results.suite.specs_overridden = true
    }),
    (
        "another version of the suite",
        "suite/version",
        "no such version",
        |f| {
            f.results.suite.version = "9.9.9".to_owned();
        },
    ),
    ("a wider profile claimed", "results/plan", "needs it", |f| {
        f.results.run.profile = "certified".to_owned();
    }),
    (
        "an unknown profile",
        "results/plan",
        "unknown profile",
        |f| {
            f.results.run.profile = "notebook".to_owned();
        },
    ),
    (
        "a profile that no mark needs",
        "policy/profile",
        "no mark needs",
        |f| {
            f.results.run.profile = "all".to_owned();
        },
    ),
    (
        "a platform without all that policy asks of one",
        "policy/graduated",
        "was not found",
        |f| {
            f.results.run.profile = "platform".to_owned();
        },
    ),
    ("another release", "run/context", "the release is", |f| {
        f.results.run.release = "1.11".to_owned();
        f.product = f.product.replace("26.03", "1.11");
        f.place = "reports/1.11/aurora-ml-platform/3.2.0".into();
    }),
    (
        "a release that is no longer supported",
        "policy/release",
        "is not one of the 3 newest",
        |f| {
            f.results.run.release = "1.9".to_owned();
        },
    ),
    (
        "part of the profile",
        "policy/whole",
        "left requirements out",
        |f| {
            f.results
                .run
                .selection
                .skip
                .push("notebooks/server/*".to_owned());
            let left = |id: &str| !id.starts_with("notebooks/server/");
            f.results.run.planned.retain(|id| left(id));
            f.results.checks.retain(|check| left(&check.id));
        },
    ),
    (
        "a run with a fault",
        "policy/whole",
        "made to deviate",
        |f| {
            f.results
                .run
                .faults
                .push("notebooks/server/one-replica#two".to_owned());
        },
    ),
    (
        "a run that was interrupted",
        "policy/whole",
        "to its end",
        |f| f.results.run.complete = false,
    ),
    (
        "the reference as a cluster",
        "run/reference",
        "embedded reference",
        |f| {
            f.edit_answer("run/discovery", "Ubuntu 24.04", "kfconform reference");
        },
    ),
    (
        "a cluster as the reference",
        "run/reference",
        "not of the embedded",
        |f| {
            f.results.run.target = Target::Reference;
        },
    ),
    (
        "a sample that is not asked for",
        "policy/target",
        "is a sample",
        |f| {
            f.results.run.target = Target::Reference;
        },
    ),
    // The run and the cluster.
    ("another run's id", "run/context", "the run's id is", |f| {
        f.results.run.id = "aaaaaaaa".to_owned();
    }),
    (
        "another run's id everywhere",
        "replay/outcomes",
        "evidence",
        |f| {
            f.results.run.id = "aaaaaaaa".to_owned();
            f.context.id = "aaaaaaaa".to_owned();
            f.evidence
                .values_mut()
                .for_each(|e| e.run = "aaaaaaaa".to_owned());
        },
    ),
    ("another namespace", "replay/outcomes", "evidence", |f| {
        f.context.namespace = "kubeflow".to_owned();
    }),
    ("other time-outs", "run/context", "time-outs", |f| {
        f.results.run.timeouts["gone"] = 3600.0;
    }),
    (
        "more time than there was",
        "times/deadlines",
        "another time than",
        |f| {
            f.evidence("run/namespace").deadline += 1000;
        },
    ),
    (
        "another Kubernetes",
        "run/facts",
        "the cluster is not",
        |f| {
            f.results.cluster.version = Some("v1.99.0".to_owned());
        },
    ),
    (
        "no Kubernetes version",
        "policy/kubernetes",
        "does not say",
        |f| {
            f.results.cluster.version = None;
        },
    ),
    (
        "a Kubernetes that is too old",
        "policy/kubernetes",
        "is older than",
        |f| {
            f.results.cluster.version = Some("v1.20.3".to_owned());
        },
    ),
    (
        "another version of a component",
        "run/facts",
        "the components",
        |f| {
            f.results.components[0].version = Some("v9".to_owned());
        },
    ),
    (
        "a feature that was not found",
        "run/facts",
        "the features",
        |f| {
            f.results.features["istio"].present = true;
        },
    ),
    (
        "a feature that was not found, in the context too",
        "run/facts",
        "what the run went by",
        |f| {
            f.results.features["istio"].present = true;
            f.context
                .facts
                .features
                .get_mut("istio")
                .expect("it is known")
                .found = true;
        },
    ),
    (
        "a discovery that saw less",
        "run/facts",
        "cannot be looked at again",
        |f| {
            f.edit_answer("run/discovery", "kubeflow.org", "example.org");
        },
    ),
    ("another image's digest", "run/images", "images", |f| {
        f.results.images[0].digest = Some("sha256:00".to_owned());
    }),
    ("one more image", "run/images", "images", |f| {
        f.results.images.push(Image {
            name: "busybox".to_owned(),
            digest: None,
        });
    }),
    (
        "a namespace that was refused",
        "run/namespace",
        "the run's namespace",
        |f| {
            let exchanges = &mut f.evidence("run/namespace").exchanges;
            let Reply::Answer(answer) = &mut exchanges[0].reply else {
                panic!("the namespace was asked for");
            };
            answer.status = 409;
        },
    ),
    (
        "a namespace that nobody asked for",
        "run/namespace",
        "the evidence does not hold",
        |f| {
            f.evidence("run/namespace").exchanges.remove(0);
        },
    ),
    (
        "more asked of the namespace",
        "run/namespace",
        "were not asked for again",
        |f| {
            let evidence = f.evidence("run/namespace");
            let last = evidence.exchanges.last().expect("one").clone();
            evidence.exchanges.push(last);
        },
    ),
    (
        "an object left behind that is not",
        "run/leftovers",
        "left behind",
        |f| {
            f.results.leftovers.push("Pod/x/y".to_owned());
        },
    ),
    // Times.
    (
        "an end before the start",
        "times/run",
        "before it began",
        |f| {
            f.results.run.finished = f
                .results
                .run
                .started
                .checked_sub(1.hour())
                .expect("in time");
        },
    ),
    ("a run in the future", "times/run", "not come yet", |f| {
        f.now = f.now.checked_sub((24 * 30).hours()).expect("in time");
    }),
    (
        "a shorter run",
        "times/exchanges",
        "after the run's end",
        |f| {
            f.results.run.finished = f
                .results
                .run
                .started
                .checked_add(1.millisecond())
                .expect("in time");
        },
    ),
    (
        "another start of the run",
        "times/starts",
        "did not begin when",
        |f| {
            f.results.run.started = f
                .results
                .run
                .started
                .checked_sub(5.seconds())
                .expect("in time");
        },
    ),
    (
        "a run dated anew",
        "times/cluster",
        "the cluster says that it was",
        |f| {
            f.redate(200);
            f.now = f.results.run.finished;
        },
    ),
    (
        "a result whose year is over",
        "policy/validity",
        "it counted until",
        |f| {
            f.now = f.now.checked_add((24 * 400).hours()).expect("in time");
        },
    ),
    ("answers in no time", "times/wire", "no network", |f| {
        let exchanges = f.evidence.values_mut().flat_map(|e| &mut e.exchanges);
        exchanges.for_each(|exchange| exchange.end = exchange.at);
    }),
    (
        "a check before its set-up",
        "times/order",
        "was there",
        |f| {
            f.evidence(READS).started = 0;
        },
    ),
    (
        "exchanges out of time's order",
        "times/exchanges",
        "is out of order",
        |f| {
            f.evidence(ASKS).exchanges[1].at = 0;
        },
    ),
    (
        "an exchange after its time",
        "times/exchanges",
        "after its time was up",
        |f| {
            let evidence = f.evidence(ASKS);
            evidence.exchanges[0].at = evidence.deadline + 1;
        },
    ),
    // Evidence.
    (
        "a status code",
        "replay/outcomes",
        "over the evidence",
        |f| {
            for exchange in &mut f.evidence(ASKS).exchanges {
                if let Reply::Answer(answer) = &mut exchange.reply {
                    answer.status = if answer.status < 400 { 500 } else { 201 };
                }
            }
        },
    ),
    (
        "a field of a body",
        "replay/outcomes",
        "over the evidence",
        |f| {
            f.edit_answer(MAKES, "\"replicas\":1", "\"replicas\":2");
        },
    ),
    (
        "a line of a watch removed",
        "replay/outcomes",
        "over the evidence",
        |f| f.watched().clear(),
    ),
    (
        "a line of a watch added",
        "replay/outcomes",
        "evidence",
        |f| {
            let lines = f.watched();
            let last = lines.last().expect("one").clone();
            lines.push(last);
        },
    ),
    ("a request", "replay/outcomes", "evidence", |f| {
        f.evidence(ASKS).exchanges[0].asked.path.push_str("&x=y");
    }),
    (
        "the order of exchanges",
        "replay/outcomes",
        "evidence",
        |f| {
            f.evidence(ASKS).exchanges.swap(0, 1);
        },
    ),
    ("an exchange removed", "replay/outcomes", "evidence", |f| {
        f.evidence(ASKS).exchanges.pop();
    }),
    (
        "an exchange added",
        "replay/outcomes",
        "could-not-run over the evidence",
        |f| {
            let evidence = f.evidence(ASKS);
            let last = evidence.exchanges.last().expect("one").clone();
            evidence.exchanges.push(last);
        },
    ),
    (
        "a later length of a check",
        "replay/outcomes",
        "its seconds is",
        |f| {
            f.evidence(ASKS).exchanges.last_mut().expect("one").end += 7;
        },
    ),
    (
        "evidence of another check",
        "evidence/form",
        "it holds the evidence of",
        |f| {
            let other = f.evidence(ASKS).clone();
            *f.evidence("notebooks/validation/quantities") = other;
        },
    ),
    (
        "evidence of another check under this one's name",
        "replay/outcomes",
        "evidence",
        |f| {
            let mut other = f.evidence(ASKS).clone();
            other.id = "notebooks/validation/quantities".to_owned();
            *f.evidence("notebooks/validation/quantities") = other;
        },
    ),
    (
        "evidence of another run",
        "evidence/run",
        "is of the run",
        |f| {
            f.evidence(ASKS).run = "bbbbbbbb".to_owned();
        },
    ),
    (
        "two checks that name each other's evidence",
        "replay/outcomes",
        "is not this check's",
        |f| {
            let asks = f.check(ASKS).evidence.clone();
            let reads = std::mem::replace(&mut f.check(READS).evidence, asks);
            f.check(ASKS).evidence = reads;
        },
    ),
    (
        "a check that names another's evidence",
        "evidence/inventory",
        "is named twice",
        |f| {
            let other = f.check(ASKS).evidence.clone();
            f.check(READS).evidence = other;
        },
    ),
    (
        "a check without evidence",
        "evidence/inventory",
        "names no evidence",
        |f| {
            f.check(READS).evidence = None;
        },
    ),
    (
        "evidence that nobody names",
        "evidence/inventory",
        "no result names",
        |f| {
            let mut second = f.evidence(ASKS).clone();
            second.attempt = 2;
            f.evidence.insert(Evidence::path(ASKS, 2), second);
        },
    ),
    (
        "evidence removed",
        "evidence/inventory",
        "there is no",
        |f| {
            f.evidence.remove(&Evidence::path(ASKS, 1));
        },
    ),
    ("no clean-up", "evidence/inventory", "run/cleanup", |f| {
        f.evidence.remove("run/cleanup.json");
    }),
    (
        "another digest",
        "evidence/digests",
        "by its SHA-256",
        |f| {
            f.digest = false;
            f.check(ASKS)
                .evidence
                .as_mut()
                .expect("it has evidence")
                .sha256 = "0".repeat(64);
        },
    ),
    (
        "a set-up that was not needed",
        "times/order",
        "does not build on",
        |f| {
            f.evidence(READS)
                .uses
                .push(("setup/notebooks/halted".to_owned(), 1));
        },
    ),
    (
        "a set-up's other attempt",
        "times/order",
        "no evidence",
        |f| {
            f.evidence(READS).uses[0].1 = 7;
        },
    ),
    (
        "something behind the archive",
        "evidence/form",
        "before or after",
        |f| {
            f.files.push(("evidence.tar.gz", |mut gzip| {
                gzip.extend_from_slice(b"more");
                gzip
            }));
        },
    ),
    (
        "an archive in another way",
        "evidence/form",
        "as a run packs it",
        |f| {
            f.files.push(("evidence.tar.gz", |gzip| {
                repacked(&gzip, |tar| {
                    // The owner of the first entry, with its checksum.
                    tar[108..115].copy_from_slice(b"0000001");
                    checksum(tar);
                })
            }));
        },
    ),
    (
        "a path that leads out",
        "evidence/form",
        "not a plain file",
        |f| {
            f.files.push(("evidence.tar.gz", |gzip| {
                repacked(&gzip, |tar| {
                    tar[..9].copy_from_slice(b"../../x\0\0");
                    checksum(tar);
                })
            }));
        },
    ),
    (
        "a link in the archive",
        "evidence/form",
        "not a plain file",
        |f| {
            f.files.push(("evidence.tar.gz", |gzip| {
                repacked(&gzip, |tar| {
                    tar[156] = b'2';
                    checksum(tar);
                })
            }));
        },
    ),
    (
        "an archive that unpacks without end",
        "evidence/form",
        "too large",
        |f| {
            f.files
                .push(("evidence.tar.gz", |_| gzipped(&vec![0; 200 << 20])));
        },
    ),
    ("no archive", "evidence/form", "cannot be read", |f| {
        f.files.push(("evidence.tar.gz", |_| b"PK".to_vec()));
    }),
    // Attempts.
    (
        "an attempt that nobody made",
        "evidence/inventory",
        "names no evidence",
        |f| {
            let check = f.check(ASKS);
            let earlier = attempt(check);
            check.attempts.push(Attempt {
                evidence: None,
                ..earlier
            });
        },
    ),
    (
        "an attempt with the same evidence",
        "attempts/disclosed",
        "not in order",
        |f| {
            let check = f.check(ASKS);
            let earlier = attempt(check);
            check.attempts.push(earlier);
        },
    ),
    (
        "an attempt of another run",
        "attempts/disclosed",
        "is of the run",
        |f| {
            let check = f.check(ASKS);
            let earlier = attempt(check);
            check.attempts.push(Attempt {
                run: "cccccccc".to_owned(),
                ..earlier
            });
        },
    ),
    (
        "an attempt with another outcome",
        "replay/outcomes",
        "its earlier outcome",
        |f| {
            f.run_again(ASKS);
            f.check(ASKS).attempts[0].outcome = Outcome::Failed;
        },
    ),
    ("too many attempts", "policy/reruns", "more than 3", |f| {
        let check = f.check(ASKS);
        let earlier = attempt(check);
        check.attempts = vec![earlier; 3];
    }),
    (
        "too many checks run again",
        "policy/reruns",
        "checks were run again",
        |f| {
            for check in &mut f.results.checks {
                check.attempts.push(attempt(check));
            }
        },
    ),
    (
        "an attempt too long ago",
        "policy/reruns",
        "hours, later than",
        |f| {
            let check = f.check(ASKS);
            let mut earlier = attempt(check);
            earlier.started = earlier.started.checked_sub(200.hours()).expect("in time");
            check.attempts.push(earlier);
        },
    ),
    // The product.
    (
        "a product renamed after signing",
        "signature/statement",
        "the signed product is",
        |f| {
            f.statement = |s| record(s).product = "Borealis".to_owned();
        },
    ),
    (
        "another version after signing",
        "signature/statement",
        "the signed version is",
        |f| {
            f.statement = |s| record(s).version = "4.0.0".to_owned();
        },
    ),
    (
        "another vendor after signing",
        "signature/statement",
        "the signed vendor is",
        |f| {
            f.statement = |s| record(s).vendor = "Southern Lights".to_owned();
        },
    ),
    (
        "a name with Kubeflow in front",
        "product/name",
        "endorses",
        |f| {
            f.product = f.product.replace("Aurora ML Platform", "Kubeflow Aurora");
            f.place = "reports/26.03/kubeflow-aurora/3.2.0".into();
        },
    ),
    (
        "a mark in the name",
        "product/name",
        "holds the mark",
        |f| {
            f.product = f
                .product
                .replace("Aurora ML Platform", "Aurora (Certified Kubeflow)");
        },
    ),
    (
        "a product of another release",
        "product/release",
        "was checked",
        |f| {
            f.product = f.product.replace("26.03", "1.11");
        },
    ),
    ("another place", "product/place", "belongs at", |f| {
        f.place = "reports/26.03/borealis/3.2.0".into();
    }),
    (
        "a product with mark-up",
        "product/form",
        "`<` or `>`",
        |f| {
            f.product = f
                .product
                .replace("Aurora ML", "<img src=x onerror=alert(1)>");
        },
    ),
    (
        "a product without a contact",
        "product/form",
        "contact",
        |f| {
            f.product = f.product.replace("contact: conformance@kubeflow.org\n", "");
        },
    ),
    (
        "a product with a field of its own",
        "product/form",
        "unknown field",
        |f| {
            f.product.push_str("certified: true\n");
        },
    ),
    ("a product as a bomb", "product/form", "product.yaml", |f| {
        f.product =
            "a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b]\n".to_owned();
    }),
    ("a product in no known text", "product/form", "UTF-8", |f| {
        f.files.push(("product.yaml", |_| vec![0xff, 0xfe, 0x00]));
    }),
    // What is signed.
    (
        "a wider validity",
        "signature/statement",
        "the signed last day is",
        |f| {
            f.statement = |s| record(s).valid_until = "2099-01-01".parse().expect("a date");
        },
    ),
    (
        "a later review",
        "signature/statement",
        "next review is",
        |f| {
            f.statement = |s| record(s).next_review = "2099-01-01".parse().expect("a date");
        },
    ),
    (
        "an earlier first day",
        "signature/statement",
        "first day is",
        |f| {
            f.statement = |s| record(s).valid_from = "2020-01-01".parse().expect("a date");
        },
    ),
    (
        "the mark of a sample",
        "signature/statement",
        "mark of a sample is",
        |f| {
            f.statement = |s| record(s).sample = true;
        },
    ),
    (
        "another outcome signed",
        "signature/statement",
        "the signed outcome",
        |f| {
            f.statement = |s| s.predicate.result = TestOutcome::Failed;
        },
    ),
    (
        "a test less signed",
        "signature/statement",
        "the signed outcome",
        |f| {
            f.statement = |s| drop(s.predicate.passed_tests.pop());
        },
    ),
    (
        "another suite signed",
        "signature/statement",
        "the signed suite",
        |f| {
            f.statement = |s| s.predicate.configuration[0].digest["sha256"] = "0".repeat(64);
        },
    ),
    (
        "no submission signed",
        "signature/statement",
        "no submission",
        |f| {
            f.statement = |s| {
                s.predicate
                    .conformance
                    .as_mut()
                    .expect("it has ours")
                    .submission = None
            };
        },
    ),
    (
        "another profile signed",
        "signature/statement",
        "not the one that the results give",
        |f| {
            f.statement = |s| {
                "certified"
                    .clone_into(&mut s.predicate.conformance.as_mut().expect("ours").profile);
            };
        },
    ),
    (
        "files in another order signed",
        "signature/statement",
        "list of files",
        |f| {
            f.statement = |s| s.subject.swap(0, 1);
        },
    ),
    (
        "a file that is not signed",
        "signature/valid",
        "was not signed",
        |f| {
            f.statement = |s| s.subject.retain(|subject| subject.name != "product.yaml");
        },
    ),
    (
        "a file signed that is not there",
        "signature/valid",
        "is missing",
        |f| {
            f.statement = |s| {
                let mut other = s.subject[0].clone();
                "e2e.log".clone_into(&mut other.name);
                s.subject.push(other);
            };
        },
    ),
    (
        "another key beside it",
        "signature/valid",
        "not the trusted one",
        |f| {
            f.files.push((KEY_FILE, |_| {
                let key = PrivateKey::generate().expect("a key");
                key.public().to_pem().into_bytes()
            }));
        },
    ),
    (
        "a key with a comment",
        "signature/key",
        "more than a key",
        |f| {
            f.files.push((KEY_FILE, |mut key| {
                key.extend_from_slice(b"\n");
                key
            }));
        },
    ),
    (
        "no key in the key's file",
        "signature/key",
        "key.pub",
        |f| {
            f.files.push((KEY_FILE, |_| b"ssh-ed25519 AAAA".to_vec()));
        },
    ),
    // The folder.
    ("one more file", "files/set", "does not belong", |f| {
        f.after = |dir| std::fs::write(dir.join("README.md"), "hello").expect("written");
    }),
    ("a file less", "files/set", "there is no report.html", |f| {
        f.after = |dir| std::fs::remove_file(dir.join("report.html")).expect("removed");
    }),
    ("a folder in it", "files/set", "not a regular file", |f| {
        f.after = |dir| std::fs::create_dir(dir.join("more")).expect("made");
    }),
    #[cfg(unix)]
    ("a link in it", "files/set", "not a regular file", |f| {
        f.after = |dir| {
            std::fs::remove_file(dir.join("junit.xml")).expect("removed");
            std::os::unix::fs::symlink("/etc/passwd", dir.join("junit.xml")).expect("linked");
        };
    }),
    ("a thousand files", "files/set", "more than", |f| {
        f.after = |dir| {
            for n in 0..1000 {
                std::fs::write(dir.join(format!("{n}.txt")), "").expect("written");
            }
        };
    }),
    ("a file without end", "files/size", "more than", |f| {
        f.after = |dir| {
            let file = std::fs::File::create(dir.join("report.html")).expect("made");
            file.set_len(1 << 36).expect("sparse");
        };
    }),
    (
        "a root for cosign to trust",
        "signature/valid",
        "tr.json",
        |f| {
            f.after = |dir| {
                let path = dir.join(TRUSTED_ROOT_FILE);
                let text = std::fs::read_to_string(&path)
                    .expect("there")
                    .replace("0.1", "0.2");
                std::fs::write(path, text).expect("written");
            };
        },
    ),
    (
        "not signed",
        "files/set",
        "attestation.sigstore.json",
        |f| {
            f.after = |dir| std::fs::remove_file(dir.join(ATTESTATION_FILE)).expect("removed");
        },
    ),
];

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).expect("text");
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("it is memory");
    gzip.finish().expect("it is memory")
}

fn repacked(gzip: &[u8], edit: fn(&mut [u8])) -> Vec<u8> {
    use std::io::Read;
    let mut tar = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(gzip);
    reader.read_to_end(&mut tar).expect("it is gzip");
    edit(&mut tar);
    gzipped(&tar)
}

/// Sets the checksum of the first header anew.
fn checksum(tar: &mut [u8]) {
    tar[148..156].copy_from_slice(b"        ");
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn attempt(check: &CheckResult) -> Attempt {
    Attempt {
        run: String::new(),
        outcome: check.outcome,
        reason: None,
        message: None,
        started: check.started,
        seconds: check.seconds,
        evidence: check.evidence.clone(),
    }
}

fn record(statement: &mut Statement) -> &mut kfconform::seal::submission::Record {
    let ours = statement.predicate.conformance.as_mut();
    ours.and_then(|ours| ours.submission.as_mut())
        .expect("it is a submission")
}

/// Does something with each item, on every processor; gathers what it complains of.
fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Option<String> + Sync) -> Vec<String> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let size = items.len().div_ceil(workers).max(1);
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = items
            .chunks(size)
            .map(|chunk| scope.spawn(move || chunk.iter().filter_map(work).collect::<Vec<_>>()))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic"))
            .collect()
    })
}

#[test]
fn a_submission_is_accepted_until_somebody_edits_it() {
    let base = runtime().block_on(Base::new());
    let untouched = review_of(&base, |_| {});
    assert_eq!(untouched.refusals, []);
    assert_eq!(untouched.verdict, review::Verdict::Accepted);
    assert!(!untouched.sample && !untouched.left_to_people.is_empty());

    let wrong = each(KINDS, |(kind, rule, says, edit)| {
        let review = review_of(&base, edit);
        let refusal = review
            .refusals
            .iter()
            .find(|refusal| refusal.rule == *rule && refusal.message.contains(says));
        let found = review.verdict != review::Verdict::Accepted && refusal.is_some();
        (!found).then(|| {
            format!(
                "{kind}: wanted {rule} with `{says}`; got {:#?}",
                review.refusals
            )
        })
    });
    assert!(
        wrong.is_empty(),
        "{} kinds are not refused as they should be:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(KINDS.len() >= 60, "{} kinds", KINDS.len());

    every_byte_counts(&base);
}

/// Flips bytes of each file, as many as `TAMPER_FLIPS` says, spread over all of them.
fn every_byte_counts(base: &Base) {
    let flips: usize = std::env::var("TAMPER_FLIPS")
        .ok()
        .and_then(|flips| flips.parse().ok())
        .unwrap_or(4_000);
    let whole = tempfile::tempdir().expect("a folder");
    let forged = base.forged();
    let now = forged.now;
    forged.write(whole.path(), &base.key);
    let mut bytes = Vec::new();
    let mut names: Vec<String> = std::fs::read_dir(whole.path())
        .expect("the folder")
        .map(|entry| {
            entry
                .expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    for name in &names {
        let content = std::fs::read(whole.path().join(name)).expect("a file");
        // Small files whole, large ones as often.
        let step = (content.len() / (flips / names.len()).max(1)).max(1);
        bytes.extend((0..content.len()).step_by(step).map(|at| (name, at)));
    }
    let wrong = each(&bytes, |(name, at)| {
        let dir = tempfile::tempdir().expect("a folder");
        for name in &names {
            std::fs::copy(whole.path().join(name), dir.path().join(name)).expect("copied");
        }
        let mut content = std::fs::read(dir.path().join(name)).expect("a file");
        content[*at] ^= 1 << (at % 8);
        std::fs::write(dir.path().join(name), content).expect("written");
        let review = reviewed(dir.path(), Path::new(PLACE), now);
        (review.verdict != review::Verdict::Refused).then(|| format!("{name}, byte {at}"))
    });
    assert!(
        wrong.is_empty(),
        "of {} flips these are not refused: {wrong:?}",
        bytes.len()
    );
}

#[test]
fn every_rule_is_broken_by_some_edit() {
    let broken: BTreeSet<&str> = KINDS.iter().map(|kind| kind.1).collect();
    let without: Vec<&str> = review::all_rules()
        .map(|(id, _)| id)
        .filter(|id| !broken.contains(id))
        // A programme that has released other requirements and a bare result need another submission, and plugins another
        // run: the tests of the command line break that rule.
        .filter(|id| !["policy/suite", "product/given", "replay/plugins"].contains(id))
        .collect();
    assert_eq!(without, [""; 0], "no edit breaks these rules");
}

#[test]
fn only_what_is_accepted_is_written() {
    let base = runtime().block_on(Base::new());
    let dir = tempfile::tempdir().expect("a folder");
    let (result, reports) = (dir.path().join("result"), dir.path().join("reports"));
    std::fs::create_dir(&result).expect("made");
    let forged = base.forged();
    let options = Options {
        now: forged.now,
        specs: specs(),
        ..Options::new()
    };
    forged.write(&result, &base.key);
    let product = dir.path().join("product.yaml");
    let submit = |text: &str, specs: &Specs| {
        std::fs::write(&product, text).expect("written");
        let place = kfconform::seal::Product::parse(text.as_bytes(), "p");
        let out = reports.join(place.map_or("x".to_owned(), |p| p.place()));
        let options = Options {
            specs,
            ..options.clone()
        };
        let submitted = review::submit(&result, &product, &base.key, Some(&out), &options);
        runtime().block_on(submitted)
    };

    // No version of the suite is released, as the embedded programme has it.
    let refused = submit(PRODUCT, Specs::embedded()).expect("it can be reviewed");
    assert!(refused.review.refuses("policy/suite") && refused.folder.is_none());
    let refused = submit(&PRODUCT.replace("Aurora ML", "KF"), specs()).expect("it can be reviewed");
    assert!(
        refused.review.refuses("product/name"),
        "{:?}",
        refused.review
    );
    assert!(submit(&PRODUCT.replace("https", "ftp"), specs()).is_err());
    assert!(!reports.exists(), "something was written");

    let accepted = submit(PRODUCT, specs()).expect("it can be reviewed");
    assert_eq!(accepted.review.refusals, []);
    let folder = accepted.folder.expect("it was written");
    assert!(
        folder.ends_with(
            Path::new(PLACE)
                .strip_prefix("reports")
                .expect("it is below")
        )
    );
    let again = runtime().block_on(review::review(&folder, &options));
    assert_eq!(again.verdict, review::Verdict::Accepted);
    assert!(submit(PRODUCT, specs()).is_err(), "it was overwritten");
    let parent = folder.parent().expect("it has one");
    assert_eq!(std::fs::read_dir(parent).expect("it is there").count(), 1);
}

#[test]
fn another_key_than_the_trusted_one_is_refused() {
    let base = runtime().block_on(Base::new());
    let dir = tempfile::tempdir().expect("a folder");
    let forged = base.forged();
    let options = |trust| Options {
        now: base.results.run.finished,
        specs: specs(),
        place: Some(PLACE.into()),
        trust,
        ..Options::new()
    };
    forged.write(dir.path(), &base.key);
    let review = |trust| runtime().block_on(review::review(dir.path(), &options(trust)));
    let other = PrivateKey::generate().expect("a key").public();
    assert!(review(vec![other]).refuses("signature/key"));
    let known = review(vec![other, base.key.public()]);
    assert_eq!(known.refusals, []);
    assert!(known.about.is_some_and(|about| about.key_known));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
