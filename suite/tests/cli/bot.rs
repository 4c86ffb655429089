//! What reviews pull requests: the script for any forge, and the action and workflow around it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{Said, common::PLACE, folder, kfconform, program, read};

const SAMPLE: &str = "reports/sample/26.03/aurora-ml-platform/3.2.0";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A sample submission at [`SAMPLE`], and the key that signed it beside it, made once.
fn submission() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = folder();
        let with_password = |args: &[&str]| {
            let mut command = program(dir.path(), args);
            command.env("COSIGN_PASSWORD", "");
            Said::from(command.output().expect("the program starts"))
        };
        fs::write(dir.path().join("product.yaml"), crate::PRODUCT).expect("written");
        with_password(&["keygen", "--out", "my"]).exits(0);
        let run = ["run", "--reference", "--profile", "notebooks", "--quiet"];
        with_password(&[&run[..], &["--key", "my.key", "--out", "result"]].concat()).exits(0);
        let submit = [
            "submit",
            "result",
            "--product",
            "product.yaml",
            "--key",
            "my.key",
        ];
        with_password(&[&submit[..], &["--allow-sample", "--out", SAMPLE]].concat()).exits(0);
        dir
    })
    .path()
}

/// A repository with a base and a pull request.
struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    /// With the script as the base has it, and some other file.
    fn new() -> Self {
        let repository = Self { dir: folder() };
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        fs::create_dir(repository.path("reports")).expect("made");
        for name in [
            "README.md",
            "reports/README.md",
            "reports/review-changes.sh",
        ] {
            fs::copy(root().join(name), repository.path(name)).expect(name);
        }
        repository.commit();
        repository.git(&["checkout", "--quiet", "-b", "change"]);
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn git(&self, args: &[&str]) -> String {
        self.git_with(args, b"")
    }

    fn git_with(&self, args: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("git");
        command.args(args).current_dir(self.dir.path());
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "A")
                .env(format!("GIT_{who}_EMAIL"), "a@b.org");
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("git is there");
        let mut stdin = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, input).expect("git reads");
        drop(stdin);
        let said = Said::from(child.wait_with_output().expect("git ends"));
        said.exits(0).out.trim_end().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("made");
        fs::write(path, text).expect(name);
    }

    /// Puts the submission there.
    fn submit(&self, place: &str) {
        fs::create_dir_all(self.path(place)).expect("made");
        for entry in submission().join(SAMPLE).read_dir().expect("readable") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), self.path(place).join(entry.file_name())).expect("copied");
        }
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
    }

    /// What is committed becomes the base.
    fn merge(&self) {
        self.commit();
        self.git(&["branch", "--force", "main", "change"]);
    }

    /// Commits `reports` with one more entry, which no work tree could hold.
    fn commit_entry(&self, mode: &str, kind: &str, name: &str, of: &str) {
        let mut entries = self.git(&["ls-tree", "-z", "HEAD:reports"]).into_bytes();
        entries.extend(format!("{mode} {kind} {of}\t{name}\0").bytes());
        let reports = self.git_with(&["mktree", "-z", "--missing"], &entries);
        let top = format!("040000 tree {reports}\treports\n");
        let rest: String = self
            .git(&["ls-tree", "HEAD"])
            .lines()
            .filter(|line| !line.ends_with("\treports"))
            .map(|line| format!("{line}\n"))
            .collect();
        let tree = self.git_with(&["mktree"], format!("{top}{rest}").as_bytes());
        let commit = self.git(&["commit-tree", &tree, "-p", "HEAD", "-m", "x"]);
        self.git(&["reset", "--quiet", "--soft", &commit]);
    }

    fn blob(&self, text: &str) -> String {
        self.git_with(&["hash-object", "-w", "--stdin"], text.as_bytes())
    }

    /// Runs the base's script over what is committed; the comment goes with what it said.
    fn review(&self) -> (Said, String) {
        self.review_with(&[])
    }

    fn review_with(&self, environment: &[(&str, &str)]) -> (Said, String) {
        let base = folder();
        let script = base.path().join("review-changes.sh");
        fs::write(
            &script,
            self.git(&["show", "main:reports/review-changes.sh"]),
        )
        .expect("written");
        let comment = base.path().join("out/review.md");
        let mut command = Command::new("bash");
        command
            .arg(&script)
            .args(["main", "change"])
            .current_dir(self.dir.path());
        command
            .env("KFCONFORM", env!("CARGO_BIN_EXE_kfconform"))
            .env("COMMENT", &comment);
        command
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        let said = Said::from(command.output().expect("bash is there"));
        let comment = fs::read_to_string(comment).unwrap_or_default();
        // Whatever happens, nothing of the pull request was executed.
        assert!(!self.path("executed").exists(), "{comment}");
        (said, comment)
    }
}

#[test]
fn an_accepted_submission_leaves_people_what_needs_them() {
    let repository = Repository::new();
    repository.submit(SAMPLE);
    repository.commit();
    let (said, comment) = repository.review();
    let said = said.exits(0);
    assert!(
        said.out
            .starts_with("1 accepted, 0 refused, 0 without a verdict"),
        "{}",
        said.out
    );
    for line in [
        "<!-- kfconform-review submissions=1 -->",
        "## Conformance review: 1 accepted",
        &format!("### ✅ `{SAMPLE}`: accepted, a sample"),
    ] {
        assert!(comment.lines().any(|l| l == line), "{line}\n{comment}");
    }
    assert!(!comment.contains("What else"), "{comment}");

    // At a place where it would count it is refused: the base decides what is a sample, by its place.
    repository.submit(PLACE);
    repository.commit();
    let (said, comment) = repository.review();
    said.exits(1);
    assert!(
        comment.contains("## Conformance review: 1 accepted, 1 refused"),
        "{comment}"
    );
    assert!(comment.contains("`policy/target`"), "{comment}");
    // Nobody knows the key yet, so that is said.
    assert!(comment.contains("(new)"), "{comment}");
}

#[test]
fn a_pull_request_without_a_submission_is_not_held_up() {
    let repository = Repository::new();
    repository.write("reports/README.md", "changed");
    repository.write("suite/new.rs", "changed");
    repository.commit();
    let (said, comment) = repository.review();
    said.exits(0);
    assert!(
        comment.starts_with(
            "<!-- kfconform-review submissions=0 -->\n## Conformance review: nothing to review"
        ),
        "{comment}"
    );
}

#[test]
fn keys_are_those_that_the_base_knows() {
    let repository = Repository::new();
    repository.submit(PLACE);
    repository.merge();
    // The next version, signed with the same key: it is known from the last.
    repository.submit("reports/26.03/aurora-ml-platform/3.3.0");
    repository.commit();
    let (_, comment) = repository.review();
    assert!(comment.contains("(known)"), "{comment}");

    // Another product's key is not this one's.
    repository.submit("reports/26.03/borealis/1.0.0");
    repository.commit();
    let (_, comment) = repository.review();
    assert!(
        comment.contains("(known)") && comment.contains("(new)"),
        "{comment}"
    );

    // A key that the base does not know for the product is refused, whatever the pull request says about keys.
    let repository = Repository::new();
    let other = folder();
    let mut keygen = program(other.path(), &["keygen", "--out", "other"]);
    Said::from(keygen.env("COSIGN_PASSWORD", "").output().expect("starts")).exits(0);
    repository.write(
        "reports/keys/aurora-ml-platform/2026.pub",
        &read(other.path().join("other.pub")),
    );
    repository.merge();
    repository.submit(PLACE);
    repository.write(
        "reports/keys/aurora-ml-platform/2027.pub",
        &read(submission().join("my.pub")),
    );
    repository.commit();
    let (said, comment) = repository.review();
    said.exits(1);
    assert!(
        comment.contains("`signature/key`") && comment.contains("none of those that are trusted"),
        "{comment}"
    );
    assert!(
        comment.contains("no part of a submission: `reports/keys/aurora-ml-platform/2027.pub`"),
        "{comment}"
    );
    // Once people have merged the key it is known.
    repository.git(&["rm", "--quiet", "-r", PLACE]);
    repository.merge();
    repository.submit(PLACE);
    repository.commit();
    assert!(repository.review().1.contains("(known)"));
}

#[test]
fn what_another_version_made_gets_no_verdict_and_several_folders_get_one_each() {
    let repository = Repository::new();
    repository.submit(SAMPLE);
    let other = "reports/sample/26.03/aurora-ml-platform/3.2.1";
    repository.submit(other);
    let results = repository.path(other).join("results.json");
    let text = read(&results).replacen(
        &format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION")),
        "\"version\": \"99.0.0\"",
        1,
    );
    fs::write(&results, text).expect("written");
    let key = submission().join("my.key");
    let mut sign = program(
        &repository.path(other),
        &["sign", ".", "--key", key.to_str().expect("UTF-8")],
    );
    Said::from(sign.env("COSIGN_PASSWORD", "").output().expect("starts")).exits(0);
    repository.commit();
    let (said, comment) = repository.review();
    said.exits(3);
    assert!(
        comment.contains("## Conformance review: 1 accepted, 1 without a verdict"),
        "{comment}"
    );
    assert!(
        comment.contains(&format!("### ❔ `{other}`: no verdict"))
            && comment.contains("`suite/version`"),
        "{comment}"
    );

    // A refused one decides over one without a verdict.
    repository.write("reports/sample/26.03/a/1/results.json", "{}");
    repository.commit();
    let (said, comment) = repository.review();
    said.exits(1);
    assert!(
        comment.contains("1 accepted, 1 refused, 1 without a verdict"),
        "{comment}"
    );
    // Too many at once are not reviewed in silence.
    let (said, comment) = repository.review_with(&[("MAX_SUBMISSIONS", "1")]);
    said.exits(1);
    assert!(comment.contains("2 more submissions: refused"), "{comment}");
    // A program that is not there, or does not do its work, accepts nothing.
    repository
        .review_with(&[("KFCONFORM", "no-such-program")])
        .0
        .exits(2);
    let (said, comment) = repository.review_with(&[("KFCONFORM", "cat")]);
    said.exits(1);
    assert!(!comment.contains("accepted"), "{comment}");
}

#[test]
fn changes_beside_a_submission_and_of_merged_ones_are_told() {
    let repository = Repository::new();
    repository.submit(SAMPLE);
    repository.submit("reports/sample/26.03/aurora-ml-platform/3.1.0");
    repository.merge();
    repository.git(&[
        "rm",
        "--quiet",
        "-r",
        "reports/sample/26.03/aurora-ml-platform/3.1.0",
    ]);
    repository.write(&format!("{SAMPLE}/product.yaml"), "kind: Product\n");
    repository.write("suite/main.rs", "fn main() {}\n");
    repository.commit();
    let (said, comment) = repository.review();
    said.exits(1);
    for line in [
        format!(
            "- [ ] It changes what was merged before, where submissions are added and not changed: `{SAMPLE}`"
        ),
        "- [ ] It removes `reports/sample/26.03/aurora-ml-platform/3.1.0`".to_owned(),
        "- [ ] It changes files that are no part of a submission: `suite/main.rs`".to_owned(),
    ] {
        assert!(comment.lines().any(|l| *l == line), "{line}\n{comment}");
    }
    // What the base did meanwhile is not the pull request's doing.
    repository.git(&["checkout", "--quiet", "main"]);
    repository.write("docs.md", "new");
    repository.commit();
    repository.git(&["checkout", "--quiet", "change"]);
    assert!(!repository.review().1.contains("docs.md"));
}

/// Names and modes that no honest pull request has.
#[test]
fn hostile_names_lead_nowhere_and_act_nowhere() {
    let repository = Repository::new();
    let script = "#!/bin/sh\ntouch executed\n";
    repository.write("reports/review-changes.sh", script);
    repository.write(".gitattributes", "* filter=evil diff=evil\n");
    for name in [
        "reports/26.03/--help/$(touch executed)/x",
        "reports/26.03/a b/1.0.0/results.json",
        "reports/26.03/a\nb/1.0.0/results.json",
        "reports/26.03/`touch executed`/1.0.0/results.json",
        "reports/26.03/@kubeflow/<img src=x>/[a](b)",
        "reports/26.03/aurora/-rf/results.json",
        "reports/-x/aurora/1.0.0/results.json",
        "reports/26.03/ends\n## Conformance review: 1 accepted/1.0.0/x",
    ] {
        repository.write(name, script);
    }
    // Places that are fine, with files that are not.
    repository.write("reports/26.03/aurora/1.0.0/results.json", "{}");
    repository.write("reports/26.03/aurora/1.0.0/--help", script);
    repository.write("reports/26.03/aurora/1.1.0/deep/results.json", "{}");
    repository.write("reports/26.03/aurora/1.2.0/a\nb", script);
    #[cfg(unix)]
    {
        fs::create_dir_all(repository.path("reports/26.03/aurora/1.3.0")).expect("made");
        let link = repository.path("reports/26.03/aurora/1.3.0/results.json");
        std::os::unix::fs::symlink("/etc/passwd", link).expect("linked");
    }
    repository.commit();
    let (said, comment) = repository.review();
    said.exits(1);
    assert!(
        comment.contains("`reports/26.03/a b/1.0.0/results.json`"),
        "{comment}"
    );
    for (version, name) in [
        ("1.0.0", "--help"),
        ("1.1.0", "deep"),
        ("1.2.0", "a?b"),
        ("1.3.0", "results.json"),
    ] {
        let says = format!(
            "### ❌ `reports/26.03/aurora/{version}`: refused\n\n`{name}` is no plain file"
        );
        assert!(comment.contains(&says), "{says}\n{comment}");
    }
    harmless(&comment);

    // Names that no work tree can hold: out of the repository, and a commit of another one.
    let repository = Repository::new();
    let blob = repository.blob(script);
    repository.commit_entry(
        "160000",
        "commit",
        "26.03",
        "0123456789012345678901234567890123456789",
    );
    repository.commit_entry("100755", "blob", "*", &blob);
    repository.write("reports/x/y/z", "");
    let (said, comment) = repository.review();
    said.exits(0);
    harmless(&comment);
    let file = format!("100644 x\0{}", "\x01".repeat(20));
    let inner = repository.git_with(
        &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        file.as_bytes(),
    );
    let up = [b"40000 ..\0".as_slice(), &bytes(&inner)].concat();
    let up = repository.git_with(
        &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        &up,
    );
    repository.commit_entry("040000", "tree", "sample", &up);
    let (said, comment) = repository.review();
    said.exits(1);
    assert!(
        comment.contains("no place of a submission") && comment.contains("`reports/sample/../x`"),
        "{comment}"
    );
    harmless(&comment);
}

/// An object's name as it stands in a tree.
fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// Outside code spans only our own words stand.
fn harmless(comment: &str) {
    for line in comment.lines().skip(1) {
        let outside: String = line.split('`').step_by(2).collect();
        assert!(!outside.contains(['@', '<', '>', '$']), "{line}");
    }
    assert_eq!(
        comment.lines().filter(|l| l.starts_with("## ")).count(),
        1,
        "{comment}"
    );
}

/// Every script in the action and the workflows: whole, and without a value put into its text.
#[test]
fn the_scripts_of_the_action_and_the_workflows_parse_and_take_values_by_the_environment() {
    let mut scripts = Vec::new();
    for name in [
        ".github/actions/review/action.yml",
        ".github/workflows/review.yml",
        ".github/workflows/ci.yml",
    ] {
        let yaml: serde_json::Value = serde_saphyr::from_str(&read(root().join(name))).expect(name);
        let before = scripts.len();
        runs(&yaml, &mut |run| {
            scripts.push((name.to_owned(), run.to_owned()));
        });
        assert!(scripts.len() > before, "{name} runs nothing?");
        // What is not ours is pinned to a commit, and where strangers' work is read, by nobody who may write.
        let text = read(root().join(name));
        if name.contains("review") {
            for uses in text
                .lines()
                .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: "))
            {
                let pinned = uses
                    .split_once('@')
                    .is_some_and(|(_, at)| at.split(' ').next().is_some_and(|sha| sha.len() == 40));
                assert!(pinned || uses.starts_with("./"), "{name}: {uses}");
            }
        }
    }
    for name in [
        "reports/review-changes.sh",
        ".github/actions/review/comment.sh",
    ] {
        scripts.push((name.to_owned(), read(root().join(name))));
    }
    for (name, script) in scripts {
        assert!(!script.contains("${{"), "{name}: {script}");
        let mut child = Command::new("bash")
            .arg("-n")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let mut stdin = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, script.as_bytes()).expect("bash reads");
        drop(stdin);
        Said::from(child.wait_with_output().expect("bash ends")).exits(0);
    }
    let workflow: serde_json::Value =
        serde_saphyr::from_str(&read(root().join(".github/workflows/review.yml"))).expect("YAML");
    assert_eq!(workflow["permissions"], serde_json::json!({}));
    assert_eq!(
        workflow["jobs"]["review"]["permissions"],
        serde_json::json!({"contents": "read"})
    );
    for job in ["review", "comment"] {
        for step in workflow["jobs"][job]["steps"].as_array().expect("steps") {
            if step["uses"]
                .as_str()
                .is_some_and(|uses| uses.starts_with("actions/checkout@"))
            {
                // The base, never the pull request, and no token left behind.
                assert_eq!(
                    step["with"]["ref"],
                    "${{ github.event.pull_request.base.sha }}"
                );
                assert_eq!(step["with"]["persist-credentials"], false);
            }
        }
    }
}

fn runs(value: &serde_json::Value, found: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().filter(|_| key == "run") {
                    Some(run) => found(run),
                    None => runs(value, found),
                }
            }
        }
        serde_json::Value::Array(all) => all.iter().for_each(|value| runs(value, found)),
        _ => {}
    }
}

#[test]
fn the_comment_is_posted_once_and_then_kept_up_to_date() {
    let dir = folder();
    // A `gh` that says what it was asked, and knows of one comment or none.
    let gh = dir.path().join("gh");
    fs::write(&gh, "#!/bin/sh\nprintf '%s\\n' \"$*\" >>\"$ASKED\"\ncase $* in *--jq*) printf '%s' \"$EARLIER\" ;; esac\n").expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&gh, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let path = format!(
        "{}:{}",
        dir.path().display(),
        std::env::var("PATH").expect("set")
    );
    let post = |text: &str, earlier: &str, number: &str| {
        let asked = dir.path().join("asked");
        drop(fs::remove_file(&asked));
        fs::write(dir.path().join("review.md"), text).expect("written");
        let mut command = Command::new("bash");
        command
            .arg(root().join(".github/actions/review/comment.sh"))
            .arg("review.md")
            .current_dir(dir.path());
        command
            .env("PATH", &path)
            .env("ASKED", &asked)
            .env("EARLIER", earlier);
        command
            .env("GITHUB_REPOSITORY", "kubeflow/conformance")
            .env("NUMBER", number)
            .env("GH_TOKEN", "t");
        let said = Said::from(command.output().expect("bash is there"));
        (said.code, fs::read_to_string(&asked).unwrap_or_default())
    };
    let some = "<!-- kfconform-review submissions=1 -->\nx\n";
    let none = "<!-- kfconform-review submissions=0 -->\nx\n";
    let (code, asked) = post(some, "", "7");
    assert_eq!(code, 0);
    assert!(
        asked.contains("POST repos/kubeflow/conformance/issues/7/comments --field body=@review.md"),
        "{asked}"
    );
    let (_, asked) = post(some, "11\n12\n", "7");
    assert!(
        asked.contains("PATCH repos/kubeflow/conformance/issues/comments/11 ")
            && !asked.contains("POST"),
        "{asked}"
    );
    // Where there is nothing to review nobody is told so, unless there was something.
    assert!(!post(none, "", "7").1.contains("POST"));
    assert!(post(none, "11", "7").1.contains("PATCH"));
    assert_eq!(post(some, "", "7; x"), (2, String::new()));
    assert_eq!(post(&"x".repeat(70_000), "", "7"), (2, String::new()));
}

/// What the program is asked for is the base's choice: a program that only tells its arguments shows it.
#[cfg(unix)]
#[test]
fn the_network_is_asked_where_the_base_wants_it() {
    use std::os::unix::fs::PermissionsExt;
    let repository = Repository::new();
    repository.submit(SAMPLE);
    repository.commit();
    let dir = folder();
    let tells = dir.path().join("tells");
    fs::write(&tells, "#!/bin/sh\necho \"$@\"\n").expect("written");
    fs::set_permissions(&tells, fs::Permissions::from_mode(0o755)).expect("set");
    let tells = tells.to_str().expect("UTF-8");
    let plain = format!("review {SAMPLE} --format markdown --allow-sample");
    let online = format!("review {SAMPLE} --format markdown --online --allow-sample");
    for (wanted, asked) in [("off", &plain), ("", &plain), ("on", &online)] {
        let (said, comment) = repository.review_with(&[("KFCONFORM", tells), ("ONLINE", wanted)]);
        said.exits(0);
        assert!(comment.lines().any(|line| line == asked), "{comment}");
    }
}

#[test]
fn the_script_says_what_it_needs() {
    let repository = Repository::new();
    let dir = folder();
    let run = |args: &[&str]| {
        let mut command = Command::new("bash");
        command
            .arg(root().join("reports/review-changes.sh"))
            .args(args)
            .current_dir(repository.dir.path());
        command
            .env("KFCONFORM", env!("CARGO_BIN_EXE_kfconform"))
            .env("COMMENT", dir.path().join("c"));
        Said::from(command.output().expect("bash is there"))
    };
    assert!(run(&[]).exits(2).err.contains("base commit"));
    assert!(
        run(&["--upload-pack=x"])
            .exits(2)
            .err
            .contains("there is no commit")
    );
    assert!(
        run(&["main", "no-such"])
            .exits(2)
            .err
            .contains("there is no commit no-such")
    );
    run(&["main"]).exits(0);
    kfconform(dir.path(), &["review", "none"]).exits(2);
}
