//! Hostile submissions, given to the program itself: refused, in little time and memory, and nothing of them acts.
#![cfg(unix)]
#![allow(
    clippy::semicolon_if_nothing_returned,
    reason = "what is done to a submission is a row of a table, and reads best as short as it can be"
)]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compress, Compression, FlushCompress};
use kfconform::{cluster::Evidence, seal::folder::ATTESTATION_FILE};
use serde_json::{Value, json};

use crate::{
    base::{Base, base},
    mutation::places,
    process::kfconform,
    readers::packed,
};

type Files = BTreeMap<String, Vec<u8>>;

/// What is done to a submission, and where it begins: with its files before they are signed, or with its folder after.
enum Make {
    /// Files, which are then signed with the right key: nothing but the content speaks against them.
    Signed(fn(&Base, &mut Files)),
    /// A folder as it lies there.
    Folder(fn(&Path)),
}

use Make::{Folder, Signed};

const RESULTS: &str = "results.json";
const EVIDENCE: &str = "evidence.tar.gz";
const PRODUCT: &str = "product.yaml";
const JUNIT: &str = "junit.xml";
const HTML: &str = "report.html";

/// A hostile submission, and words of its refusal.
const SUBMISSIONS: &[(&str, &str, Make)] = &[
    // Compression.
    (
        "ten gigabytes of zeros",
        "",
        Signed(|_, files| {
            files.insert(EVIDENCE.into(), zeros(10 << 30));
        }),
    ),
    (
        "as many gigabytes of zeros as fit",
        "bytes unpacked",
        Signed(|_, files| {
            files.insert(EVIDENCE.into(), zeros(7 << 30));
        }),
    ),
    (
        "as many gzip members as fit",
        "before or after",
        Signed(|_, files| {
            let member = gzip(b"");
            files.insert(EVIDENCE.into(), member.repeat(400_000));
        }),
    ),
    (
        "gzip within gzip",
        "",
        Signed(|_, files| {
            let inner = files[EVIDENCE].clone();
            files.insert(EVIDENCE.into(), gzip(&inner));
        }),
    ),
    (
        "a gzip header that does not end",
        "",
        Signed(|_, files| {
            let name = vec![b'a'; 20 << 20];
            let head = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255][..], &name].concat();
            files.insert(EVIDENCE.into(), head);
        }),
    ),
    (
        "a cut archive",
        "",
        Signed(|_, files| {
            let bytes = files.get_mut(EVIDENCE).expect("it is there");
            bytes.truncate(bytes.len() / 2);
        }),
    ),
    (
        "thirty-two megabytes that are no gzip",
        "",
        Signed(|_, files| {
            files.insert(EVIDENCE.into(), vec![0xaa; 32 << 20]);
        }),
    ),
    // Archives.
    (
        "a size of eight gigabytes",
        "",
        Signed(|_, files| {
            tar(files, |tar| {
                entry(tar, b'0', "run.json", b"{}", Some(b"77777777777 "))
            })
        }),
    ),
    (
        "a size beyond all numbers",
        "",
        Signed(|_, files| {
            tar(files, |tar| {
                entry(
                    tar,
                    b'0',
                    "run.json",
                    b"{}",
                    Some(&[
                        0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                    ]),
                );
            })
        }),
    ),
    (
        "a sparse file of a terabyte",
        "",
        Signed(|_, files| {
            tar(files, |tar| {
                let at = tar.len();
                entry(tar, b'S', "run.json", b"{}", None);
                tar[at + 483..at + 495].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
                sum(&mut tar[at..at + 512]);
            })
        }),
    ),
    (
        "a path that leads out",
        "not a plain file",
        Signed(|_, files| {
            tar(files, |tar| {
                entry(tar, b'0', "../../../tmp/out.json", b"{}", None)
            })
        }),
    ),
    (
        "an absolute path",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'0', "/etc/passwd", b"{}", None))),
    ),
    (
        "a path through a folder above",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'0', "a/../../b.json", b"{}", None))),
    ),
    (
        "a path of another system",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'0', "..\\..\\b.json", b"{}", None))),
    ),
    (
        "a path that acts",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'0', NASTY_NAME, b"{}", None))),
    ),
    (
        "a path that is no text",
        "",
        Signed(|_, files| {
            tar(files, |tar| {
                let at = tar.len();
                entry(tar, b'0', "aaaa.json", b"{}", None);
                tar[at..at + 4].copy_from_slice(b"\xff\xfe\xc3\x28");
                sum(&mut tar[at..at + 512]);
            })
        }),
    ),
    (
        "a symbolic link",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'2', "run.json", b"", None))),
    ),
    (
        "a hard link",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'1', "run.json", b"", None))),
    ),
    (
        "a device",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'3', "run.json", b"", None))),
    ),
    (
        "a block device",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'4', "run.json", b"", None))),
    ),
    (
        "a folder",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'5', "run.json", b"", None))),
    ),
    (
        "a pipe",
        "not a plain file",
        Signed(|_, files| tar(files, |tar| entry(tar, b'6', "run.json", b"", None))),
    ),
    (
        "a path of ninety megabytes",
        "",
        Signed(|_, files| {
            tar(files, |tar| {
                entry(tar, b'L', "././@LongLink", &vec![b'a'; 90 << 20], None);
                entry(tar, b'0', "a", b"{}", None);
            })
        }),
    ),
    (
        "attributes of ninety megabytes",
        "",
        Signed(|_, files| {
            tar(files, |tar| {
                let value = "a".repeat(90 << 20);
                entry(
                    tar,
                    b'x',
                    "x",
                    format!("{} path={value}\n", value.len() + 15).as_bytes(),
                    None,
                );
                entry(tar, b'0', "a", b"{}", None);
            })
        }),
    ),
    (
        "a million attributes",
        "",
        Signed(|_, files| {
            tar(files, |tar| {
                entry(
                    tar,
                    b'x',
                    "x",
                    "9 a=b=c\n\n".repeat(1_000_000).as_bytes(),
                    None,
                );
                entry(tar, b'0', "a", b"{}", None);
            })
        }),
    ),
    (
        "a million files",
        "",
        Signed(|_, files| {
            files.insert(EVIDENCE.into(), many_entries(1_000_000));
        }),
    ),
    (
        "an entry twice",
        "not packed as",
        Signed(|base, files| {
            let context = to_line(base.recording.context.as_ref());
            tar(files, |tar| {
                entry(tar, b'0', "run.json", &context, None);
                entry(tar, b'0', "run.json", &context, None);
            });
        }),
    ),
    (
        "something behind the end",
        "",
        Signed(|_, files| {
            files
                .get_mut(EVIDENCE)
                .expect("it is there")
                .extend_from_slice(b"more");
        }),
    ),
    // JSON in the archive.
    (
        "evidence of a hundred thousand levels",
        "recursion limit",
        Signed(|base, files| {
            answer_text(base, files, &format!("{{\"json\":{}", "[".repeat(100_000)));
        }),
    ),
    (
        "evidence of the deepest answer that is read",
        "",
        Signed(|base, files| {
            let deep = format!("{{\"json\":{}{}}}", "[".repeat(120), "]".repeat(120));
            answer_text(base, files, &deep);
        }),
    ),
    (
        "millions of empty lists",
        "",
        Signed(|base, files| {
            answer_text(
                base,
                files,
                &format!("{{\"json\":[{}[]]}}", "[],".repeat(9_000_000)),
            );
        }),
    ),
    (
        "as many empty lists as are allowed",
        "",
        Signed(|base, files| {
            answer_text(
                base,
                files,
                &format!("{{\"json\":[{}[]]}}", "[],".repeat(300_000)),
            );
        }),
    ),
    (
        "millions of objects",
        "",
        Signed(|base, files| {
            answer_text(
                base,
                files,
                &format!("{{\"json\":[{}{{}}]}}", "{\"\":{\"\":0}},".repeat(560_000)),
            );
        }),
    ),
    (
        "a text of thirty megabytes",
        "",
        Signed(|base, files| {
            answer_text(
                base,
                files,
                &format!("{{\"text\":\"{}\"}}", "a".repeat(30 << 20)),
            );
        }),
    ),
    (
        "many large texts",
        "",
        Signed(|base, files| {
            let text = "a".repeat(30 << 20);
            every_evidence(base, files, |name, evidence| {
                if name.starts_with("run/") {
                    evidence["collected"] = json!([{"at": 0, "end": 0, "asked": {"to": "kubernetes", "method": "GET", "path": text}, "reply": {"error": "deadline"}}]);
                    evidence["removed"] = evidence["collected"].clone();
                }
            });
        }),
    ),
    (
        "a set-up that many checks make again, as large as it may be",
        "",
        Signed(|base, files| {
            every_evidence(base, files, |name, evidence| {
                if name == "setup/notebooks/ready.json" {
                    let asked = json!({"at": 0, "end": 0, "asked": {"to": "kubernetes", "method": "GET", "path": "/"}, "reply": {"answer": {"status": 200, "body": {"json": [1, 2, 3, 4]}}}});
                    let more = std::iter::repeat_n(asked, 4_900);
                    evidence["exchanges"]
                        .as_array_mut()
                        .expect("a list")
                        .extend(more);
                }
            });
        }),
    ),
    (
        "a large answer that many checks build on",
        "",
        Signed(|base, files| {
            every_evidence(base, files, |name, evidence| {
                if name == "setup/notebooks/ready.json" {
                    let lists = vec![json!([]); 190_000];
                    evidence["exchanges"]
                        .as_array_mut()
                        .expect("a list")
                        .push(json!({
                            "at": 0, "end": 0,
                            "asked": {"to": "kubernetes", "method": "GET", "path": "/"},
                            "reply": {"answer": {"status": 200, "body": {"json": lists}}},
                        }));
                }
            });
        }),
    ),
    (
        "a clean-up of everything",
        "",
        Signed(|base, files| {
            let prefix = format!(
                "/api/v1/namespaces/{}/pods",
                base.recording.context.namespace
            );
            every_evidence(base, files, |name, evidence| {
                if name == "run/cleanup.json" {
                    let items: Vec<Value> = (0..4_900)
                        .map(|n| json!({"metadata": {"name": format!("p{n}"), "uid": n}}))
                        .collect();
                    let list = json!({"at": 0, "end": 0, "asked": {"to": "kubernetes", "method": "GET", "path": prefix}, "reply": {"answer": {"status": 200, "body": {"json": {"items": items}}}}});
                    let exchanges = evidence["exchanges"].as_array_mut().expect("a list");
                    exchanges.insert(0, list);
                    let other = json!({"at": 0, "end": 0, "asked": {"to": "kubernetes", "method": "GET", "path": "/x"}, "reply": {"error": "deadline"}});
                    exchanges.extend(std::iter::repeat_n(other, 4_900));
                }
            });
        }),
    ),
    (
        "times beyond all numbers",
        "",
        Signed(|base, files| {
            every_evidence(base, files, |_, evidence| {
                for key in ["started", "deadline"] {
                    evidence[key] = u64::MAX.into();
                }
            });
        }),
    ),
    (
        "numbers beyond all numbers in evidence",
        "out of range",
        Signed(|base, files| answer_text(base, files, "{\"json\":1e999}")),
    ),
    (
        "minus nothing in evidence",
        "",
        Signed(|base, files| answer_text(base, files, "{\"json\":-0}")),
    ),
    (
        "half a pair in evidence",
        "",
        Signed(|base, files| answer_text(base, files, "{\"text\":\"\\ud800\"}")),
    ),
    (
        "a member twice in evidence",
        "",
        Signed(|base, files| answer_text(base, files, "{\"json\":{\"a\":1,\"a\":2}}")),
    ),
    // results.json.
    (
        "results of a hundred thousand levels",
        "",
        Signed(|_, files| text(files, RESULTS, |_| "[".repeat(100_000))),
    ),
    (
        "results deep within",
        "",
        Signed(|_, files| {
            text(files, RESULTS, |r| {
                r.replacen(
                    "\"checks\": [",
                    &format!("\"checks\": {}", "[{\"a\":".repeat(50_000)),
                    1,
                )
            })
        }),
    ),
    (
        "results that are no text",
        "",
        Signed(|_, files| {
            files
                .get_mut(RESULTS)
                .expect("it is there")
                .splice(100..100, *b"\xff\xfe\xc3\x28")
                .for_each(drop)
        }),
    ),
    (
        "results with a mark of their order",
        "",
        Signed(|_, files| {
            files
                .get_mut(RESULTS)
                .expect("it is there")
                .splice(0..0, *b"\xef\xbb\xbf")
                .for_each(drop)
        }),
    ),
    (
        "results of two bytes a letter",
        "",
        Signed(|_, files| {
            let wide: Vec<u8> = files[RESULTS].iter().flat_map(|byte| [*byte, 0]).collect();
            files.insert(RESULTS.into(), wide);
        }),
    ),
    (
        "a member twice",
        "duplicate field",
        Signed(|_, files| {
            text(files, RESULTS, |r| {
                r.replacen("\"verdict\"", "\"verdict\": \"conformant\", \"verdict\"", 1)
            })
        }),
    ),
    (
        "an exponent of 999",
        "",
        Signed(|_, files| number(files, "1e999")),
    ),
    (
        "a number of a megabyte",
        "",
        Signed(|_, files| number(files, &"9".repeat(1 << 20))),
    ),
    (
        "a fraction of a megabyte",
        "",
        Signed(|_, files| number(files, &format!("0.{}", "3".repeat(1 << 20)))),
    ),
    (
        "two to the sixty-fourth",
        "",
        Signed(|_, files| number(files, "18446744073709551616")),
    ),
    ("minus nothing", "", Signed(|_, files| number(files, "-0"))),
    (
        "minus nothing, as it is written",
        "",
        Signed(|_, files| number(files, "-0.0")),
    ),
    ("no number", "", Signed(|_, files| number(files, "NaN"))),
    ("endless", "", Signed(|_, files| number(files, "Infinity"))),
    (
        "the largest of all numbers",
        "",
        Signed(|_, files| number(files, "1.7976931348623157e308")),
    ),
    (
        "totals whose sum is beyond all numbers",
        "results/totals",
        Signed(|_, files| {
            value(files, |r| {
                for level in ["core", "extended"] {
                    for outcome in ["passed", "failed", "notApplicable", "couldNotRun"] {
                        r["totals"]["notebooks"][level][outcome] = u32::MAX.into();
                        r["totals"]["x"][level][outcome] = u32::MAX.into();
                    }
                }
            })
        }),
    ),
    (
        "the last of all times",
        "",
        Signed(|_, files| {
            value(files, |r| {
                r["run"]["finished"] = "9999-12-30T22:00:00.999999999Z".into();
                r["run"]["started"] = "-009999-01-02T01:59:59Z".into();
                for list in ["checks", "setups"] {
                    for entry in r[list].as_array_mut().expect("a list") {
                        entry["started"] = "9999-12-30T22:00:00.999999999Z".into();
                    }
                }
            })
        }),
    ),
    (
        "a name of seven megabytes",
        "",
        Signed(|_, files| value(files, |r| r["run"]["profile"] = "n".repeat(7 << 20).into())),
    ),
    (
        "a release of seven megabytes",
        "",
        Signed(|_, files| value(files, |r| r["run"]["release"] = "2".repeat(7 << 20).into())),
    ),
    (
        "an id of seven megabytes",
        "",
        Signed(|_, files| value(files, |r| r["checks"][0]["id"] = "n".repeat(7 << 20).into())),
    ),
    (
        "as many patterns as fit",
        "",
        Signed(|_, files| {
            value(files, |r| {
                r["run"]["selection"]["skip"] =
                    vec![Value::from("notebooks/api/serves-notebook?"); 45_000].into();
            })
        }),
    ),
    (
        "patterns of stars",
        "",
        Signed(|_, files| {
            value(files, |r| {
                r["run"]["selection"]["only"] = vec![Value::from("*a".repeat(2_000_000)); 1].into();
            })
        }),
    ),
    (
        "as many planned ids as fit",
        "",
        Signed(|_, files| {
            value(files, |r| {
                r["run"]["planned"] = (0..45_000)
                    .map(|n| Value::from(format!("katib/{n}")))
                    .collect();
            })
        }),
    ),
    (
        "as many checks as fit",
        "",
        Signed(|_, files| value(files, |r| repeat(&mut r["checks"]))),
    ),
    (
        "as many attempts as fit",
        "",
        Signed(|_, files| {
            value(files, |r| {
                let check = &mut r["checks"][0];
                check["attempts"] = json!([{"run": "r", "outcome": "passed", "started": check["started"], "seconds": 0.1, "evidence": check["evidence"]}]);
                repeat(&mut check["attempts"]);
            })
        }),
    ),
    (
        "as many set-ups as fit",
        "",
        Signed(|_, files| value(files, |r| repeat(&mut r["setups"]))),
    ),
    (
        "as many components as fit",
        "",
        Signed(|_, files| value(files, |r| repeat(&mut r["components"]))),
    ),
    (
        "as many leftovers as fit",
        "",
        Signed(|_, files| {
            value(files, |r| {
                r["leftovers"] = vec![Value::from("<b>"); 45_000].into()
            })
        }),
    ),
    (
        "a message of seven megabytes",
        "",
        Signed(|_, files| {
            value(files, |r| {
                r["checks"][0]["message"] = "<\u{1b}".repeat(1 << 20).into()
            })
        }),
    ),
    // product.yaml.
    (
        "a product of thirty thousand levels",
        "",
        Signed(|_, files| text(files, PRODUCT, |_| "[".repeat(30_000))),
    ),
    (
        "a product deep in braces",
        "",
        Signed(|_, files| text(files, PRODUCT, |_| "{a: ".repeat(15_000))),
    ),
    (
        "a product deep in dashes",
        "",
        Signed(|_, files| text(files, PRODUCT, |_| "- ".repeat(30_000))),
    ),
    (
        "a product deep in indentation",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |_| {
                (0..350).map(|n| format!("{}a:\n", " ".repeat(n))).collect()
            })
        }),
    ),
    (
        "anchors that multiply",
        "",
        Signed(|_, files| text(files, PRODUCT, |p| format!("{}{p}", bomb("x")))),
    ),
    (
        "anchors that multiply where a list is",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |p| {
                format!("{}{}", bomb("EKS"), p.replace("[Amazon EKS]", "*a9"))
            })
        }),
    ),
    (
        "an anchor within itself",
        "",
        Signed(|_, files| text(files, PRODUCT, |p| p.replace("[Amazon EKS]", "&a [*a]"))),
    ),
    (
        "keys that are merged",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |p| {
                let merged: String = (0..500).map(|n| format!("<<: {{k{n}: 1}}\n")).collect();
                format!("{merged}{p}")
            })
        }),
    ),
    (
        "merges that multiply",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |p| {
                let mut text = "m0: &m0 {vendor: x}\n".to_owned();
                for n in 1..30 {
                    text.push_str(&format!(
                        "m{n}: &m{n} {{<<: [*m{0}, *m{0}, *m{0}]}}\n",
                        n - 1
                    ));
                }
                format!("{text}<<: *m29\n{p}")
            })
        }),
    ),
    (
        "a product that is no text",
        "UTF-8",
        Signed(|_, files| {
            files
                .get_mut(PRODUCT)
                .expect("it is there")
                .splice(60..60, *b"\xff\xfe\xc3\x28")
                .for_each(drop)
        }),
    ),
    (
        "a product with nothing in it",
        "",
        Signed(|_, files| text(files, PRODUCT, |_| "\0".repeat(60_000))),
    ),
    (
        "a product of numbers",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |p| {
                p.replace("version: 3.2.0", "version: 1e999")
                    .replace("Aurora ML Platform", ".nan")
            })
        }),
    ),
    (
        "a product of many documents",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |p| {
                format!("{p}{}", "---\na: 1\n".repeat(7000))
            })
        }),
    ),
    (
        "a product of one long line",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |p| {
                p.replace("Aurora ML Platform", &"x".repeat(60_000))
            })
        }),
    ),
    (
        "a product of bytes",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |p| {
                p.replace("name: Aurora ML Platform", "name: !!binary aGk=")
            })
        }),
    ),
    (
        "tags of a program",
        "",
        Signed(|_, files| {
            text(files, PRODUCT, |p| {
                p.replace(
                    "name: Aurora ML Platform",
                    "name: !!python/object/apply:os.system [id]",
                )
            })
        }),
    ),
    // The rest.
    (
        "a thousand million laughs in JUnit",
        "results/junit",
        Signed(|_, files| {
            let mut dtd = "<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY l0 \"lol\">".to_owned();
            for n in 1..10 {
                dtd.push_str(&format!(
                    "<!ENTITY l{n} \"{}\">",
                    format!("&l{};", n - 1).repeat(10)
                ));
            }
            text(files, JUNIT, |xml| format!("{dtd}]><a>&l9;</a>{xml}"));
        }),
    ),
    (
        "an entity that reads a file",
        "results/junit",
        Signed(|_, files| {
            text(files, JUNIT, |xml| {
                format!("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>{xml}")
            })
        }),
    ),
    (
        "a deep JUnit",
        "results/junit",
        Signed(|_, files| text(files, JUNIT, |_| "<a>".repeat(2_000_000))),
    ),
    (
        "a script in the report",
        "results/report",
        Signed(|_, files| {
            text(files, HTML, |html| {
                html.replace("</body>", "<script>alert(1)</script></body>")
            })
        }),
    ),
    (
        "a key of another kind",
        "",
        Signed(|_, files| {
            text(files, "key.pub", |_| {
                "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n".to_owned()
            })
        }),
    ),
    (
        "a key and more",
        "",
        Signed(|_, files| text(files, "key.pub", |key| format!("{key}{NASTY_NAME}"))),
    ),
    // The folder.
    (
        "an attestation of a hundred thousand levels",
        "",
        Folder(|dir| put(dir, ATTESTATION_FILE, "[".repeat(100_000).as_bytes())),
    ),
    (
        "an attestation of a million signatures",
        "",
        Folder(|dir| {
            let bundle = fs::read_to_string(dir.join(ATTESTATION_FILE)).expect("it is there");
            put(
                dir,
                ATTESTATION_FILE,
                bundle
                    .replacen(
                        "\"signatures\":[",
                        &format!("\"signatures\":[{}", "{\"sig\":\"\"},".repeat(80_000)),
                        1,
                    )
                    .as_bytes(),
            );
        }),
    ),
    (
        "an attestation of another kind",
        "",
        Folder(|dir| {
            put(
                dir,
                ATTESTATION_FILE,
                format!("{{\"mediaType\":{}}}", json!(NASTY)).as_bytes(),
            )
        }),
    ),
    (
        "a link in the place of each file",
        "not a regular file",
        Folder(|dir| {
            for name in base().files.keys() {
                fs::remove_file(dir.join(name)).expect("removed");
                symlink("/etc/passwd", dir.join(name)).expect("linked");
            }
        }),
    ),
    (
        "a link to itself",
        "not a regular file",
        Folder(|dir| replace(dir, RESULTS, |path| symlink(path, path).expect("linked"))),
    ),
    (
        "a link to zeros",
        "not a regular file",
        Folder(|dir| {
            replace(dir, EVIDENCE, |path| {
                symlink("/dev/zero", path).expect("linked")
            })
        }),
    ),
    (
        "a folder in the place of the results",
        "not a regular file",
        Folder(|dir| replace(dir, RESULTS, |path| fs::create_dir(path).expect("made"))),
    ),
    (
        "a pipe in the place of the results",
        "not a regular file",
        Folder(|dir| replace(dir, RESULTS, pipe)),
    ),
    (
        "a pipe in the place of the evidence",
        "not a regular file",
        Folder(|dir| replace(dir, EVIDENCE, pipe)),
    ),
    (
        "a pipe in the place of the attestation",
        "not a regular file",
        Folder(|dir| replace(dir, ATTESTATION_FILE, pipe)),
    ),
    (
        "a pipe in the place of the key",
        "not a regular file",
        Folder(|dir| replace(dir, "key.pub", pipe)),
    ),
    (
        "a pipe beside the files",
        "not a regular file",
        Folder(|dir| pipe(&dir.join("more"))),
    ),
    (
        "a socket beside the files",
        "not a regular file",
        Folder(|dir| drop(std::os::unix::net::UnixListener::bind(dir.join("more")))),
    ),
    (
        "many files",
        "more than 64 files",
        Folder(|dir| {
            let many = std::env::var("HOSTILE_FILES")
                .ok()
                .and_then(|n| n.parse().ok())
                .unwrap_or(5_000);
            for n in 0..many {
                fs::File::create(dir.join(format!("{n}"))).expect("made");
            }
        }),
    ),
    (
        "a file of a terabyte",
        "more than",
        Folder(|dir| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(dir.join(EVIDENCE))
                .expect("open");
            file.set_len(1 << 40).expect("it is sparse");
        }),
    ),
    (
        "results of half a gigabyte",
        "more than",
        Folder(|dir| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(dir.join(RESULTS))
                .expect("open");
            file.set_len(500 << 20).expect("it is sparse");
        }),
    ),
    (
        "a file whose name acts",
        "does not belong",
        Folder(|dir| put(dir, NASTY_NAME, b"")),
    ),
    (
        "a file whose name is no text",
        "does not belong",
        Folder(|dir| {
            use std::os::unix::ffi::OsStrExt;
            fs::write(
                dir.join(std::ffi::OsStr::from_bytes(b"\xff\xfe\x1b[2J")),
                b"",
            )
            .expect("written");
        }),
    ),
    (
        "a hidden file",
        "does not belong",
        Folder(|dir| put(dir, ".git", b"")),
    ),
    (
        "no file at all",
        "there is no",
        Folder(|dir| {
            for name in base().files.keys() {
                fs::remove_file(dir.join(name)).expect("removed");
            }
        }),
    ),
];

/// Acts on a terminal, a page and a comment, and is a file's name.
const NASTY_NAME: &str = "\u{1b}[2J\u{202e}<img src=x onerror=y>`|@all\n# h\u{9b}m";
/// Acts wherever it is written as it is.
const NASTY: &str = "\u{1b}[2J\u{1b}]0;gone\u{7} \u{9b}31m \u{202e}txt.exe\u{2066} \u{feff}\u{2028}\u{85} <script>alert(1)</script><img src=x onerror=alert(1)> ]]> &amp; \
    ` `` | [a](javascript:b) ![](//x) @kubeflow/owners #1 **b** \r\n# h\n\n| a |\n- [x] done\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("written");
    gzip.finish().expect("written")
}

/// The gzip of so many zeros, without compressing each of them.
pub fn zeros(bytes: u64) -> Vec<u8> {
    const PART: usize = 4 << 20;
    let mut compress = Compress::new(Compression::best(), false);
    let mut part = Vec::with_capacity(1 << 20);
    compress
        .compress_vec(&vec![0; PART], &mut part, FlushCompress::Full)
        .expect("compressed");
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for _ in 0..bytes / PART as u64 {
        out.extend_from_slice(&part);
    }
    out
}

/// An archive in the place of the evidence.
fn tar(files: &mut Files, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut tar = Vec::new();
    fill(&mut tar);
    tar.extend([0; 1024]);
    files.insert(EVIDENCE.into(), gzip(&tar));
}

/// An entry of any kind and, if it is given, of any said size.
fn entry(tar: &mut Vec<u8>, kind: u8, name: &str, bytes: &[u8], size: Option<&[u8; 12]>) {
    let mut header = [0; 512];
    let name = name.as_bytes();
    header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    let own = format!("{:011o} ", bytes.len());
    header[124..136].copy_from_slice(size.map_or(own.as_bytes(), |size| &size[..]));
    header[136..148].copy_from_slice(b"00000000000 ");
    header[156] = kind;
    header[157..168].copy_from_slice(b"/etc/passwd");
    header[257..265].copy_from_slice(b"ustar  \0");
    sum(&mut header);
    tar.extend(header);
    tar.extend(bytes);
    tar.resize(tar.len().div_ceil(512) * 512, 0);
}

fn sum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The gzip of an archive of so many files, each in order and empty.
fn many_entries(count: usize) -> Vec<u8> {
    let mut gzip = flate2::GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::fast());
    let mut tar = Vec::new();
    for n in 0..count.min(250_000) {
        tar.clear();
        entry(&mut tar, b'0', &format!("a/b/{n:07}.json"), b"", None);
        gzip.write_all(&tar).expect("written");
    }
    gzip.finish().expect("written")
}

fn to_line(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("JSON");
    bytes.push(b'\n');
    bytes
}

/// The evidence with another text of one entry.
fn evidence_text(base: &Base, files: &mut Files, edit: impl Fn(String) -> String) {
    every_text(base, files, |name, text| {
        if name == "run/discovery.json" {
            edit(text)
        } else {
            text
        }
    });
}

fn every_text(base: &Base, files: &mut Files, edit: impl Fn(&str, String) -> String) {
    let mut entries = BTreeMap::from([("run.json", to_line(base.recording.context.as_ref()))]);
    for (name, evidence) in &base.recording.evidence {
        let text = String::from_utf8(to_line(evidence)).expect("JSON");
        entries.insert(name, edit(name, text).into_bytes());
    }
    files.insert(EVIDENCE.into(), packed(&entries));
}

/// The evidence with this body in the first answer of one entry.
fn answer_text(base: &Base, files: &mut Files, body: &str) {
    let mut evidence =
        serde_json::to_value(&base.recording.evidence["run/discovery.json"]).expect("JSON");
    evidence["exchanges"][0]["reply"] = json!({"answer": {"status": 200, "body": "BODY"}});
    let text = String::from_utf8(to_line(&evidence))
        .expect("JSON")
        .replacen("\"BODY\"", body, 1);
    evidence_text(base, files, |_| text.clone());
}

/// The evidence with values edited, each entry as the suite writes it.
fn every_evidence(base: &Base, files: &mut Files, edit: impl Fn(&str, &mut Value)) {
    every_text(base, files, |name, text| {
        let mut value: Value = serde_json::from_str(&text).expect("JSON");
        edit(name, &mut value);
        let evidence: Evidence = serde_json::from_value(value).expect("it is evidence still");
        String::from_utf8(to_line(&evidence)).expect("JSON")
    });
}

fn text(files: &mut Files, name: &str, edit: impl FnOnce(String) -> String) {
    let text = String::from_utf8(files[name].clone()).expect("it is text");
    files.insert(name.into(), edit(text).into_bytes());
}

/// The results with values edited, written as the suite writes them.
fn value(files: &mut Files, edit: impl FnOnce(&mut Value)) {
    text(files, RESULTS, |text| {
        let mut results: Value = serde_json::from_str(&text).expect("JSON");
        edit(&mut results);
        serde_json::to_string_pretty(&results).expect("JSON") + "\n"
    });
}

/// The results with this in the place of how long the run took.
fn number(files: &mut Files, number: &str) {
    let edit = |text: String| {
        let at = text.find("\"wallSeconds\": ").expect("it is there") + 15;
        let end = at + text[at..].find(',').expect("there is more");
        format!("{}{number}{}", &text[..at], &text[end..])
    };
    text(files, RESULTS, edit);
}

/// A list repeated until the results have about as many lines as they may.
fn repeat(list: &mut Value) {
    let one = serde_json::to_string_pretty(list).expect("JSON");
    let items = list.as_array().expect("a list").clone();
    let many = 45_000 / one.lines().count();
    *list = std::iter::repeat_n(items, many).flatten().collect();
}

/// Anchors of which each is ten of the one before.
fn bomb(what: &str) -> String {
    let mut text = format!("a0: &a0 [{}]\n", [what; 10].join(", "));
    for n in 1..10 {
        let alias = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{alias}]\n"));
    }
    text
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).expect("written");
}

fn replace(dir: &Path, name: &str, make: impl FnOnce(&Path)) {
    let path = dir.join(name);
    fs::remove_file(&path).expect("removed");
    make(&path);
}

fn pipe(path: &Path) {
    let made = Command::new("mkfifo")
        .arg(path)
        .status()
        .expect("there is a `mkfifo`");
    assert!(made.success());
}

/// Makes a row's submission below a folder.
fn make(make: &Make, root: &Path) -> PathBuf {
    let base = base();
    let mut files = base.files.clone();
    match make {
        Signed(edit) => {
            edit(base, &mut files);
            base.sign(&mut files);
            Base::write(root, &files)
        }
        Folder(edit) => {
            let dir = Base::write(root, &files);
            edit(&dir);
            dir
        }
    }
}

/// Whether every command that reads a result is asked, each in every format, or only those that matter most.
fn thorough() -> bool {
    std::env::var("HOSTILE_SECONDS").is_ok_and(|s| s.parse::<f64>().is_ok_and(|s| s >= 60.0))
}

#[test]
fn hostile_submissions_are_refused_in_little_time_and_memory() {
    let key = base().dir.path().join("key").display().to_string();
    let (public, private) = (format!("{key}.pub"), format!("{key}.key"));
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    let wrong = std::sync::Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((name, says, row)) =
                    SUBMISSIONS.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    if !name.contains(&only) {
                        continue;
                    }
                    let looked =
                        std::panic::catch_unwind(|| look(name, says, row, &public, &private));
                    if let Err(why) = looked {
                        let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                        wrong
                            .lock()
                            .expect("unbroken")
                            .push(format!("{name}: {why}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("unbroken");
    assert!(
        wrong.is_empty(),
        "{} of {} are not refused as they should be:\n{}",
        wrong.len(),
        SUBMISSIONS.len(),
        wrong.join("\n")
    );
}

fn look(name: &str, says: &str, row: &Make, public: &str, private: &str) {
    let root = tempfile::tempdir().expect("a folder");
    let dir = make(row, root.path());
    let shown = dir
        .strip_prefix(root.path())
        .expect("below")
        .display()
        .to_string();
    let run = |args: &[&str]| kfconform(root.path(), args);

    let said = run(&["review", "--allow-sample", "--format", "json", &shown]);
    assert!(
        [1, 3].contains(&said.code),
        "exit {}: {}",
        said.code,
        said.out
    );
    let review: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_ne!(review[0]["verdict"], "accepted");
    let refusals = review[0]["refusals"].to_string();
    assert!(refusals.contains(says), "it says {refusals}");
    if std::env::var_os("HOSTILE_SHOW").is_some() {
        eprintln!(
            "{name}: {:.2} s, {} MiB: {}",
            said.took.as_secs_f64(),
            said.peak,
            refusals.chars().take(300).collect::<String>()
        );
    }
    let archive = matches!(row, Signed(_))
        && fs::read(dir.join(EVIDENCE)).is_ok_and(|bytes| bytes != base().files[EVIDENCE]);
    if archive || matches!(row, Folder(_)) || thorough() {
        run(&["evidence", &shown]);
    }
    if thorough() {
        for format in ["text", "markdown"] {
            let said = run(&["review", "--allow-sample", "--format", format, &shown]);
            assert!(
                [1, 3].contains(&said.code),
                "exit {}: {}",
                said.code,
                said.out
            );
        }
        run(&["review", "--trust", public, &shown]);
        run(&["verify", &shown, "--trust", public]);
        run(&["verify", &shown, "--trust", public, "--format", "json"]);
        run(&["evidence", &shown, "--replay"]);
        run(&["evidence", &shown, "run/namespace"]);
        run(&["evidence", &shown, "run/namespace", "--format", "json"]);
        run(&["sign", &shown, "--key", private]);
        fs::write(root.path().join("fine.yaml"), crate::common::PRODUCT).expect("written");
        run(&[
            "submit",
            &shown,
            "--product",
            "fine.yaml",
            "--key",
            private,
            "--allow-sample",
            "--out",
            "out",
        ]);
        let product = format!("{shown}/{PRODUCT}");
        run(&[
            "submit",
            &shown,
            "--product",
            &product,
            "--key",
            private,
            "--allow-sample",
            "--out",
            "out",
        ]);
    }
}

/// The places of all texts in a document, with one element of each list.
fn texts(value: &Value) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut out = Vec::new();
    for place in places(value) {
        let kind: Vec<&str> = place
            .split('/')
            .map(|part| {
                if part.parse::<usize>().is_ok() {
                    "*"
                } else {
                    part
                }
            })
            .collect();
        if value.pointer(&place).is_some_and(Value::is_string) && seen.insert(kind.join("/")) {
            out.push(place);
        }
    }
    out
}

/// The same document once for each text in it, which is nasty there.
fn swept(value: &Value) -> Vec<(String, Value)> {
    let at = |place: String| {
        let mut nasty = value.clone();
        *nasty.pointer_mut(&place)? = NASTY.into();
        Some((place, nasty))
    };
    texts(value).into_iter().filter_map(at).collect()
}

/// Texts that say how the run was called, or where it came from: nothing in a submission tells another.
const FREE: [&str; 0] = [];

/// What is said of a nasty text does not act: not on a terminal, and not in a comment.
fn acts_in_comment(comment: &str) -> Option<&str> {
    comment.lines().find(|line| {
        // Outside code spans nothing of it is left.
        let outside: String = line.split('`').step_by(2).collect();
        let heading = line.starts_with('#') && !line.starts_with("### ");
        heading
            || line.matches('`').count() % 2 == 1
            || ["<", "@", "](", "**", "[x]", "#1", "&amp;"]
                .iter()
                .any(|mark| outside.contains(mark))
    })
}

#[test]
fn no_text_of_a_submission_acts() {
    let base = base();
    let root = tempfile::tempdir().expect("a folder");
    let mut dirs = Vec::new();
    let mut add = |what: String, edit: &dyn Fn(&mut Files)| {
        let mut files = base.files.clone();
        edit(&mut files);
        base.sign(&mut files);
        let at = format!("{}", dirs.len());
        let dir = Base::write(&root.path().join(&at), &files);
        let shown = dir
            .strip_prefix(root.path())
            .expect("below")
            .display()
            .to_string();
        dirs.push((what, shown));
    };
    let results: Value = serde_json::from_slice(&base.files[RESULTS]).expect("JSON");
    for (place, nasty) in swept(&results) {
        let text = serde_json::to_string_pretty(&nasty).expect("JSON") + "\n";
        add(format!("results.json {place}"), &|files| {
            files.insert(RESULTS.into(), text.clone().into_bytes());
        });
    }
    let product: Value = serde_json::to_value(
        kfconform::seal::Product::parse(crate::common::PRODUCT.as_bytes(), "p").expect("it is one"),
    )
    .expect("JSON");
    for (place, nasty) in swept(&product) {
        add(format!("product.yaml {place}"), &|files| {
            files.insert(PRODUCT.into(), nasty.to_string().into_bytes());
        });
    }
    let context = serde_json::to_value(base.recording.context.as_ref()).expect("JSON");
    for (place, nasty) in swept(&context) {
        add(format!("run.json {place}"), &|files| {
            let mut entries = BTreeMap::from([("run.json", to_line(&nasty))]);
            for (name, evidence) in &base.recording.evidence {
                entries.insert(name, to_line(evidence));
            }
            files.insert(EVIDENCE.into(), packed(&entries));
        });
    }
    for entry in [
        "run/discovery.json",
        "run/cleanup.json",
        "setup/notebooks/ready.json",
        "notebooks/validation/container-name.json",
    ] {
        let evidence = serde_json::to_value(&base.recording.evidence[entry]).expect("JSON");
        // What a cluster says of one object is much alike; the texts of the suite's own format come all.
        let places = texts(&evidence);
        let own = |place: &&String| {
            !place.contains("/reply/answer/body/")
                && !place.contains("/asked/body/")
                && !place.contains("/lines/")
        };
        let some = if thorough() { 200 } else { 6 };
        let all = places.iter().filter(|place| !own(place)).count();
        let of_cluster = places
            .iter()
            .filter(|place| !own(place))
            .step_by((all / some).max(1));
        for place in places.iter().filter(own).chain(of_cluster) {
            let mut nasty = evidence.clone();
            *nasty.pointer_mut(place).expect("it is there") = NASTY.into();
            let nasty = to_line(&nasty);
            add(format!("{entry} {place}"), &|files| {
                let mut entries =
                    BTreeMap::from([("run.json", to_line(base.recording.context.as_ref()))]);
                for (name, evidence) in &base.recording.evidence {
                    entries.insert(
                        name,
                        if name == entry {
                            nasty.clone()
                        } else {
                            to_line(evidence)
                        },
                    );
                }
                files.insert(EVIDENCE.into(), packed(&entries));
            });
        }
    }
    assert!(dirs.len() > 100, "{} texts", dirs.len());
    // Without optimisation each takes a while, so that only some are reviewed unless there is time.
    let dirs: Vec<_> = if thorough() {
        dirs
    } else {
        dirs.into_iter().step_by(9).collect()
    };
    eprintln!("{} texts", dirs.len());
    let mut anything = Vec::new();
    for format in ["text", "json", "markdown"] {
        for some in dirs.chunks(40) {
            let mut args = vec!["review", "--allow-sample", "--format", format];
            args.extend(some.iter().map(|(_, shown)| shown.as_str()));
            let said = kfconform(root.path(), &args);
            let whats: Vec<&String> = some.iter().map(|(what, _)| what).collect();
            assert!([0, 1].contains(&said.code), "{whats:?}: {}", said.err);
            match format {
                "json" => {
                    let reviews: Value = serde_json::from_str(&said.out).expect("JSON");
                    let reviews = reviews.as_array().expect("a list").iter().zip(some);
                    let accepted = reviews.filter(|(review, _)| review["verdict"] == "accepted");
                    anything.extend(accepted.map(|(_, (what, _))| what.clone()));
                }
                "markdown" => assert_eq!(acts_in_comment(&said.out), None, "one of {whats:?}"),
                _ => {}
            }
        }
    }
    // What follows from nothing may be anything, and acts nowhere: words about the run, and answers that no verdict reads.
    anything.retain(|what| !what.starts_with("run/") && !FREE.contains(&what.as_str()));
    assert_eq!(anything, Vec::<String>::new(), "is held to nothing");
}
