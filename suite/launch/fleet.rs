//! The same plan on several clusters side by side: one result of each, and one summary.

use std::{
    collections::BTreeSet,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::{
    engine::{self, Event, Interrupt, RunOptions},
    report::{
        self,
        model::{ApiVersion, Totals, Verdict},
    },
};

/// The largest file of a fleet that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most clusters of one.
const MOST: usize = 100;

/// The summary's file, in the folder of the results.
pub const SUMMARY_FILE: &str = "fleet.json";

/// A file that names clusters.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fleet {
    /// `conformance.kubeflow.org/v1`.
    pub api_version: ApiVersion,
    /// `Fleet`.
    pub kind: Kind,
    /// The clusters.
    pub clusters: Vec<Member>,
}

/// The kind of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Kind {
    /// The only one.
    Fleet,
}

/// One cluster of a fleet. Paths are relative to the file's folder.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Member {
    /// Its name, which is that of its result's folder.
    pub name: String,
    /// Its kubeconfig; else the one that other commands take.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context.
    #[serde(default)]
    pub context: Option<String>,
    /// Its configuration file.
    #[serde(default)]
    pub config: Option<PathBuf>,
}

/// Why a fleet cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the fleet {path}: {why}")]
pub struct FleetError {
    path: String,
    why: String,
}

impl Fleet {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, FleetError> {
        let bad = |why: String| FleetError {
            path: path.display().to_string(),
            why,
        };
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
            .map_err(|e| bad(e.to_string()))?;
        if text.len() as u64 > MAX_FILE {
            return Err(bad(format!("it is larger than {MAX_FILE} bytes")));
        }
        let mut fleet: Self = serde_saphyr::from_str(&text).map_err(|e| {
            let (at, why) = crate::spec::read_error(&e);
            bad(at.map_or_else(
                || why.clone(),
                |(line, column)| format!("line {line}, column {column}: {why}"),
            ))
        })?;
        if fleet.clusters.is_empty() || fleet.clusters.len() > MOST {
            return Err(bad(format!(
                "it names {} clusters; one to {MOST} are possible",
                fleet.clusters.len()
            )));
        }
        let mut names = BTreeSet::new();
        for member in &mut fleet.clusters {
            let name = &member.name;
            let plain = name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if name.is_empty()
                || name.len() > 63
                || !plain
                || name.starts_with('.')
                || name == SUMMARY_FILE
            {
                return Err(bad(format!(
                    "`{name}` cannot be a folder's name; a name has letters, digits, `-`, `_` and `.`"
                )));
            }
            if !names.insert(name.clone()) {
                return Err(bad(format!("`{name}` is there twice")));
            }
            let folder = path.parent().unwrap_or(Path::new(""));
            for file in [&mut member.kubeconfig, &mut member.config]
                .into_iter()
                .flatten()
            {
                *file = folder.join(&*file);
            }
        }
        Ok(fleet)
    }
}

/// What came of a fleet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// `conformance.kubeflow.org/v1`.
    pub api_version: ApiVersion,
    /// `FleetSummary`.
    pub kind: String,
    /// The profile.
    pub profile: String,
    /// The release that was judged, where it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// One entry for each cluster, in the order of the file.
    pub clusters: Vec<Row>,
}

/// What came of one cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The verdict; `incomplete` where there is no result.
    pub verdict: Verdict,
    /// The exit code that `run` gives.
    pub code: u8,
    /// The numbers of checks by outcome.
    pub totals: Totals,
    /// The run's id.
    pub run: String,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Summary {
    /// The exit code of all: that of the worst, where a usage error is worse than a missing verdict, and that than a
    /// deviation.
    pub fn exit_code(&self) -> u8 {
        const WORST: [u8; 4] = [2, 3, 1, 0];
        let codes: Vec<u8> = self.clusters.iter().map(|row| row.code).collect();
        WORST
            .into_iter()
            .find(|code| codes.contains(code))
            .unwrap_or(3)
    }
}

/// Runs on every cluster at once. `hear` is told of each event with the cluster's place. Results are written below each
/// one's `out`.
pub async fn run(
    members: Vec<(String, RunOptions)>,
    interrupt: watch::Receiver<Interrupt>,
    hear: impl Fn(&str, Event) + Send + Sync,
) -> Vec<Row> {
    let hear = &hear;
    let all = members.into_iter().map(|(name, options)| {
        let interrupt = interrupt.clone();
        async move {
            let (sender, mut events) = mpsc::unbounded_channel();
            let (run, out) = (options.id.clone(), options.out.clone());
            let specs = Arc::clone(&options.specs);
            let running = engine::run(options, sender, interrupt);
            let hearing = async {
                while let Some(event) = events.recv().await {
                    hear(&name, event);
                }
            };
            let (made, ()) = futures::join!(running, hearing);
            let written = made
                .map_err(|e| (e.exit_code(), e.to_string()))
                .and_then(|results| {
                    if let Some(out) = out {
                        let write =
                            |e: std::io::Error| (3, format!("cannot write the result: {e}"));
                        report::write_beside(&results, &specs, &out).map_err(write)?;
                    }
                    Ok(results)
                });
            match written {
                Ok(results) => Row {
                    name,
                    verdict: results.verdict,
                    code: results.verdict.exit_code(),
                    totals: results.all_totals(),
                    run,
                    error: None,
                },
                Err((code, error)) => Row {
                    name,
                    verdict: Verdict::Incomplete,
                    code,
                    totals: Totals::default(),
                    run,
                    error: Some(error),
                },
            }
        }
    });
    join_all(all).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fleet, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.yaml");
        std::fs::write(&path, text).unwrap();
        Fleet::read(&path).map_err(|e| e.to_string())
    }

    const HEAD: &str = "apiVersion: conformance.kubeflow.org/v1\nkind: Fleet\n";

    #[test]
    fn a_fleet_names_clusters() {
        let fleet = read(&format!(
            "{HEAD}clusters: [{{name: eu, kubeconfig: eu.yaml}}, {{name: us, context: us}}]\n"
        ))
        .unwrap();
        assert!(fleet.clusters[0].kubeconfig.as_ref().unwrap().is_absolute());
        for (clusters, why) in [
            ("[]", "0 clusters"),
            ("[{name: a}, {name: a}]", "twice"),
            ("[{name: ../a}]", "folder"),
            ("[{name: a, kubeconfg: b}]", "kubeconfg"),
        ] {
            let error = read(&format!("{HEAD}clusters: {clusters}\n")).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_worst_decides() {
        let row = |code: u8| Row {
            name: code.to_string(),
            verdict: Verdict::Incomplete,
            code,
            totals: Totals::default(),
            run: String::new(),
            error: None,
        };
        let of = |codes: &[u8]| {
            Summary {
                api_version: ApiVersion::V1,
                kind: "FleetSummary".to_owned(),
                profile: "all".to_owned(),
                release: None,
                clusters: codes.iter().map(|code| row(*code)).collect(),
            }
            .exit_code()
        };
        assert_eq!(of(&[0, 0]), 0);
        assert_eq!(of(&[0, 1]), 1);
        assert_eq!(of(&[1, 3, 0]), 3);
        assert_eq!(of(&[1, 3, 2]), 2);
    }
}
