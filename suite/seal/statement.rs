//! What is claimed (in-toto Statement v1 with the test-result v0.1 predicate).

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::submission::Record;
use crate::report::model::{CheckResult, Outcome, Results, Run, Target, Verdict};

/// The type that is written.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type that cosign writes by itself; its members are the same.
const OLD_STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v0.1";
/// The type of the predicate, which verifiers are told to ask for.
pub const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// The one digest that subjects are compared by.
const SHA256: &str = "sha256";

/// Why what was signed is no claim about a result.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It does not have the members of a statement about a test's result.
    #[error("the statement is not one about a test's result: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another type.
    #[error("the statement's type is {0:?}, not `{STATEMENT_TYPE}`")]
    Type(String),
    /// It claims something of another kind.
    #[error("the predicate's type is {0:?}, not `{PREDICATE_TYPE}`")]
    PredicateType(String),
}

/// A claim about files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    type_: String,
    /// The files, by name and digest.
    pub subject: Vec<Descriptor>,
    predicate_type: String,
    /// What is claimed of them.
    pub predicate: TestResult,
}

/// A thing and what it is known by. At least one of `uri` and `digest` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Descriptor {
    /// A file name, or a name that a person reads.
    #[serde(default)]
    pub name: String,
    /// Where or what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Digests by algorithm, lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub digest: IndexMap<String, String>,
}

impl Descriptor {
    /// A thing known by its SHA-256.
    pub fn sha256(name: impl Into<String>, digest: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            uri: None,
            digest: [(SHA256.to_owned(), digest.into())].into(),
        }
    }

    /// The SHA-256 that it is known by.
    pub fn digest(&self) -> Option<&str> {
        self.digest.get(SHA256).map(String::as_str)
    }
}

/// The predicate: how a test came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// The short of it.
    pub result: TestOutcome,
    /// What the test was: the requirements and the program.
    pub configuration: Vec<Descriptor>,
    /// Ids of the checks that passed at once.
    #[serde(default)]
    pub passed_tests: Vec<String>,
    /// Ids of those that a person should look at: passed only when run again, or could not run.
    #[serde(default)]
    pub warned_tests: Vec<String>,
    /// Ids of those that failed.
    #[serde(default)]
    pub failed_tests: Vec<String>,
    /// What the predicate has no words for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conformance: Option<Conformance>,
}

/// The three words of the predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestOutcome {
    /// Conformant.
    Passed,
    /// Conformant, but some check only when run again.
    Warned,
    /// Not conformant, or not known to be.
    Failed,
}

/// Our own part of the predicate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conformance {
    /// The verdict, which distinguishes non-conformant from incomplete.
    pub verdict: Verdict,
    /// The run's id.
    pub run_id: String,
    /// What was checked.
    pub target: Target,
    /// The profile whose requirements were planned.
    pub profile: String,
    /// The Kubeflow release that they were taken from.
    pub release: String,
    /// Whether the result may be part of a submission.
    pub submittable: bool,
    /// Whose product it is about and for how long it counts, once it is submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<Record>,
}

impl Statement {
    /// The claim that these results, in these files, came of a run (of this product).
    pub fn new(results: &Results, submission: Option<Record>, subject: Vec<Descriptor>) -> Self {
        Self {
            type_: STATEMENT_TYPE.to_owned(),
            subject,
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: TestResult::of(results, submission),
        }
    }

    /// The text that is signed.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, lists and maps of them can be written")
    }

    /// Reads the text of a statement about a test's result.
    pub fn parse(json: &[u8]) -> Result<Self, StatementError> {
        /// What statements of every kind have, so that the error for another kind says so.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Header {
            #[serde(rename = "_type")]
            type_: String,
            predicate_type: String,
        }
        let Header {
            type_,
            predicate_type,
        } = serde_json::from_slice(json)?;
        if type_ != STATEMENT_TYPE && type_ != OLD_STATEMENT_TYPE {
            return Err(StatementError::Type(type_));
        }
        if predicate_type != PREDICATE_TYPE {
            return Err(StatementError::PredicateType(predicate_type));
        }
        Ok(serde_json::from_slice(json)?)
    }
}

impl TestResult {
    /// The predicate that results, or a submission of them, amount to. A reviewer compares it with the results that were
    /// signed: the two cannot say different things.
    pub fn of(results: &Results, submission: Option<Record>) -> Self {
        let again =
            |check: &CheckResult| check.attempts.iter().any(|a| a.outcome != Outcome::Passed);
        let ids = |wanted: &dyn Fn(&CheckResult) -> bool| -> Vec<String> {
            let checks = results.checks.iter().filter(|check| wanted(check));
            checks.map(|check| check.id.clone()).collect()
        };
        let warned_tests = ids(&|check| match check.outcome {
            Outcome::Passed => again(check),
            Outcome::CouldNotRun => true,
            Outcome::Failed | Outcome::NotApplicable => false,
        });
        let Run {
            id,
            target,
            profile,
            release,
            ..
        } = &results.run;
        Self {
            result: match results.verdict {
                Verdict::Conformant if warned_tests.is_empty() => TestOutcome::Passed,
                Verdict::Conformant => TestOutcome::Warned,
                Verdict::NonConformant | Verdict::Incomplete => TestOutcome::Failed,
            },
            configuration: configuration(results),
            passed_tests: ids(&|check| check.outcome == Outcome::Passed && !again(check)),
            warned_tests,
            failed_tests: ids(&|check| check.outcome == Outcome::Failed),
            conformance: Some(Conformance {
                verdict: results.verdict,
                run_id: id.clone(),
                target: *target,
                profile: profile.clone(),
                release: release.clone(),
                submittable: results.submittable,
                submission,
            }),
        }
    }
}

/// The requirements and the program. Each has what the predicate asks for: a `uri` or a digest.
fn configuration(results: &Results) -> Vec<Descriptor> {
    let suite = &results.suite;
    let mut program = Descriptor {
        name: format!("kfconform {}", suite.version),
        uri: Some(format!("pkg:cargo/kubeflow-conformance@{}", suite.version)),
        digest: IndexMap::new(),
    };
    if let Some(binary) = &suite.binary_digest {
        program.digest.insert(SHA256.to_owned(), binary.clone());
    }
    if let Some(commit) = &suite.commit {
        program
            .digest
            .insert("gitCommit".to_owned(), commit.clone());
    }
    let specs = format!("specs {}/{}", results.run.release, results.run.profile);
    vec![Descriptor::sha256(specs, &suite.specs_digest), program]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::seal::test_vectors::text;

    #[test]
    fn a_statement_is_written_as_the_accepted_one() {
        let statement = Statement::parse(text("statement.json").as_bytes()).unwrap();
        assert_eq!(statement.to_json(), text("statement.json").trim());
    }

    #[test]
    fn the_predicate_says_what_the_results_say() {
        insta::assert_json_snapshot!(Statement::new(
            &sample::mixed(),
            None,
            vec![Descriptor::sha256("results.json", "00".repeat(32))]
        ));
        assert_eq!(
            TestResult::of(&sample::conformant(), None).result,
            TestOutcome::Passed
        );
    }

    #[test]
    fn what_passed_only_when_run_again_is_a_warning() {
        let mut results = sample::conformant();
        results.checks[1].attempts = sample::mixed().checks[1].attempts.clone();
        let predicate = TestResult::of(&results, None);
        assert_eq!(predicate.result, TestOutcome::Warned);
        assert_eq!(predicate.warned_tests, [results.checks[1].id.clone()]);
        assert_eq!(predicate.passed_tests, [results.checks[0].id.clone()]);
    }

    #[test]
    fn whatever_is_not_conformant_has_failed() {
        let mut results = sample::conformant();
        results.run.complete = false;
        results.judge();
        assert_eq!(results.verdict, Verdict::Incomplete);
        assert_eq!(TestResult::of(&results, None).result, TestOutcome::Failed);
    }

    #[test]
    fn other_statements_are_refused_by_name() {
        let parse = |from: &str, to: &str| {
            let text = text("statement.json").replacen(from, to, 1);
            Statement::parse(text.as_bytes()).unwrap_err().to_string()
        };
        assert!(
            parse("Statement/v1", "Statement/v2")
                .contains("type is \"https://in-toto.io/Statement/v2\"")
        );
        assert!(parse("test-result", "vuln").contains("predicate's type"));
        assert!(parse("PASSED", "GREAT").contains("GREAT"));
        assert!(parse("\"subject\"", "\"subjects\"").contains("missing field `subject`"));
    }
}
