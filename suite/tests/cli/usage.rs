//! What cannot be meant exits with 2, at once, with a hint, and leaves nothing behind.

use crate::{folder, kfconform};

/// A command, and what its error must hold.
type Case<'a> = (&'a [&'a str], &'a [&'a str]);

#[test]
fn what_is_not_known_is_refused_with_a_hint() {
    let dir = folder();
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write(
        "key.yaml",
        "apiVersion: conformance.kubeflow.org/v1\nnamespce: x\n",
    );
    write("timeout.yaml", "timeouts: {chek: 3s}\n");
    write("component.yaml", "components: {katip: {namespace: x}}\n");
    write("kind.yaml", "kind: Konfig\n");
    write("list.yaml", "- a\n");
    let cases: &[Case] = &[
        (
            &["run", "--reference", "--only", "nothing/*"],
            &["unknown requirement `nothing/*`", "katib/", "pipelines/"],
        ),
        (
            &["run", "--reference", "--only", "katib/validaton/*"],
            &["did you mean `katib/validation/*`?"],
        ),
        (
            &["run", "--reference", "--skip", "katib/validation/objectiv"],
            &["did you mean `katib/validation/objective`?"],
        ),
        (
            &["run", "--reference", "--skip", "*"],
            &["nothing is left to check"],
        ),
        (
            &[
                "run",
                "--reference",
                "--profile",
                "katib",
                "--only",
                "kserve/*",
            ],
            &["nothing is left to check", "profile `katib`"],
        ),
        (
            &["run", "--reference", "--profil", "katib"],
            &["unexpected argument '--profil'", "--profile"],
        ),
        (
            &["run", "--reference", "--profile", "certifed"],
            &["unknown profile `certifed`", "`certified`"],
        ),
        (
            &["run", "--reference", "--release", "1.12"],
            &["unknown release `1.12`", "`1.10`"],
        ),
        (
            &["run", "--reference", "--timeout", "chek=3s"],
            &["unknown timeout `chek`", "`check`"],
        ),
        (
            &["run", "--reference", "--timeout", "check"],
            &["`--timeout check`", "NAME=DURATION"],
        ),
        (
            &["run", "--reference", "--timeout", "check=3 hours"],
            &["`3 hours` is no duration", "90s"],
        ),
        (
            &[
                "run",
                "--reference",
                "--fault",
                "katib/validation/objektive:type",
            ],
            &["unknown fault", "`katib/validation/objective:type`"],
        ),
        (
            &["run", "--fault", "katib/validation/objective:type"],
            &["--reference"],
        ),
        (
            &["run", "--reference", "--kubeconfig", "x"],
            &["--reference", "--kubeconfig"],
        ),
        (
            &["run", "--reference", "--jobs", "0"],
            &["--jobs", "1..=256"],
        ),
        (
            &["run", "--reference", "--config", "none.yaml"],
            &["cannot read the configuration none.yaml"],
        ),
        (
            &["run", "--reference", "--config", "key.yaml"],
            &[
                "key.yaml:2:1 is not valid: unknown field `namespce`",
                "did you mean `namespace`?",
            ],
        ),
        (
            &["run", "--reference", "--config", "timeout.yaml"],
            &["unknown timeout `chek`", "`check`"],
        ),
        (
            &["run", "--reference", "--config", "component.yaml"],
            &["unknown component `katip`", "`katib`"],
        ),
        (
            &["run", "--reference", "--config", "kind.yaml"],
            &["kind must be `Config`"],
        ),
        (
            &["run", "--reference", "--config", "list.yaml"],
            &["list.yaml:1:1"],
        ),
        (&["run", "--reference", "--specs", "none"], &["none"]),
        (
            &["run", "--reference", "--key", "none.key"],
            &["there is no key none.key", "kfconform keygen"],
        ),
        (
            &["run", "--reference", "--product", "none.yaml"],
            &["product's metadata none.yaml"],
        ),
        (
            &["run", "--reference", "--out", "key.yaml"],
            &["key.yaml cannot be the result's folder", "--out"],
        ),
        (
            &["run", "--reference", "--out", "."],
            &[". is not empty", "--resume"],
        ),
        (
            &["run", "--resume", "none"],
            &["there is no run to go on with", "none/results.json"],
        ),
        (
            &["run", "--resume", "none", "--only", "katib/*"],
            &["--resume", "--only"],
        ),
        (&["runn"], &["unrecognized subcommand 'runn'", "'run'"]),
        (&[], &["Usage: kfconform", "reference"]),
        (
            &["explain", "katib/validation/objectiv"],
            &["did you mean `katib/validation/objective`?"],
        ),
        (&["list", "nothing/*"], &["unknown requirement `nothing/*`"]),
        (&["list", "--profile", "katip"], &["`katib`"]),
        (
            &["plan", "--release", "0.1"],
            &["unknown release `0.1`", "1.9"],
        ),
        (&["rbac", "--bind", "me"], &["NAMESPACE/NAME"]),
        (&["cleanup", "--run", "UPPER"], &["`UPPER` is no run's id"]),
        (&["completions", "tcsh"], &["bash", "fish", "zsh"]),
        (
            &["selftest", "--only", "nothing/*"],
            &["unknown fault `nothing/*`"],
        ),
        (&["reference", "--listen", "0.0.0.0:0"], &["loopback"]),
        (&["evidence", "none"], &["none/evidence.tar.gz"]),
    ];
    for (args, hints) in cases {
        let said = kfconform(dir.path(), args).exits(2);
        for hint in *hints {
            assert!(
                said.err.contains(hint),
                "{args:?} does not say `{hint}`:\n{}",
                said.err
            );
        }
        assert_eq!(said.out, "", "{args:?} writes to standard output");
    }
    let mut left: Vec<_> = dir
        .path()
        .read_dir()
        .expect("readable")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            "component.yaml",
            "key.yaml",
            "kind.yaml",
            "list.yaml",
            "timeout.yaml"
        ]
    );
}
